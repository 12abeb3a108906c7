"""What is published: the state document and the state change, their states, ranks and canonical bytes.

The same document is always the same bytes: one field order, no white space, UTF-8. So documents are compared
as bytes everywhere, and the string in Redis is the value in Kafka.
"""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import orjson

State = Literal[
    "not_executed",
    "in_progress",
    "completed_proof_incomplete",
    "completed_with_evidence",
    "needs_review",
    "failed",
    "blocked_or_cancelled",
]
STATES: tuple[State, ...] = get_args(State)

Severity = Literal["info", "notice", "warning", "critical"]
Direction = Literal["initial", "progress", "regression", "removed"]
Origin = Literal["live", "replay", "recompute", "deadline"]

SEVERITY: dict[State, Severity] = {
    "not_executed": "info",
    "in_progress": "info",
    "completed_with_evidence": "info",
    "completed_proof_incomplete": "notice",
    "needs_review": "warning",
    "blocked_or_cancelled": "warning",
    "failed": "critical",
}

RANK: dict[State, int] = {
    "not_executed": 0,
    "in_progress": 1,
    "blocked_or_cancelled": 2,
    "failed": 2,
    "needs_review": 2,
    "completed_proof_incomplete": 3,
    "completed_with_evidence": 4,
}
"""How far a state is towards proof. A change to a lower rank is a regression, to an equal one progress."""

SCHEMA = "restore.decision-state/1"

FORBIDDEN_CLAIMS = ("Recovery verified", "Healthy", "Compliant", "Customer-safe")
"""The seed, state 4; forbidden in every state."""

TIMELINE_LENGTH = 20
"""How many changes of state a document remembers (interfaces, section 6)."""


def encode(document: dict[str, Any]) -> bytes:
    """The canonical bytes of a document whose keys are already in the contract's order."""
    return orjson.dumps(document)


def decode(data: bytes) -> dict[str, Any]:
    """A document of our own; raises ValueError on anything but a JSON object."""
    value = orjson.loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return cast(dict[str, Any], value)


def direction(before: State | None, after: State | None) -> Direction:
    if after is None:
        return "removed"
    if before is None:
        return "initial"
    return "regression" if RANK[after] < RANK[before] else "progress"
