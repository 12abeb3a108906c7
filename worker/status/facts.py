"""What is known of an installation at one moment. No judgement: that is `worker.status.condition`'s.

What is not told, by an older or another broker or for want of a right, is None and not guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.decision import State
from worker.offset_metadata import UNKNOWN
from worker.ports import Policies


@dataclass(frozen=True, slots=True)
class Member:
    """A worker as its group knows it. `name`: its instance, or the client id that it gave itself.

    `policy`: that it decides with; None of a member that does not tell.
    """

    name: str
    host: str
    partitions: frozenset[int]
    policy: int | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a partition. `committed`: the next offset to decide; None if nothing was ever committed.

    `readable`: the next offset behind what committed readers see, `high`: behind everything. `oldest`: timestamp (ms)
    of the first record that waits, None if none does: markers of transactions take offsets too. `stream_time`: in ms,
    at the last commit; 0 where it is not told. `policies`: of the partition, as the last commit says.
    """

    topic: str
    low: int
    committed: int | None
    readable: int
    high: int
    oldest: int | None = None
    stream_time: int = 0
    policies: Policies = UNKNOWN

    @property
    def next(self) -> int:
        return self.low if self.committed is None else self.committed

    @property
    def in_log(self) -> bool:
        """Whether going on from where it was left is possible."""
        return self.low <= self.next <= self.high

    @property
    def waiting(self) -> int:
        """How many records wait, markers of transactions between them counted."""
        return 0 if self.oldest is None else max(0, self.readable - self.next)


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """The first open transaction of an input: nothing from `offset` on is seen before it ends.

    `transactional_id`, `timeout_ms`: None where they are not told; `began` (ms) then is when it last wrote.
    """

    topic: str
    offset: int
    began: int
    transactional_id: str | None = None
    timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class StoreCopy:
    """A partition's position in the store. `behind`: records, markers counted, of the compacted topics not yet in it.

    `follows`: it is a copy of the topics as they are now. `applied_at`, `status_since`: ms by the worker's clock.
    `offsets`: of each input's topic, what was committed when it was written to.
    """

    restoring: bool
    generation: str
    state: int
    internal: int
    behind: int
    follows: bool
    applied_at: int
    status_since: int | None
    offsets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Letters:
    """Open dead letters of a partition: neither redriven nor dismissed, as far as was looked.

    `more`: only so many of the newest were looked at, others may be open as well. Not `settled`: not all orders were
    looked at yet, and some of these may be handled.
    """

    open: int
    more: bool = False
    settled: bool = True


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """One partition. `owner` None: nobody. `store` None: nothing is there. `letters` None: not told.

    `documents`: where decision-state begins and ends.
    """

    number: int
    owner: Member | None
    inputs: tuple[Input, ...]
    transactions: tuple[OpenTransaction, ...]
    store: StoreCopy | None
    letters: Letters | None
    documents: tuple[int, int] = (0, 0)

    @property
    def policies(self) -> Policies:
        """As the inputs say together: one whose offset was reset says nothing."""
        known = [row.policies for row in self.inputs]
        return Policies(max(p.touched for p in known), max(p.complete for p in known), max(p.reached for p in known))

    @property
    def waiting(self) -> int:
        return sum(row.waiting for row in self.inputs)

    @property
    def oldest(self) -> int | None:
        """Timestamp (ms) of the oldest record that waits."""
        return min((row.oldest for row in self.inputs if row.oldest is not None), default=None)

    @property
    def last_came(self) -> int:
        """When the last record that was decided came (ms), 0 if none did.

        Where the broker keeps no stream time with the offsets, as the embedded one does, when the store was written to.
        """
        stream_time = max((row.stream_time for row in self.inputs), default=0)
        came = any(row.next > row.low for row in self.inputs)
        return self.store.applied_at if not stream_time and came and self.store is not None else stream_time


@dataclass(frozen=True, slots=True)
class Survey:
    """All partitions, at `at` (ms by our clock).

    `group_state`: Kafka's word (Stable, Empty, Dead, PreparingRebalance, CompletingRebalance), None where it is not
    told, as by the embedded broker. `overdue`: restores that have been unfinished for too long, by state.
    `store_error`: why nothing is known of the store. `store_full`: used and allowed bytes of a Redis that is full.
    """

    at: int
    group_state: str | None
    members: tuple[Member, ...]
    partitions: tuple[PartitionFacts, ...]
    overdue: Mapping[State, int] | None = None
    store_error: str | None = None
    store_full: tuple[int, int] | None = None

    @property
    def sharing_out(self) -> bool:
        """The group is giving out partitions: who owns which is not known."""
        return self.group_state in {"PreparingRebalance", "CompletingRebalance"}
