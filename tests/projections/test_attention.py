"""Attention: a source may make a result look worse than its facts, never better."""

from __future__ import annotations

from itertools import product

import pytest

from contracts.facts import ATTENTION_STATES, AttentionState, Counts, OperationRun, RestoreRun
from projections.attention import attention, derived
from projections.situation import situate
from tests.projections.given import DELETED, a_run, an_operation, facts


@pytest.mark.parametrize(
    ("run", "operation", "expected"),
    [
        (a_run(), an_operation(), "completed"),
        (a_run(counts=Counts()), None, "completed"),
        (a_run(counts=Counts(total=12)), an_operation(), "completed"),
        (a_run("completed_with_errors"), an_operation(), "completed_with_follow_up"),
        (a_run(counts=Counts(skipped=1)), an_operation(), "completed_with_follow_up"),
        (a_run(counts=Counts(non_applied=1)), an_operation(), "completed_with_follow_up"),
        (a_run(counts=Counts(total=2, succeeded=1)), an_operation(), "completed_with_follow_up"),
        (a_run(counts=Counts(total=0, succeeded=1)), an_operation(), "completed_with_follow_up"),
        (a_run("partial"), an_operation(), "partial"),
        (a_run(counts=Counts(failed=1)), an_operation(), "partial"),
        (a_run(counts=Counts(partial=1)), an_operation(), "partial"),
        (a_run(), an_operation(outcome="partially_succeeded"), "partial"),
        (a_run(), an_operation(outcome="partially_succeeded", deleted=True), "partial"),
        (a_run("completed_with_errors", counts=Counts(failed=1)), DELETED, "partial"),
    ],
)
def test_what_follows_from_the_facts(run: RestoreRun, operation: OperationRun | None, expected: str) -> None:
    assert derived(situate(facts(run, operation))) == expected


@pytest.mark.parametrize(("given", "derived"), list(product(ATTENTION_STATES, ATTENTION_STATES[:3])))
def test_the_worse_of_given_and_derived_counts(given: AttentionState, derived: AttentionState) -> None:
    status = {"completed": "completed", "completed_with_follow_up": "completed_with_errors", "partial": "partial"}
    situation = situate(facts(a_run(status[derived], attention=given), None))
    assert attention(situation) == max(given, derived, key=ATTENTION_STATES.index)
