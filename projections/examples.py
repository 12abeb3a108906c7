"""One restore for each of the seven states, with what happened to it, for docs/decisions.md.

A history is a list of what was known at each event; the document after the last is the example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from contracts.decision import State
from contracts.facts import Counts, EvidenceSnapshot, Facts, OperationRun, OperationStatus, Outcome, RestoreRun, Source
from contracts.times import parse_time
from projections.output import state_document
from projections.record import RunRecord, Transition
from projections.rules import decide


@dataclass(frozen=True, slots=True)
class Example:
    """What happened, told in a sentence or two, and the facts after each event with its time."""

    story: str
    history: tuple[tuple[int, Facts], ...]


def document(example: Example) -> dict[str, Any]:
    """The state document after the last event; each event took a revision."""
    first, _ = example.history[0]
    record = RunRecord(
        example.history[-1][1].run, marked=False, revision=0, state=None, previous_state=None, timeline=[],
        changed_at=first, updated_at=first,
    )  # fmt: skip
    for at, facts in example.history:
        state = decide(facts).state
        record.revision += 1
        record.updated_at = at
        if state != record.state:
            record.previous_state, record.state, record.changed_at = record.state, state, at
            record.timeline.append(Transition(record.revision, state, at))
    _, facts = example.history[-1]
    return state_document(record, facts, decide(facts))


def _at(clock: str) -> int:
    return parse_time(f"2026-11-01T{clock}Z")


def _from(topic: str, offset: int, clock: str) -> Source:
    return Source(f"restore.{topic}.v1", 3, offset, _at(clock))


PREVIEWED: Final = RestoreRun(
    "rr-1", "t-1", "previewed", is_dry_run=False,
    updated_at=_at("09:50:00"), sequence=4, source=_from("restore-runs", 117, "09:50:00.020"),
)  # fmt: skip
RUNNING: Final = PREVIEWED._replace(
    status="running", operation_run_id="op-1", counts=Counts(total=12, succeeded=5),
    updated_at=_at("09:58:00"), sequence=6, source=_from("restore-runs", 121, "09:58:00.310"),
)  # fmt: skip
COMPLETED: Final = RUNNING._replace(
    status="completed", counts=Counts(12, 12, 0, 0, 0, 0), attention="completed",
    updated_at=_at("10:00:01"), sequence=7, source=_from("restore-runs", 125, "10:00:01.140"),
)  # fmt: skip
PARTIAL: Final = COMPLETED._replace(status="partial", counts=Counts(12, 9, 1, 2, 0, 0), attention="partial")

OPERATION_RUNNING: Final = OperationRun(
    "op-1", "t-1", "running", None, started_at=_at("09:58:00"), sequence=1,
    source=_from("operation-runs", 88, "09:58:00.090"),
)  # fmt: skip
SNAPSHOT: Final = EvidenceSnapshot(
    "es-1", "t-1", "active", "op-1", generated_at=_at("10:01:00"), expires_at=parse_time("2027-11-01T00:00:00Z"),
    sequence=3, source=_from("evidence-snapshots", 40, "10:01:00.220"),
)  # fmt: skip
GENERATING: Final = SNAPSHOT._replace(
    status="generating", generated_at=None, expires_at=None, sequence=2,
    source=_from("evidence-snapshots", 39, "10:00:20.500"),
)  # fmt: skip


def _operation_ended(outcome: Outcome, status: OperationStatus = "completed") -> OperationRun:
    return OPERATION_RUNNING._replace(
        status=status, outcome=outcome, completed_at=_at("10:00:00"), sequence=2,
        source=_from("operation-runs", 93, "10:00:00.450"),
    )  # fmt: skip


_PREPARED: Final = ((_at("09:50:00.020"), Facts(PREVIEWED)),)
_STARTED: Final = (*_PREPARED, (_at("09:58:00.310"), Facts(RUNNING, OPERATION_RUNNING)))
_SUCCEEDED: Final = _operation_ended("succeeded")
_DONE: Final = (
    *_STARTED,
    (_at("10:00:00.450"), Facts(RUNNING, _SUCCEEDED)),
    (_at("10:00:01.140"), Facts(COMPLETED, _SUCCEEDED)),
)

EXAMPLES: Final[dict[State, Example]] = {
    "not_executed": Example("A restore was prepared and previewed. Nothing was executed.", _PREPARED),
    "in_progress": Example("The restore is running; five of twelve items are restored so far.", _STARTED),
    "completed_proof_incomplete": Example(
        "All twelve items are restored. A snapshot of the result is still being generated.",
        (*_DONE, (_at("10:00:20.500"), Facts(COMPLETED, _SUCCEEDED, (GENERATING,)))),
    ),
    "completed_with_evidence": Example(
        "All twelve items are restored, and a snapshot was taken of the result one minute later.",
        (*_DONE, (_at("10:01:00.220"), Facts(COMPLETED, _SUCCEEDED, (SNAPSHOT,)))),
    ),
    "needs_review": Example(
        "Nine of twelve items are restored, one failed and two were skipped. A snapshot of the result exists, "
        "but the items come first.",
        (
            *_STARTED,
            (_at("10:00:00.450"), Facts(RUNNING, _operation_ended("partially_succeeded"))),
            (_at("10:00:01.140"), Facts(PARTIAL, _operation_ended("partially_succeeded"))),
            (_at("10:01:00.220"), Facts(PARTIAL, _operation_ended("partially_succeeded"), (SNAPSHOT,))),
        ),
    ),
    "failed": Example(
        "The operation failed. The run's own record still says that it is running.",
        (*_STARTED, (_at("10:00:00.450"), Facts(RUNNING, _operation_ended("failed")))),
    ),
    "blocked_or_cancelled": Example(
        "Something blocked the operation after five items had been restored, which the document points out.",
        (*_STARTED, (_at("10:00:00.450"), Facts(RUNNING, _operation_ended("blocked")))),
    ),
}
