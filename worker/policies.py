"""Which policies a partition's documents were decided with, and who may go on there.

A policy is what this version decides and says (`projections.rules.POLICY`). Three facts about a partition are committed
in Kafka with its offsets, in the same transaction as the documents that they are about (`worker.offset_metadata`):
`touched`, `complete`, `reached` (`worker.ports.Policies`). Redis is a view and can be wiped, so it is not where
this is known from; but where Kafka knows less than Redis or a document does, as after offsets were reset, they are
believed as well.

    found                        a worker of this policy
    touched by a newer one       stops the partition, and looks again when it is given the partition again
    complete                     goes on
    not complete                 goes on, and decides everything again beside it (`worker.recompute`)

So in a rolling update each partition changes over once, and never back: from the first document that a newer version
publishes, no older one publishes any.
"""

from __future__ import annotations

from collections.abc import Iterable

from projections import rules
from worker.errors import DecidedByNewer
from worker.ports import Committed, Policies, StoreStatus


def found_policies(committed: Iterable[Committed], status: StoreStatus | None) -> Policies:
    """What the inputs of one partition, of which one whose offset was reset says nothing, and its store say together.

    `reached` counts only for a worker of the policy that has come so far.
    """
    known = [c.policies for c in committed]
    touched = max(*(p.touched for p in known), 0 if status is None else status.policy)
    complete = max((p.complete for p in known), default=0)
    reached = max((p.reached for p in known), default=0)
    return Policies(touched, complete, reached if touched == rules.POLICY else 0)


def refuse_newer(partition: int, policies: Policies) -> None:
    """Raise DecidedByNewer where a newer version has decided."""
    if policies.touched > rules.POLICY:
        raise DecidedByNewer(partition, "policy", policies.touched, rules.POLICY)


def touched(policies: Policies) -> Policies:
    """After this version has decided something: what a newer one had found complete is not any more."""
    return Policies(rules.POLICY, min(policies.complete, rules.POLICY), policies.reached)


def completed(policies: Policies) -> Policies:
    """After this version has decided everything again."""
    return Policies(policies.touched, rules.POLICY)
