"""`watch`: state changes as they happen, or as they happened."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from contracts.decision import STATES, Severity
from contracts.printable import printable, printable_json, printable_value
from worker.cli.output import Json

if TYPE_CHECKING:
    from contracts.events import Record
    from worker.reading import Follower, Gap
    from worker.settings import Settings

POLL_MS: Final = 500
REMOVED: Final = "removed"
"""Stands for the state of a restore that was deleted."""
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "notice", "warning", "critical")
"""The least severe first."""


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: restore-projector watch --at-least warning --since 1h")(watch)


def _some_of(known: Sequence[str]) -> Callable[[list[str]], list[str]]:
    def check(values: list[str]) -> list[str]:
        for value in values:
            if value not in known:
                raise typer.BadParameter(f"{value[:80]!r}: expected {', '.join(known)}")
        return values

    return check


def _one_of(known: Sequence[str]) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        _some_of(known)([] if value is None else [value])
        return value

    return check


Tenants = Annotated[list[str], typer.Option("--tenant", help="Only of this tenant.", show_default=False)]
Runs = Annotated[list[str], typer.Option("--run", help="Only of this restore run.", show_default=False)]
States = Annotated[
    list[str],
    typer.Option(
        "--state",
        callback=_some_of((*STATES, REMOVED)),
        help=f"Only to this state: {', '.join(STATES)}, {REMOVED}.",
        show_default=False,
    ),
]
Severities = Annotated[
    list[str],
    typer.Option(
        "--severity",
        callback=_some_of(SEVERITIES),
        help=f"Only of this severity: {', '.join(SEVERITIES)}.",
        show_default=False,
    ),
]
AtLeast = Annotated[
    str | None,
    typer.Option("--at-least", callback=_one_of(SEVERITIES), help="Only this severe, or more so.", show_default=False),
]
Since = Annotated[
    str | None,
    typer.Option("--since", help="Also what was published since: 90s, 15m, 2h, 3d, or a time.", show_default=False),
]
Limit = Annotated[int | None, typer.Option("--max", min=1, help="End after so many.", show_default=False)]
NoFollow = Annotated[bool, typer.Option("--no-follow", help="End after those that there are already.")]


def watch(
    *,
    tenant: Tenants = [],  # noqa: B006  typer's way to say that an option may come several times
    run: Runs = [],  # noqa: B006
    state: States = [],  # noqa: B006
    severity: Severities = [],  # noqa: B006
    at_least: AtLeast = None,
    since: Since = None,
    no_follow: NoFollow = False,
    limit: Limit = None,
    json: Json = False,
) -> None:
    """Show changes of state as they happen, one a line, coloured by severity.

    ● first, ▲ nearer to proof, ▼ further from it, ✕ removed; times in UTC. An option that comes several times allows
    each of its values, different options narrow each other down. Each committed change is shown once, also when Kafka
    goes away and comes back meanwhile. With --json a line is a state change byte for byte as it was published.

    Ctrl-C ends it, exit code 0.
    """
    from worker.cli.moments import moment
    from worker.settings import load_settings

    begin = None if since is None else moment("--since", since, time.time_ns() // 1_000_000)
    severities = set(severity or SEVERITIES) & set(SEVERITIES[SEVERITIES.index(at_least) if at_least else 0 :])
    wanted = Filter(frozenset(tenant), frozenset(run), frozenset(state), frozenset(severities))
    show = show_json if json else _lines()
    settings = load_settings()
    with suppress(KeyboardInterrupt), _follower(settings, begin) as follower:
        for shown, (record, change) in enumerate(_changes(settings, follower, wanted, no_follow=no_follow), 1):
            show(record.value or b"", change)
            if shown == limit:
                break


@dataclass(frozen=True, slots=True)
class Filter:
    """Which changes are wanted; an empty set wants all. A removal's state is `removed`."""

    tenants: frozenset[str]
    runs: frozenset[str]
    states: frozenset[str]
    severities: frozenset[str]

    def wants(self, change: Mapping[str, Any]) -> bool:
        return (
            (not self.tenants or change["tenant_id"] in self.tenants)
            and (not self.runs or change["restore_run_id"] in self.runs)
            and (not self.states or (change["to_state"] or REMOVED) in self.states)
            and change["severity"] in self.severities
        )


def _follower(settings: Settings, begin: int | None) -> Follower:
    from worker.reading import Follower

    follower = Follower(settings.kafka, settings.topic_names.decision_changes, _tell_gap)
    return follower.from_now() if begin is None else follower.from_time(begin)


def _changes(
    settings: Settings, follower: Follower, wanted: Filter, *, no_follow: bool
) -> Iterator[tuple[Record, dict[str, Any]]]:
    """The wanted changes, for ever or, without following, as far as there are any."""
    from contracts.decision import decode
    from worker.errors import KafkaUnreachable

    away = False
    while not (no_follow and follower.at_end):
        for record in follower.poll(POLL_MS):
            change = decode(record.value or b"")
            if wanted.wants(change):
                yield record, change
        sys.stdout.flush()
        if away != (follower.away_since is not None):
            away = not away
            if away and no_follow:
                raise KafkaUnreachable(settings.kafka.bootstrap_servers, "it went away")
            _tell(f"Kafka at {settings.kafka.bootstrap_servers} {'does not answer, waiting' if away else 'is back'}")


def _tell_gap(gap: Gap) -> None:
    _tell(
        f"partition {gap.partition}: the log does not hold offset {gap.expected} any more, going on at {gap.found}: "
        "changes were deleted before they could be shown, or the topic was made anew"
    )


def _tell(message: str) -> None:
    sys.stderr.write(f"restore-projector: {printable(message)}\n")


def show_json(value: bytes, _: Mapping[str, Any]) -> None:
    sys.stdout.write(printable_json(value.decode()) + "\n")


def _lines() -> Callable[[bytes, Mapping[str, Any]], None]:
    from worker.cli.changes import ChangeLines

    lines = ChangeLines()
    return lambda _, change: lines.show(printable_value(change))
