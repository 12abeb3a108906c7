"""Contradictions between facts, each named and none in the way of a decision."""

from __future__ import annotations

import pytest

from contracts.facts import Counts, Facts
from projections.document import describe
from projections.inconsistencies import INCONSISTENCIES
from projections.rules import decide
from tests.projections.given import DELETED, PROVEN, a_run, a_snapshot, an_operation, facts


def found(given: Facts) -> list[str]:
    codes: list[str] = describe(given, decide(given))["diagnostics"]["inconsistencies"]
    return codes


EXAMPLES: dict[str, tuple[Facts, list[str]]] = {
    "an ordinary restore has none": (PROVEN, []),
    "nor one without an operation": (facts(a_run(operation_run_id=None), None), []),
    "operation never seen": (facts(a_run(), None), ["operation_not_observed"]),
    "operation deleted": (facts(a_run(), DELETED), ["operation_deleted"]),
    "operation ahead of a draft": (facts(a_run("draft"), an_operation()), ["operation_ahead_of_run"]),
    "operation ahead of a running run": (facts(a_run("running"), an_operation()), ["operation_ahead_of_run"]),
    "a deleted operation is ahead of nothing": (facts(a_run("running"), DELETED), ["operation_deleted"]),
    "run ahead": (facts(a_run(), an_operation("running", None)), ["run_ahead_of_operation"]),
    "cancelled run ahead": (facts(a_run("cancelled"), an_operation("queued", None)), ["run_ahead_of_operation"]),
    "completed, but failed": (facts(a_run(), an_operation(outcome="failed")), ["outcome_conflict"]),
    "failed, but succeeded": (facts(a_run("failed"), an_operation()), ["outcome_conflict"]),
    "completed, but a deleted operation was blocked": (
        facts(a_run(), DELETED._replace(outcome="blocked")),
        ["operation_deleted", "outcome_conflict", "applied_before_cancellation"],
    ),
    "failed on both sides": (facts(a_run("failed"), an_operation(outcome="failed")), []),
    "attention too good": (facts(a_run("partial", attention="completed"), an_operation()), ["attention_conflict"]),
    "attention worse": (facts(a_run(attention="partial"), an_operation(), a_snapshot()), []),
    "attention failed, run completed": (facts(a_run(attention="failed"), an_operation()), ["attention_conflict"]),
    "attention failed, run failed": (
        facts(a_run("failed", attention="failed"), an_operation(outcome="failed")),
        [],
    ),
    "evidence too old": (facts(a_run(), an_operation(), a_snapshot(minute=-1)), ["evidence_predates_completion"]),
    "one too old, one current": (facts(a_run(), an_operation(), a_snapshot(minute=-1), a_snapshot("es-2")), []),
    "too old, and expired": (facts(a_run(), an_operation(), a_snapshot(minute=-1, expired=True)), []),
    "too old, but a newer one failed": (
        facts(a_run(), an_operation(), a_snapshot(minute=-1), a_snapshot("es-2", "failed")),
        ["evidence_predates_completion"],
    ),
    "too old, of a deleted operation": (facts(a_run(), DELETED, a_snapshot(minute=-1)), ["operation_deleted"]),
    "preview failed": (facts(a_run("failed", is_dry_run=True, operation_run_id=None), None), ["preview_failed"]),
    "preview cancelled": (facts(a_run("cancelled", is_dry_run=True, operation_run_id=None), None), ["preview_failed"]),
    "applied before cancellation": (
        facts(a_run("cancelled", counts=Counts(partial=1)), an_operation(outcome="cancelled")),
        ["applied_before_cancellation"],
    ),
    "only skipped before cancellation": (
        facts(a_run("cancelled", counts=Counts(succeeded=0, skipped=3)), an_operation(outcome="cancelled")),
        [],
    ),
    "unreadable": (
        facts(a_run(), an_operation(), a_snapshot(), unreadable="restore_run/rr-1"),
        ["unreadable_input"],
    ),
    "unreadable, on any state": (
        facts(a_run("failed"), an_operation(outcome="failed"), unreadable="restore_run/rr-1"),
        ["unreadable_input"],
    ),
    "several, in the table's order": (
        facts(
            a_run("failed", is_dry_run=True, attention="completed", counts=Counts(failed=1)),
            an_operation(),
            a_snapshot(minute=-1),
            unreadable="restore_run/rr-1",
        ),
        [
            "outcome_conflict",
            "attention_conflict",
            "evidence_predates_completion",
            "preview_failed",
            "unreadable_input",
        ],
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str) -> None:
    given, expected = EXAMPLES[name]
    assert found(given) == expected


def test_every_code_has_an_example() -> None:
    assert {code for _, codes in EXAMPLES.values() for code in codes} == {row.code for row in INCONSISTENCIES}
