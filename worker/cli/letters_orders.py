"""`deadletters redrive`, `dismiss`: orders that see to dead letters."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from contracts.printable import printable
from worker.cli.deadletters import (
    Reasons,
    Since,
    Tenants,
    Topics,
    Until,
    found,
    group,
    parse_place,
    selection,
)
from worker.cli.orders import Actor, DryRun, Rate, Yes, ask, bar, interrupted, say, short, waiting_bar
from worker.cli.output import Json, print_json
from worker.errors import Interrupted, ProjectorError

if TYPE_CHECKING:
    from contracts.orders import Trail
    from worker.operators.edits import Edit
    from worker.operators.letterbox import Letterbox
    from worker.operators.letters import Entry, Handled, Selection
    from worker.operators.orders import OrderWriter
    from worker.operators.redrive import Kept, Redriven
    from worker.settings import Settings


class NotOpen(ProjectorError):
    """A letter was redriven or dismissed already."""

    exit_code = 2


Names = Annotated[
    list[str], typer.Argument(metavar="[LETTER]...", help="Names: <partition>:<offset>.", show_default=False)
]
Every = Annotated[bool, typer.Option("--all", help="Every open letter, where no other option chooses.")]
Again = Annotated[bool, typer.Option("--again", help="Also letters that were redriven or dismissed before.")]
Edited = Annotated[
    Path | None,
    typer.Option(
        "--edited", exists=True, dir_okay=False, help="For one letter: the value that it gets.", show_default=False
    ),
]
Through = Annotated[
    str | None,
    typer.Option("--through", help="A filter of lines of JSON that edits the values.", show_default=False),
]
Header = Annotated[
    list[str], typer.Option("--header", help="NAME=VALUE: a header that each record gets.", show_default=False)
]
Anyway = Annotated[bool, typer.Option("--anyway", help="Also what this version would set aside again.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait until the workers have taken them.")]


def _request(value: str | None) -> str | None:
    from contracts.orders import request_began_ms

    if value is not None:
        try:
            request_began_ms(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    return value


Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        callback=_request,
        help="Go on with this request, which was interrupted; with the same other options.",
        show_default=False,
    ),
]
Why = Annotated[str, typer.Option("--why", callback=short, help="Why, in a sentence: it is kept with what was done.")]


@group.command(epilog="Example: restore-projector deadletters redrive --reason too_large --since 2d")
def redrive(
    letters: Names = [],  # noqa: B006  typer's way to say that an argument may come several times
    *,
    reason: Reasons = [],  # noqa: B006
    tenant: Tenants = [],  # noqa: B006
    topic: Topics = [],  # noqa: B006
    since: Since = None,
    until: Until = None,
    every: Every = False,
    edited: Edited = None,
    through: Through = None,
    header: Header = [],  # noqa: B006
    again: Again = False,
    anyway: Anyway = False,
    rate: Rate = None,
    resume: Resume = None,
    why: Why = "",
    actor: Actor = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Have the records of dead letters taken again, in their order, as if they came from where they first lay.

    For what was wrong here and is mended: a limit, a partitioner, a version. What was wrong at the source is edited on
    the way: --edited gives one letter another value, --header sets a header, --through has a program edit the values.
    It reads a line of JSON for each letter (letter, topic, key, reason, detail, value) and writes one for each, with
    the letter's name and the edited value: `jq -c '.value |= (fromjson | .status = "completed" | tojson)'`.

    A letter is redriven once, unless --again. What would be set aside again is not sent, unless --anyway, and stays
    open. A record that is older than what is known by now changes nothing. After Ctrl-C it is said how to go on.

    Exit 1 when letters were left out or set aside again.
    """
    from worker.operators import redrive as core
    from worker.operators.letterbox import Letterbox
    from worker.operators.orders import new_trail
    from worker.operators.pace import Pace
    from worker.operators.redrive import Judge, Redriven

    settings, wanted = _asked(letters, every, reason, tenant, topic, since, until)
    edits = _edits(letters, edited, through, header)
    with Letterbox(settings) as box:
        choice = Choice(box, letters, wanted, again=again, resumed=resume)
        judge = Judge(settings, box.partitions)
        if dry_run or not yes:
            plan = Redriven()
            with bar("letters looked at", choice.offsets) as tell:
                core.redrive(choice.entries(tell), judge, edits, None, plan, anyway=anyway)
            if dry_run:
                _tell_plan(plan, json=json)
                raise typer.Exit(1 if plan.left else 0)
            if not _confirmed("Redrive", plan.sent.total(), plan):
                if json:
                    print_json(_redriven_json(None, plan, None))
                raise typer.Exit(1 if plan.left else 0)
        done = _Done(settings, box, new_trail(why, actor, resume))
        with done.writing(choice, "letters redriven") as (writer, tell):
            pace = Pace(rate)
            core.redrive(choice.entries(tell), judge, edits, writer, done.redriven, anyway=anyway, wait=pace.wait)
        again_set_aside = None if no_wait else done.wait()
        _tell_redriven(done, again_set_aside, json=json)
        raise typer.Exit(1 if done.redriven.left or again_set_aside else 0)


@group.command(epilog="Example: restore-projector deadletters dismiss 3:120 --why 'sent again by the platform'")
def dismiss(
    letters: Names = [],  # noqa: B006
    *,
    reason: Reasons = [],  # noqa: B006
    tenant: Tenants = [],  # noqa: B006
    topic: Topics = [],  # noqa: B006
    since: Since = None,
    until: Until = None,
    every: Every = False,
    resume: Resume = None,
    why: Why,
    actor: Actor = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Say of dead letters that nothing needs to be done about them any more.

    They are open no longer. They stay where they are, with who dismissed them, when and why: deadletters list --all.
    """
    from worker.operators import redrive as core
    from worker.operators.letterbox import Letterbox
    from worker.operators.orders import new_trail

    settings, wanted = _asked(letters, every, reason, tenant, topic, since, until)
    with Letterbox(settings) as box:
        choice = Choice(box, letters, wanted, again=False, resumed=resume)
        if dry_run or not yes:
            plan: Counter[str] = Counter()
            with bar("letters looked at", choice.offsets) as tell:
                core.dismiss(choice.entries(tell), None, plan)
            if dry_run:
                _tell_dismissed("would be dismissed", plan, json=json)
                raise typer.Exit
            if not _confirmed("Dismiss", plan.total(), None):
                if json:
                    _tell_dismissed("dismissed", plan, json=json)
                raise typer.Exit
        done = _Done(settings, box, new_trail(why, actor, resume))
        with done.writing(choice, "letters dismissed") as (writer, tell):
            core.dismiss(choice.entries(tell), writer, done.dismissed)
        _tell_dismissed("dismissed", done.dismissed, json=json)


class Choice:
    """The letters that a command line asks for, those of a partition in their order; `entries` may be had again.

    Those that `resumed` has handled, an invocation that is gone on with, are left out.

    Raises NoLetter, NotOpen, and what the letterbox raises.
    """

    def __init__(
        self, box: Letterbox, names: Sequence[str], wanted: Selection, *, again: bool, resumed: str | None
    ) -> None:
        self._box = box
        self._wanted = wanted
        self._again = again
        self._past: Handled | None = None if resumed is None else box.handled_by(resumed)
        self._by_name = bool(names)
        named = [found(box, place) for place in sorted({parse_place(name) for name in names})]
        self._named = [entry for entry in named if not self._is_past(entry)]
        self._handled: Handled | None = None
        if self._named and not again:
            self._refuse_handled()

    @property
    def offsets(self) -> int:
        """How many offsets of the dead-letter topic `entries` goes through."""
        return len(self._named) if self._by_name else self._box.to_read(self._wanted)

    @property
    def goes_on_by_itself(self) -> bool:
        """Whether the same command line, without more, chooses what is left of it after an interruption."""
        return not self._by_name and not self._again

    def entries(self, tell: Callable[[int], None]) -> Iterator[Entry]:
        """`tell` hears how far it has come."""
        if self._by_name:
            for entry in self._named:
                yield entry
            return
        if self._handled is None and not self._again:
            self._handled = self._box.handled(self._wanted)
        for entry in self._box.entries(self._wanted, tell):
            if (self._handled is None or entry.place not in self._handled) and not self._is_past(entry):
                yield entry

    def _is_past(self, entry: Entry) -> bool:
        return self._past is not None and entry.place in self._past

    def _refuse_handled(self) -> None:
        from worker.cli.letters_screen import done_words

        handlings = self._box.handlings(self._named)
        handled = [(entry.place, told[-1]) for entry in self._named if (told := handlings[entry.place])]
        if handled:
            done = [f"{place} was {done_words(handling)}" for place, handling in handled]
            hint = "`--resume` goes on with a request that was interrupted; `redrive --again` redrives them once more"
            raise NotOpen("\n".join([*done, hint]))


class _Done:
    """What a command has done, for its end and for an interruption."""

    def __init__(self, settings: Settings, box: Letterbox, trail: Trail) -> None:
        from worker.operators.orders import OrderWriter
        from worker.operators.redrive import Redriven

        self._settings = settings
        self._box = box
        self.trail = trail
        self.redriven = Redriven()
        self.dismissed: Counter[str] = Counter()
        self._letters = box.ends()
        self._writer = OrderWriter(settings, self.trail)

    @contextmanager
    def writing(self, choice: Choice, what: str) -> Iterator[tuple[OrderWriter, Callable[[int], None]]]:
        """Until all is written. After Ctrl-C, what was handed over is written, and it is said how to go on."""
        with self._writer as writer:
            try:
                with bar(what, choice.offsets) as tell:
                    yield writer, tell
                    writer.flush()
            except KeyboardInterrupt:
                writer.flush()
                written = writer.written.total()
                same = "the same command" if choice.goes_on_by_itself else self._resuming
                raise Interrupted(f"interrupted: {_letters(written)} handled; {same} goes on with the others") from None

    @property
    def _resuming(self) -> str:
        return f"the same command with --resume {self.trail.request}"

    def wait(self) -> Kept:
        """Until the workers have taken the orders; what was set aside again."""
        from worker.operators.orders import wait_until_taken
        from worker.operators.redrive import set_aside_again

        words = "all orders are written, and workers take them; what is set aside again is listed as new letters"
        with interrupted(lambda: words), waiting_bar(self._writer.written.total()) as tell:
            wait_until_taken(self._settings, self._writer.ends, tell)
        ends = {number: self._letters[number] for number in self._writer.ends}
        return set_aside_again(self._box.newer(ends))


def _asked(
    letters: list[str], every: bool, reason: list[str], tenant: list[str], topic: list[str],
    since: str | None, until: str | None,
) -> tuple[Settings, Selection]:  # fmt: skip
    """The settings, and which letters are chosen where they are not named. Raises typer.BadParameter."""
    from worker.settings import load_settings

    settings = load_settings()
    wanted = selection(settings, reason, tenant, topic, since, until)
    if letters and (every or not wanted.everything):
        raise typer.BadParameter("expected either names of letters or options that choose some, got both")
    if not letters and not every and wanted.everything:
        raise typer.BadParameter(
            "expected letters: their names, or --all, --reason, --tenant, --topic, --since, --until"
        )
    return settings, wanted


def _edits(letters: Sequence[str], edited: Path | None, through: str | None, headers: Sequence[str]) -> list[Edit]:
    """In the order in which they are made. Raises typer.BadParameter."""
    from worker.operators import edits

    if edited is not None and (len(letters) != 1 or through is not None):
        raise typer.BadParameter("expected one letter by its name, and no --through", param_hint="--edited")
    made = [] if edited is None else [edits.with_value(edited.read_bytes())]
    made += [] if through is None else [edits.through(through)]
    for header in headers:
        name, equals, value = header.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"expected NAME=VALUE, got {header[:80]!r}", param_hint="--header")
        made.append(edits.with_header(name, value))
    return made


def _confirmed(verb: str, count: int, plan: Redriven | None) -> bool:
    """Ask, on standard error; False if there is nothing to do. A no ends the command with exit code 1."""
    if plan is not None:
        _tell_left(plan, "would be set aside again, and stay open; --anyway sends them", sys.stderr)
    if not count:
        say("there is no such letter")
        return False
    ask(f"{verb} {_letters(count)}?", yes=False)
    return True


def _tell_plan(plan: Redriven, *, json: bool) -> None:
    if json:
        print_json({"would_send": dict(plan.sent.most_common()), **_left_json(plan)})
        return
    print(f"{_letters(plan.sent.total())} would be redriven{_by_reason(plan.sent)}.")
    _tell_left(plan, "would be set aside again, and stay open; --anyway sends them")


def _tell_redriven(done: _Done, again: Kept | None, *, json: bool) -> None:
    redriven = done.redriven
    if json:
        print_json(_redriven_json(done.trail.request, redriven, again))
        return
    print(f"{_letters(redriven.sent.total())} redriven{_by_reason(redriven.sent)}.")
    if again is not None and redriven.sent:
        taken = redriven.sent.total() - len(again)
        print(f"{taken:,} taken: applied, or without effect where something newer had come.")
        _tell_kept(again, "set aside again")
    _tell_left(redriven, "left out, as they would be set aside again; --anyway sends them")


def _redriven_json(request: str | None, redriven: Redriven, again: Kept | None) -> dict[str, Any]:
    """`request`: None where there was nothing to be sent."""
    told = None if again is None else _kept_json(again)
    sent = {"request": request, "sent": dict(redriven.sent.most_common())}
    return {**sent, "set_aside_again": told, **_left_json(redriven)}


def _tell_left(redriven: Redriven, unreadable: str, to: TextIO | None = None) -> None:
    _tell_kept(redriven.unreadable, unreadable, to)
    _tell_kept(redriven.impossible, "cannot be redriven, and stay open", to)


def _tell_kept(kept: Kept, words: str, to: TextIO | None = None) -> None:
    """How many, and the first of them."""
    if not len(kept):
        return
    print(f"{len(kept):,} {words}{_by_reason(kept.reasons)}:", file=to)
    for name, detail in kept.first:
        print(f"  {name}  {printable(detail)}", file=to)
    if len(kept) > len(kept.first):
        print(f"  … and {len(kept) - len(kept.first):,} more", file=to)


def _tell_dismissed(words: str, dismissed: Counter[str], *, json: bool) -> None:
    if json:
        print_json({words.replace(" ", "_"): dict(dismissed.most_common())})
    else:
        print(f"{_letters(dismissed.total())} {words}{_by_reason(dismissed)}.")


def _left_json(redriven: Redriven) -> dict[str, Any]:
    return {"would_be_set_aside": _kept_json(redriven.unreadable), "impossible": _kept_json(redriven.impossible)}


def _kept_json(kept: Kept) -> dict[str, Any]:
    return {
        "reasons": dict(kept.reasons.most_common()),
        "first": [{"letter": name, "detail": detail} for name, detail in kept.first],
    }


def _letters(count: int) -> str:
    return "1 dead letter" if count == 1 else f"{count:,} dead letters"


def _by_reason(reasons: Counter[str]) -> str:
    return f" ({', '.join(f'{count:,} {reason}' for reason, count in reasons.most_common())})" if reasons else ""
