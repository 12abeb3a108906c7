"""`replay`: feed source records again, through the ops topic."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.orders import (
    Actor,
    DryRun,
    Rate,
    Reason,
    Run,
    Tenant,
    Yes,
    ask,
    bar,
    changes_json,
    changes_rows,
    ended_early,
    letters_rows,
    say,
    waiting_bar,
)
from worker.cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from contracts.orders import Trail
    from worker.operators.log import LogReader
    from worker.operators.outcome import Outcome
    from worker.operators.replay import Fed, Replay
    from worker.operators.selection import Selection
    from worker.operators.span import Extent, Span
    from worker.reading import Gap
    from worker.settings import Settings
    from worker.topics import TopicState

NAMES = ("restore-runs", "operation-runs", "evidence-snapshots")
"""The inputs, as --topic names them: the topic's name without prefix and version."""


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: restore-projector replay --since 2h --tenant t-1 --reason 'records lost' --dry-run")(
        replay
    )


def _request(value: str | None) -> str | None:
    from contracts.orders import request_began_ms

    try:
        if value is not None:
            request_began_ms(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def _topics(values: list[str]) -> list[str]:
    for value in values:
        if value not in NAMES:
            raise typer.BadParameter(f"{value[:80]!r}: expected {', '.join(NAMES)}")
    return values


Since = Annotated[str, typer.Option("--since", help="From then on: 90s, 15m, 2h, 3d ago, or a time.")]
Until = Annotated[
    str | None, typer.Option("--until", help="Before then, given as --since; else until now.", show_default=False)
]
TopicNames = Annotated[
    list[str],
    typer.Option(
        "--topic",
        callback=_topics,
        help=f"Only of this input, may come several times: {', '.join(NAMES)}.",
        show_default=False,
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        callback=_request,
        help="Go on with this request, which was interrupted; with the same other options.",
        show_default=False,
    ),
]


def replay(
    *,
    since: Since,
    until: Until = None,
    tenant: Tenant = None,
    run: Run = None,
    topic: TopicNames = [],  # noqa: B006  typer's way to say that an option may come several times
    reason: Reason = "",
    actor: Actor = None,
    rate: Rate = None,
    resume: Resume = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Feed source records of a span of time again, beside running workers; what they know already changes nothing.

    Records go through the ops topic in the order in which they were merged, each as it was and from where it was. One
    that is not newer than what is known is stale, one that was lost is made good. What is published has the origin
    `replay`, by which alerting leaves it out. With --run, the run's own records and those of the operations and
    snapshots that bear on it. What the workers have not taken yet is left to them.

    It waits until the workers have taken all and says what has changed. Ctrl-C leaves nothing half done, exit code 130,
    and the command to go on with is said: nothing is fed twice by it.

    Exit code 1 when not all could be fed: records that were removed by then, or that are too large; or when some became
    dead letters again.
    """
    from worker.settings import load_settings

    if run is not None and tenant is None:
        raise typer.BadParameter("expected --tenant with it: a run's id is its tenant's", param_hint="--run")
    chosen = _choose(since, until, tenant, run, topic)
    settings = load_settings()
    call = _Call(settings, chosen, _Manner(reason, actor, rate, json))
    if dry_run:
        call.rehearse()
        return
    if resume is None:
        ask(f"Feed {chosen.words} again?", yes=yes)
    raise typer.Exit(call.replay(resume))


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What was asked for, in absolute times."""

    since: int
    until: int
    tenant: str | None
    run: str | None
    topics: Sequence[str]

    @property
    def words(self) -> str:
        from contracts.times import format_time

        whose = "" if self.tenant is None else f" of tenant {self.tenant}"
        which = "" if self.run is None else f", as far as they bear on run {self.run}"
        named = ", ".join(self.topics) or "all inputs"
        return f"the records{whose} in {named} from {format_time(self.since)} to {format_time(self.until)}{which}"

    @property
    def options(self) -> list[str]:
        """As a command line has them."""
        from contracts.times import format_time

        words = ["--since", format_time(self.since), "--until", format_time(self.until)]
        for name, value in (("--tenant", self.tenant), ("--run", self.run)):
            words += [name, value] if value is not None else []
        for name in self.topics:
            words += ["--topic", name]
        return words


@dataclass(frozen=True, slots=True)
class _Manner:
    """How it is to be done, as it was given."""

    reason: str
    actor: str | None
    rate: float | None
    json: bool

    @property
    def options(self) -> list[str]:
        """As a command line has them."""
        words = ["--reason", self.reason] if self.reason else []
        words += [] if self.actor is None else ["--actor", self.actor]
        words += [] if self.rate is None else ["--rate", f"{self.rate!r}"]
        return [*words, "--json"] if self.json else words


def _choose(since: str, until: str | None, tenant: str | None, run: str | None, topics: Sequence[str]) -> _Chosen:
    from worker.cli.moments import moment

    now = time.time_ns() // 1_000_000
    begin = moment("--since", since, now)
    end = now if until is None else moment("--until", until, now)
    if end <= begin:
        raise typer.BadParameter("expected a time after --since", param_hint="--until")
    return _Chosen(begin, end, tenant, run, tuple(topics))


class _Call:
    """One call of the command."""

    def __init__(self, settings: Settings, chosen: _Chosen, manner: _Manner) -> None:
        self._settings = settings
        self._chosen = chosen
        self._manner = manner
        self._gaps: list[str] = []

    def replay(self, resume: str | None) -> int:
        """Feed, wait, and say what has come of it; `resume`: a request to go on with. Returns the exit code."""
        from worker.operators.log import LogReader
        from worker.operators.orders import new_trail
        from worker.operators.replay import Replay

        began = time.monotonic()
        trail = new_trail(self._manner.reason, self._manner.actor, resume)
        with LogReader(self._settings.kafka, self._note_gap) as reader:
            span, extent, selection = self._find(reader)
            work = Replay(self._settings, reader, span, extent, selection, trail)
            with ended_early(lambda: self._left(work, trail)):
                if resume is not None and not work.resume():
                    say(f"there is no order of request {trail.request} yet: beginning with the first record")
                self._say_request(trail)
                with bar("records", len(extent)) as show:
                    published = work.send(self._manner.rate, show)
                with waiting_bar(work.fed.before + work.fed.replayed) as tell:
                    work.wait(tell)
                outcome = work.outcome(published)
        return self._show(trail, work.fed, outcome, time.monotonic() - began)

    def rehearse(self) -> None:
        """Say what feeding would do."""
        from worker.operators.log import LogReader
        from worker.operators.rehearsal import Rehearsal

        with LogReader(self._settings.kafka, self._note_gap) as reader:
            span, extent, selection = self._find(reader)
            with bar("records", len(extent)) as show, Rehearsal(self._settings) as rehearsal:
                rehearsal.take(reader, span, extent, selection, show)
                found = rehearsal.found()
        summary = {
            "records": found.records,
            "outcomes": dict(found.outcomes),
            "dead_letters_already": found.letters_already,
            "runs": found.runs,
            "decisions": found.decisions,
            "changes_of_state": changes_json(found.changes),
        }
        if self._manner.json:
            print_json(summary | {"not_there": self._gaps})
            return
        outcomes = [(f"  would be {name.replace('_', ' ')}", f"{n:,}") for name, n in found.outcomes.most_common()]
        rows = [
            ("records", f"{found.records:,}"),
            *outcomes,
            ("left out, as they are dead letters", f"{found.letters_already:,}"),
            ("runs with another document", f"{found.runs:,}"),
            ("runs with another state", f"{found.decisions:,}"),
            ("changes of state", f"{found.changes.total():,}"),
            *changes_rows(found.changes),
        ]
        print_table(("nothing is written", ""), rows)

    def _find(self, reader: LogReader) -> tuple[Span, Extent, Selection]:
        """What is to be fed; what of it is not there any more is said."""
        from worker.operators.replay import decoder
        from worker.operators.selection import Selection
        from worker.operators.span import Span, find
        from worker.topics import read_topics

        topics = read_topics(self._settings)
        count = self._partitions(topics)
        span = Span(self._chosen.since, self._chosen.until, self._inputs(self._chosen.topics))
        group = self._settings.kafka.group_id
        extent = find(reader, span, self._numbers(count), topics, group)
        for removed in extent.removed:
            self._tell(
                f"{removed.topic} partition {removed.partition} begins at offset {removed.offset}: what was before "
                "that was removed, and may have been then"
            )
        decode = decoder(self._settings, count).decode
        if self._chosen.tenant is None or self._chosen.run is None:
            return span, extent, Selection(decode, self._chosen.tenant)
        whole = Span(span.since, span.until, self._inputs(()))
        bearing = self._bearing(reader, whole, find(reader, whole, self._numbers(count), topics, group), count)
        return span, extent, Selection(decode, self._chosen.tenant, bearing)

    def _bearing(self, reader: LogReader, span: Span, extent: Extent, count: int) -> Any:
        from worker.operators.bearing import find_bearing, stored_records
        from worker.operators.replay import decoder
        from worker.reading import StoreReader

        assert self._chosen.tenant is not None and self._chosen.run is not None
        (number,) = self._numbers(count)
        with StoreReader(self._settings.redis) as store:
            stored = stored_records(store, self._settings.redis.namespace, number)
            decode = decoder(self._settings, count).decode
            topics = self._settings.topic_names
            return find_bearing(reader, topics, span, extent, decode, stored, self._chosen.tenant, self._chosen.run)

    def _partitions(self, topics: dict[str, TopicState]) -> int:
        from worker.errors import Unfit

        missing = [name for name in self._settings.topic_names.all if name not in topics]
        if missing:
            raise Unfit([f"{name} does not exist: `restore-projector topics create` makes it" for name in missing])
        return topics[self._settings.topic_names.ops].partitions

    def _numbers(self, count: int) -> Sequence[int]:
        from contracts.ids import partition_of

        tenant = self._chosen.tenant
        return range(count) if tenant is None else [partition_of(tenant, count, self._settings.kafka.partitioner)]

    def _inputs(self, names: Sequence[str]) -> Sequence[str]:
        topics = self._settings.topic_names
        inputs = dict(zip(NAMES, (topics.restore_runs, topics.operation_runs, topics.evidence_snapshots), strict=True))
        return [topic for name, topic in inputs.items() if not names or name in names]

    def _note_gap(self, gap: Gap) -> None:
        self._tell(
            f"{gap.topic} partition {gap.partition}: offsets {gap.expected} to {gap.found} were removed before they "
            "could be read"
        )

    def _tell(self, message: str) -> None:
        self._gaps.append(message)
        say(message)

    def _left(self, work: Replay, trail: Trail) -> str:
        written = work.fed.before + work.fed.replayed
        return (
            f"ended after {written:,} orders, which are carried out all the same. To go on, feeding nothing twice:\n"
            f"{self._command(trail)}"
        )

    def _say_request(self, trail: Trail) -> None:
        """Before the first order: whoever is killed says nothing any more."""
        say(f"request {trail.request}; should this end before it is done, go on with it, feeding nothing twice, by")
        say(self._command(trail))

    def _command(self, trail: Trail) -> str:
        """The command that goes on."""
        options = [*self._chosen.options, *self._manner.options]
        return shlex.join(["restore-projector", "replay", *options, "--resume", trail.request])

    def _show(self, trail: Trail, fed: Fed, outcome: Outcome, seconds: float) -> int:
        if self._manner.json:
            print_json(self._summary(trail, fed, outcome, seconds))
        else:
            print_table(("replay", ""), list(self._rows(trail, fed, outcome, seconds)))
            for name in fed.named:
                say(f"not fed again: {name}")
        return 1 if self._gaps or fed.too_large or outcome.letters else 0

    def _summary(self, trail: Trail, fed: Fed, outcome: Outcome, seconds: float) -> dict[str, Any]:
        from contracts.times import format_time

        return {
            "request": trail.request,
            "actor": trail.actor,
            "reason": trail.reason,
            "since": format_time(self._chosen.since),
            "until": format_time(self._chosen.until),
            "records": fed.looked_at,
            "replayed": fed.replayed,
            "replayed_before": fed.before,
            "redriven": fed.redriven,
            "dead_letters_already": fed.letters_already,
            "too_large": fed.too_large,
            "not_fed": [*self._gaps, *fed.named],
            "documents_changed": outcome.documents,
            "changes_of_state": changes_json(outcome.changes),
            "dead_letters": dict(outcome.letters),
            "dead_letters_named": [
                {"letter": name, "reason": letter.reason, "detail": letter.detail}
                for name, letter in outcome.first_letters
            ],
            "seconds": round(seconds, 1),
        }

    def _rows(self, trail: Trail, fed: Fed, outcome: Outcome, seconds: float) -> Any:
        yield "request", trail.request
        yield "records looked at", f"{fed.looked_at:,}"
        yield "replayed", f"{fed.replayed:,}"
        if fed.before:
            yield "replayed before", f"{fed.before:,}"
        if fed.redriven:
            yield "of these as dead letters", f"{fed.redriven:,}"
        if fed.letters_already:
            yield "left out, as they are dead letters", f"{fed.letters_already:,}"
        if fed.too_large:
            yield "left out, as they are too large", f"{fed.too_large:,}"
        yield "documents changed", f"{outcome.documents:,}"
        yield "changes of state", f"{outcome.changes.total():,}"
        yield from changes_rows(outcome.changes)
        yield "dead letters", f"{outcome.letters.total():,}"
        yield from letters_rows(outcome.letters)
        yield "seconds", f"{seconds:.1f}"
