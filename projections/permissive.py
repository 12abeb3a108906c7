"""Whether a decision says more than another one: what a new version of the rules must not do unnoticed.

A decision is more permissive than the one before it when

    nearer to proof    its state has a higher rank in the order by which a change's direction is told (interfaces,
                       section 6: not_executed, in_progress, the three bad ends, completed_proof_incomplete,
                       completed_with_evidence)
    a claim more       its state has the same rank, and something may be claimed that was not allowed before

In a state of lower rank other claims are allowed, which are about less; that is never more permissive. No claim is
weighed against another: one that is bad news counts as well, as does a failure that was "not executed" before. A false
alarm costs a look; one that does not come lets a customer be told what is not proven.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

from contracts.decision import RANK, State

Why = Literal["nearer to proof", "a claim more"]
WHYS: Final[tuple[Why, ...]] = ("nearer to proof", "a claim more")


def more_permissive(before: State, after: State, claims_before: Collection[str], claims: Collection[str]) -> Why | None:
    """Why the second of two decisions of the same facts is the more permissive one; None if it is not.

    `claims_before`, `claims`: their `claims.allowed`.
    """
    if RANK[after] > RANK[before]:
        return "nearer to proof"
    if RANK[after] == RANK[before] and not set(claims) <= set(claims_before):
        return "a claim more"
    return None
