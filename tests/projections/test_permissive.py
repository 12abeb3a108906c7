"""Which of two decisions says more than the other: every pair of states, and claims."""

from __future__ import annotations

from itertools import product

import pytest

from contracts.decision import STATES, State
from projections.matrix import WORDS
from projections.permissive import more_permissive

ASCENDING: list[set[State]] = [
    {"not_executed"},
    {"in_progress"},
    {"blocked_or_cancelled", "failed", "needs_review"},
    {"completed_proof_incomplete"},
    {"completed_with_evidence"},
]
"""The order of interfaces, section 6, said once more."""


def rank(state: State) -> int:
    return next(at for at, states in enumerate(ASCENDING) if state in states)


@pytest.mark.parametrize(("before", "after"), list(product(STATES, STATES)))
def test_a_state_nearer_to_proof_says_more_whatever_may_be_claimed(before: State, after: State) -> None:
    for claims_before, claims in (((), ()), (("a", "b"), ()), ((), ("c",))):
        nearer = more_permissive(before, after, claims_before, claims) == "nearer to proof"
        assert nearer == (rank(after) > rank(before))


@pytest.mark.parametrize(("before", "after"), list(product(STATES, STATES)))
def test_further_from_proof_nothing_says_more(before: State, after: State) -> None:
    if rank(after) < rank(before):
        assert more_permissive(before, after, WORDS[before].claims, WORDS[after].claims) is None


@pytest.mark.parametrize("state", STATES)
def test_at_the_same_distance_a_claim_more_says_more(state: State) -> None:
    assert more_permissive(state, state, ("a",), ("a", "b")) == "a claim more"
    assert more_permissive(state, state, ("a",), ("b",)) == "a claim more"
    assert more_permissive(state, state, ("a", "b"), ("b",)) is None
    assert more_permissive(state, state, ("a", "b"), ("b", "a")) is None


def test_bad_news_that_becomes_other_bad_news_says_more_if_it_claims_something_else() -> None:
    assert more_permissive("failed", "needs_review", ("Execution failed",), ("Follow-up required",)) == "a claim more"
    assert more_permissive("failed", "blocked_or_cancelled", ("Execution failed",), ()) is None
