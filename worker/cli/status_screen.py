"""How `status` is shown: a sentence, a line for each partition, a paragraph for each that is not well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from contracts.times import format_time
from projections.matrix import WORDS
from worker.cli.output import print_table
from worker.cli.screen import MAX_WIDTH, STYLES, state_style
from worker.durations import span
from worker.overdue import OverdueRun
from worker.status.facts import StoreCopy
from worker.status.report import Report, Row

COLUMNS: Final = ("part", "owner", "state", "waiting", "oldest", "store", "letters")
WELL: Final = STYLES["info"]
ILL: Final = STYLES["critical"]


def print_report(report: Report) -> None:
    """To standard output; coloured on a terminal, without blanks at the ends of lines elsewhere."""
    console = _console()
    if not console.is_terminal:
        print(_text(report))
        return
    for part in _parts(report):
        console.print(part, soft_wrap=isinstance(part, _Command))


class WatchScreen:
    """On a terminal the newest report, redrawn; elsewhere each one that says something else than the one before."""

    def __init__(self) -> None:
        self._console = _console()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._said: object = None

    def show(self, report: Report | None) -> None:
        """None: Kafka does not answer."""
        if self._live is not None:
            self._live.update(
                Text("Kafka does not answer", ILL) if report is None else Group(*_parts(report)), refresh=True
            )
            return
        said = report and (report.sentence, [row.verdict.condition.name for row in report.rows])
        if said != self._said:
            self._said = said
            print(
                "Kafka does not answer\n" if report is None else f"{format_time(report.survey.at)}  {_text(report)}\n",
                flush=True,
            )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()


def _console() -> Console:
    console = Console(highlight=False)
    return Console(highlight=False, width=MAX_WIDTH) if console.width > MAX_WIDTH else console


def _text(report: Report) -> str:
    wide = Console(highlight=False, width=1000)
    with wide.capture() as captured:
        wide.print(Group(*_parts(report)))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


class _Command(Text):
    """To be copied: one line, however long."""


def _parts(report: Report) -> list[RenderableType]:
    parts: list[RenderableType] = [
        Text(report.sentence, f"bold {WELL if report.well else ILL}"),
        Text(),
        _table(report),
    ]
    ill = [row for row in report.rows if not row.well]
    for command, rows in groupby(ill, key=lambda row: row.verdict.finding.next):
        parts += [Text(), *(Text(_sentence(row, report.survey.at)) for row in rows)]
        parts += [] if command is None else [_command(command)]
    for note in report.notes:
        parts += [Text(), Text(note.text), _command(note.next)]
    return parts


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in COLUMNS:
        left = name in {"owner", "state", "store"}
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "owner", overflow="ellipsis")
    for row in report.rows:
        facts = row.facts
        table.add_row(
            str(facts.number),
            _owner(row, told=report.survey.group_state is not None),
            Text(row.verdict.condition.label, WELL if row.well else ILL),
            f"{facts.waiting:,}",
            span(report.survey.at - facts.oldest) if facts.oldest is not None else "-",
            "not told" if report.survey.store_error else _store(facts.store),
            _letters(row),
        )
    return table


def _owner(row: Row, *, told: bool) -> str:
    owner = row.facts.owner
    if owner is None:
        return "nobody" if told else "not told"
    return owner.name


def _store(store: StoreCopy | None) -> str:
    if store is None:
        return "nothing"
    behind = f" -{store.behind:,}" if store.behind else ""
    return f"{store.state}/{store.internal}{behind}"


def _letters(row: Row) -> str:
    letters = row.facts.letters
    if letters is None:
        return "not told"
    return f"{'' if letters.settled else '≤'}{letters.open:,}{'+' if letters.more else ''}"


def _sentence(row: Row, at: int) -> str:
    verdict = row.verdict
    since = verdict.finding.since
    begin = "" if since is None else f" since {_clock(since, at)} ({span(max(0, at - since))})"
    end = "" if verdict.finding.cause.endswith(":") else "."
    return f"Partition {row.facts.number} is {verdict.condition.words}{begin}: {verdict.finding.cause}{end}"


def _command(command: str) -> Text:
    return _Command(f"  {command}", "bold", overflow="fold")


def _clock(time: int, at: int) -> str:
    """`10:00:00 UTC`; with its day if that is not `at`'s."""
    day, _, clock = format_time(time).partition("T")
    today = format_time(at).startswith(day)
    return f"{'' if today else f'{day} '}{clock[:8]} UTC"


def print_overdue(runs: Sequence[OverdueRun], now: int) -> None:
    """A line for each, the longest first."""
    if not runs:
        print("No restore is overdue.")
        return
    rows = [
        (span(max(0, now - row.since_ms)), Text(WORDS[row.state].status, state_style(row.state)), row.tenant, row.run)
        for row in runs
    ]
    print_table(("for", "status", "tenant", "restore run"), rows)


def overdue_json(run: OverdueRun, now: int) -> dict[str, Any]:
    return {
        "tenant_id": run.tenant,
        "restore_run_id": run.run,
        "state": run.state,
        "since": format_time(run.since_ms),
        "seconds": max(0, now - run.since_ms) / 1000,
    }


def as_json(report: Report) -> dict[str, Any]:
    """The same for a program. Times as in documents, durations in seconds, null for what is not told."""
    survey = report.survey
    return {
        "at": format_time(survey.at),
        "well": report.well,
        "sentence": report.sentence,
        "group": {
            "state": survey.group_state,
            "members": [
                {"name": m.name, "host": m.host, "partitions": sorted(m.partitions), "policy": m.policy}
                for m in survey.members
            ],
        },
        "partitions": [_row_json(row, survey.at) for row in report.rows],
        "overdue": survey.overdue,
        "store_error": survey.store_error,
    }


def _row_json(row: Row, at: int) -> dict[str, Any]:
    facts, finding, store = row.facts, row.verdict.finding, row.facts.store
    return {
        "partition": facts.number,
        "owner": None if facts.owner is None else facts.owner.name,
        "state": row.verdict.condition.name,
        "well": row.well,
        "cause": finding.cause,
        "since": None if finding.since is None else format_time(finding.since),
        "next": finding.next,
        "lag": {
            "records": facts.waiting,
            "seconds": 0 if facts.oldest is None else max(0, at - facts.oldest) / 1000,
        },
        "inputs": [
            {"topic": i.topic, "committed": i.committed, "low": i.low, "readable": i.readable, "high": i.high}
            for i in facts.inputs
        ],
        "policies": {
            "touched": facts.policies.touched,
            "complete": facts.policies.complete,
            "reached": facts.policies.reached,
        },
        "store": None if store is None else _store_json(store),
        "dead_letters": None if facts.letters is None else asdict(facts.letters),
    }


def _store_json(store: StoreCopy) -> dict[str, Any]:
    return {
        "status": "restoring" if store.restoring else "ready",
        "generation": store.generation,
        "state": store.state,
        "internal": store.internal,
        "behind": store.behind,
        "applied_at": format_time(store.applied_at),
    }
