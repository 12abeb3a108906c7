"""`deadletters list`, `show`: what could not be taken, why, and what was done about it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from contracts.letters import REASONS
from worker.cli.orders import bar
from worker.cli.output import Json, print_json
from worker.errors import ProjectorError

if TYPE_CHECKING:
    from worker.operators.letterbox import Letterbox
    from worker.operators.letters import Entry, Place, Selection
    from worker.settings import Settings

UNKNOWN: Final = "unknown"
"""The reason of a record in the topic that has no dead letter's headers (`worker.operators.letters.NO_REASON`)."""

group = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="See to dead letters: records that could not be taken."
)


def add_to(app: typer.Typer) -> None:
    from worker.cli import letters_orders  # noqa: F401  it adds the commands that write to the group

    app.add_typer(group, name="deadletters")


class NoLetter(ProjectorError):
    """There is no dead letter of this name."""


def _known_reasons(values: list[str]) -> list[str]:
    for value in values:
        if value not in (*REASONS, UNKNOWN):
            raise typer.BadParameter(f"{value[:80]!r}: expected {', '.join(REASONS)}, {UNKNOWN}")
    return values


Reasons = Annotated[
    list[str],
    typer.Option(
        "--reason",
        callback=_known_reasons,
        help=f"Only those set aside for this reason: {', '.join(REASONS)}; {UNKNOWN} for what is no dead letter.",
        show_default=False,
    ),
]
Tenants = Annotated[list[str], typer.Option("--tenant", help="Only those with this tenant's key.", show_default=False)]
Topics = Annotated[
    list[str],
    typer.Option("--topic", help="Only those of this input, as restore-runs or by its whole name.", show_default=False),
]
Since = Annotated[
    str | None,
    typer.Option("--since", help="Only those set aside since: 90s, 15m, 2h, 3d, or a time.", show_default=False),
]
Until = Annotated[
    str | None,
    typer.Option("--until", help="Only those set aside before: a time as for --since.", show_default=False),
]
Limit = Annotated[int, typer.Option("--limit", min=0, max=100_000, help="Show so many at most, the newest.")]
Handled = Annotated[bool, typer.Option("--all", help="Also those redriven and dismissed: what, when, by whom, why.")]
Name = Annotated[str, typer.Argument(metavar="LETTER", help="Its name: <partition>:<offset>, as list shows it.")]
Raw = Annotated[
    Path | None, typer.Option("--raw", help="Write the value there, byte for byte.", show_default=False, dir_okay=False)
]


@group.command("list", epilog="Example: restore-projector deadletters list --reason schema_violation --since 2d")
def list_letters(
    *,
    reason: Reasons = [],  # noqa: B006  typer's way to say that an option may come several times
    tenant: Tenants = [],  # noqa: B006
    topic: Topics = [],  # noqa: B006
    since: Since = None,
    until: Until = None,
    handled: Handled = False,
    limit: Limit = 20,
    json: Json = False,
) -> None:
    """List the dead letters that are open, counted by reason, the newest first.

    A letter is named <partition>:<offset>, by where it lies in the dead-letter topic. It is open until it is redriven
    or dismissed. An option that comes several times allows each of its values, different ones narrow each other down.
    """
    from worker.cli.letters_screen import print_list, tally_json
    from worker.operators.letterbox import Letterbox
    from worker.operators.tally import Tally
    from worker.settings import load_settings

    settings = load_settings()
    wanted = selection(settings, reason, tenant, topic, since, until)
    tally = Tally(limit)
    with Letterbox(settings) as box, bar("letters read", box.to_read(wanted)) as tell:
        done = box.handled(wanted)
        for entry in box.entries(wanted, tell):
            is_handled = entry.place in done
            if handled or not is_handled:
                tally.add(entry, handled=is_handled)
        handlings = box.handlings([row.entry for row in tally.newest]) if handled else {}
    if json:
        print_json(tally_json(tally, handlings))
    else:
        print_list(tally, handlings, now_ms(), handled=handled)


@group.command("show", epilog="Example: restore-projector deadletters show 3:120")
def show_letter(letter: Name, *, raw: Raw = None, json: Json = False) -> None:
    """Show a dead letter: the record as it was, what is wrong with it and where, and what was done about it.

    The value is shown as far as it can be read, the place of the error marked; --raw writes its bytes to a file. Exit 1
    if there is no such letter.
    """
    from worker.cli.letters_screen import letter_json, print_letter
    from worker.operators.letterbox import Letterbox
    from worker.settings import load_settings

    place = parse_place(letter)
    with Letterbox(load_settings()) as box:
        entry = found(box, place)
        handlings = box.handlings([entry])[place]
    if raw is not None:
        raw.write_bytes(entry.record.value or b"")
    if json:
        print_json(letter_json(entry, handlings))
    else:
        print_letter(entry, handlings, now_ms())


def parse_place(text: str) -> Place:
    """Raises typer.BadParameter, which ends a command with exit code 2."""
    from worker.operators.letters import Place

    try:
        return Place.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="LETTER") from error


def found(box: Letterbox, place: Place) -> Entry:
    """The letter of this name. Raises NoLetter, which says what there is."""
    entry = box.entry(place)
    if entry is not None:
        return entry
    bounds = box.bounds(place.partition)
    if bounds is None:
        raise NoLetter(f"there is no dead letter {place}: partitions are 0 to {box.partitions - 1}")
    low, end = bounds
    holds = f"those of its partition lie from {low} to before {end}" if low < end else "its partition has none"
    raise NoLetter(f"there is no dead letter {place}: {holds}")


def selection(
    settings: Settings, reasons: list[str], tenants: list[str], topics: list[str], since: str | None, until: str | None
) -> Selection:
    """What the options ask for. Raises typer.BadParameter."""
    from worker.cli.moments import moment
    from worker.operators.letters import Selection, topic_named

    names, now = settings.topic_names, now_ms()
    try:
        wanted = frozenset(topic_named(topic, names.inputs, names.prefix) for topic in topics)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--topic") from error
    return Selection(
        frozenset(reasons),
        frozenset(tenants),
        wanted,
        None if since is None else moment("--since", since, now),
        None if until is None else moment("--until", until, now),
    )


def now_ms() -> int:
    return time.time_ns() // 1_000_000
