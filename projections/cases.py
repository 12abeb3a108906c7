"""Every case that the rules can meet, listed.

All inputs of a decision are words of small vocabularies, except three: counts, times and identifiers. Of those the
rules only see how they compare: a count is unknown, zero or more; the total equals what succeeded or not; a snapshot is
older than the completion or not. So finitely many cases stand for all, and they can be gone through one by one.

`every_case` is the product of all vocabularies with `COUNTS` and `EVIDENCE`, which hold one representative for each way
in which counts and evidence bear on a rule, a claim or an inconsistency. That no way was forgotten is shown by two more
lists, `every_count_case` and `every_evidence_case`, in which counts and snapshots are themselves enumerated.

docs/decisions.md states the numbers, the tests go through the lists, and the policy's digest is taken over a part.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final

from contracts.facts import (
    ATTENTION_STATES,
    NO_COUNTS,
    OPERATION_STATUSES,
    OUTCOMES,
    RUN_STATUSES,
    SNAPSHOT_STATUSES,
    AttentionState,
    Counts,
    EvidenceSnapshot,
    Facts,
    OperationRun,
    RestoreRun,
)
from contracts.times import parse_time

TENANT: Final = "t-1"
OPERATION_ID: Final = "op-1"
COMPLETED_AT: Final = parse_time("2026-11-01T10:00:00Z")
MINUTE_MS: Final = 60_000

DRY_RUN: Final = (False, True)
GIVEN_ATTENTION: Final[tuple[AttentionState | None, ...]] = (None, *ATTENTION_STATES)

COUNTS: Final = (
    NO_COUNTS,
    Counts(0, 0, 0, 0, 0, 0),
    Counts(12, 12, 0, 0, 0, 0),
    Counts(total=12),
    Counts(succeeded=12),
    Counts(total=12, succeeded=10),
    Counts(skipped=2),
    Counts(non_applied=2),
    Counts(failed=2),
    Counts(partial=2),
    Counts(12, 4, 2, 2, 2, 2),
)
"""None known; all zero; all succeeded; each total alone; the totals differ; each bad count alone; all at once."""


def _operation_cases() -> Iterator[tuple[str | None, OperationRun | None]]:
    """None named; one never seen; one with each status and outcome; one deleted after each, or before it was seen."""
    yield None, None
    yield OPERATION_ID, None
    for deleted, status, outcome in product((False, True), OPERATION_STATUSES, (None, *OUTCOMES)):
        completed_at = COMPLETED_AT if status == "completed" else None
        yield (
            OPERATION_ID,
            OperationRun(OPERATION_ID, TENANT, status, outcome, completed_at=completed_at, deleted=deleted),
        )
    yield OPERATION_ID, OperationRun(OPERATION_ID, TENANT, None, deleted=True)


OPERATIONS: Final = tuple(_operation_cases())


def _snapshot_cases() -> Iterator[EvidenceSnapshot]:
    """Each status, expired or not, generated before, at and after the completion and at an unknown time."""
    times = (None, COMPLETED_AT - MINUTE_MS, COMPLETED_AT, COMPLETED_AT + MINUTE_MS)
    for status, expired, generated_at in product(SNAPSHOT_STATUSES, (False, True), times):
        yield EvidenceSnapshot("es-1", TENANT, status, OPERATION_ID, generated_at, expired=expired)


SNAPSHOTS: Final = tuple(_snapshot_cases())

_AFTER: Final = COMPLETED_AT + MINUTE_MS
_LATER: Final = _AFTER + MINUTE_MS

CURRENT_EVIDENCE: Final = (EvidenceSnapshot("es-1", TENANT, "active", OPERATION_ID, _AFTER, expires_at=_LATER),)

EVIDENCE: Final[tuple[tuple[EvidenceSnapshot, ...], ...]] = (
    (),
    (EvidenceSnapshot("es-1", TENANT, "generating", OPERATION_ID),),
    (EvidenceSnapshot("es-1", TENANT, "active", OPERATION_ID, _AFTER, expires_at=_LATER, expired=True),),
    (EvidenceSnapshot("es-1", TENANT, "superseded", OPERATION_ID, _AFTER),),
    (EvidenceSnapshot("es-1", TENANT, "failed", OPERATION_ID, _AFTER),),
    (EvidenceSnapshot("es-1", TENANT, "active", OPERATION_ID, COMPLETED_AT - MINUTE_MS),),
    CURRENT_EVIDENCE,
    (
        EvidenceSnapshot("es-1", TENANT, "active", OPERATION_ID, _AFTER),
        EvidenceSnapshot("es-2", TENANT, "failed", OPERATION_ID, _LATER),
    ),
    (
        EvidenceSnapshot("es-1", TENANT, "active", "op-2", _AFTER),
        EvidenceSnapshot("es-2", "t-2", "active", OPERATION_ID, _AFTER),
    ),
)
"""None; one for each cause; a current one; one with a newer that failed; only another operation's or tenant's."""

UNREADABLE: Final[tuple[tuple[str, ...], ...]] = ((), ("evidence_snapshot/es-9",))


def every_case() -> Iterator[Facts]:
    """The product of all vocabularies with the representatives above; `NUMBER_OF_CASES` of them."""
    run_parts = product(DRY_RUN, RUN_STATUSES, GIVEN_ATTENTION, COUNTS)
    for is_dry_run, status, attention, counts in run_parts:
        unlinked = RestoreRun("rr-1", TENANT, status, is_dry_run, None, counts, attention)
        linked = RestoreRun("rr-1", TENANT, status, is_dry_run, OPERATION_ID, counts, attention)
        for (named, operation), evidence, unreadable in product(OPERATIONS, EVIDENCE, UNREADABLE):
            yield Facts(unlinked if named is None else linked, operation, evidence, unreadable)


NUMBER_OF_CASES: Final = (
    len(DRY_RUN)
    * len(RUN_STATUSES)
    * len(GIVEN_ATTENTION)
    * len(COUNTS)
    * len(OPERATIONS)
    * len(EVIDENCE)
    * len(UNREADABLE)
)


def _every_counts() -> Iterator[Counts]:
    """Each of the four bad counts unknown, zero and more; the totals unknown, zero, one, equal and different."""
    totals = (
        (None, None), (0, None), (1, None), (12, None), (None, 0), (None, 12),
        (0, 0), (12, 12), (12, 10), (12, 0), (10, 12),
    )  # fmt: skip
    for (total, succeeded), bad in product(totals, product((None, 0, 3), repeat=4)):
        yield Counts(total, succeeded, *bad)


EVERY_COUNTS: Final = tuple(_every_counts())


def every_count_case() -> Iterator[Facts]:
    """All counts with each run status, outcome and given attention; operation completed, current evidence."""
    for counts, status, attention in product(EVERY_COUNTS, RUN_STATUSES, GIVEN_ATTENTION):
        run = RestoreRun("rr-1", TENANT, status, is_dry_run=False, operation_run_id=OPERATION_ID,
                         counts=counts, attention=attention)  # fmt: skip
        for operation in _COMPLETED_OPERATIONS:
            yield Facts(run, operation, CURRENT_EVIDENCE)


_COMPLETED_OPERATIONS: Final = tuple(
    operation
    for _, operation in OPERATIONS
    if operation is not None and not operation.deleted and operation.status == "completed"
)
NUMBER_OF_COUNT_CASES: Final = len(EVERY_COUNTS) * len(RUN_STATUSES) * len(GIVEN_ATTENTION) * len(_COMPLETED_OPERATIONS)


def every_evidence_case() -> Iterator[Facts]:
    """No, one and any two snapshots, each of any kind, under each kind of operation, for a completed run."""
    for evidence in _every_evidence():
        for named, operation in _EVIDENCE_OPERATIONS:
            yield Facts(RestoreRun("rr-1", TENANT, "completed", False, named), operation, evidence)


def _every_evidence() -> Iterator[tuple[EvidenceSnapshot, ...]]:
    yield ()
    for snapshot in SNAPSHOTS:
        yield (snapshot,)
    for one, other in product(SNAPSHOTS, repeat=2):
        yield (
            one,
            EvidenceSnapshot("es-2", TENANT, other.status, OPERATION_ID, other.generated_at, expired=other.expired),
        )


_EVIDENCE_OPERATIONS: Final[tuple[tuple[str | None, OperationRun | None], ...]] = (
    (None, None),
    (OPERATION_ID, None),
    (OPERATION_ID, OperationRun(OPERATION_ID, TENANT, "completed", "succeeded")),
    (OPERATION_ID, OperationRun(OPERATION_ID, TENANT, "completed", "succeeded", completed_at=COMPLETED_AT)),
    (OPERATION_ID, OperationRun(OPERATION_ID, TENANT, "completed", "succeeded", None, COMPLETED_AT, deleted=True)),
)
NUMBER_OF_EVIDENCE_CASES: Final = (1 + len(SNAPSHOTS) + len(SNAPSHOTS) ** 2) * len(_EVIDENCE_OPERATIONS)
