"""States, their order, and the bytes of documents."""

from __future__ import annotations

import pytest
from hypothesis import given

from contracts.decision import RANK, SEVERITY, STATES, State, decode, direction, encode
from contracts.facts import Facts, facts_to_json
from tests.contracts.facts_strategies import facts


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, "failed", "initial"),
        ("not_executed", "in_progress", "progress"),
        ("in_progress", "failed", "progress"),
        ("failed", "needs_review", "progress"),
        ("needs_review", "blocked_or_cancelled", "progress"),
        ("failed", "in_progress", "regression"),
        ("completed_with_evidence", "completed_proof_incomplete", "regression"),
        ("completed_proof_incomplete", "completed_with_evidence", "progress"),
        ("completed_with_evidence", None, "removed"),
        (None, None, "removed"),
    ],
)
def test_direction(before: State | None, after: State | None, expected: str) -> None:
    assert direction(before, after) == expected


def test_every_state_has_a_severity_and_a_rank() -> None:
    assert set(SEVERITY) == set(RANK) == set(STATES)


@given(facts())
def test_the_same_document_is_always_the_same_bytes(known: Facts) -> None:
    document = {"b": facts_to_json(known), "a": "é"}
    data = encode(document)
    assert encode(decode(data)) == data
    assert data.startswith(b'{"b":{"restore_run":{"id":"rr-1","tenant_id":"t-1",')
    assert data.endswith(b',"a":"\xc3\xa9"}')


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff"])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(data)
