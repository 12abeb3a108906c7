"""Builders of facts, with an ordinary completed restore as the default: a test names only what it is about."""

from __future__ import annotations

from typing import Any

from contracts.facts import Counts, EvidenceSnapshot, Facts, OperationRun, RestoreRun
from contracts.times import parse_time

COMPLETED_AT = parse_time("2026-11-01T10:00:00Z")
MINUTE_MS = 60_000


def a_run(status: Any = "completed", **fields: Any) -> RestoreRun:
    """Completed, 12 of 12 items, by op-1."""
    defaults = {"is_dry_run": False, "operation_run_id": "op-1", "counts": Counts(12, 12, 0, 0, 0, 0)}
    return RestoreRun("rr-1", "t-1", status, **{**defaults, **fields})


def an_operation(status: Any = "completed", outcome: Any = "succeeded", **fields: Any) -> OperationRun:
    """Completed and succeeded at 10:00."""
    completed_at = COMPLETED_AT if status == "completed" else None
    return OperationRun("op-1", "t-1", status, outcome, **{"completed_at": completed_at, **fields})


def a_snapshot(
    name: str = "es-1", status: Any = "active", *, minute: int | None = 1, **fields: Any
) -> EvidenceSnapshot:
    """Of op-1, generated that many minutes after 10:00, at an unknown time if None."""
    generated_at = None if minute is None else COMPLETED_AT + minute * MINUTE_MS
    return EvidenceSnapshot(name, "t-1", status, **{"operation_run_id": "op-1", "generated_at": generated_at, **fields})


def facts(run: RestoreRun, operation: OperationRun | None, *evidence: EvidenceSnapshot, unreadable: str = "") -> Facts:
    return Facts(run, operation, evidence, (unreadable,) if unreadable else ())


DELETED = an_operation(deleted=True)
PROVEN = facts(a_run(), an_operation(), a_snapshot())
"""Everything is as it should be."""
