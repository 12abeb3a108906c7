"""A Kafka of one broker: partitions, a consumer group, a transaction coordinator.

Here is what makes the real one hard to read:

- a transaction ends in three steps: the coordinator decides, a marker arrives at each partition that it wrote to, in
  any order and at its own time, and another one at the group, where the offsets count only from then on;
- markers take offsets; readers of committed records stop at the first open transaction (last stable offset), others
  at the end (high watermark); what was aborted stays in the log, and is passed over;
- a producer that begins again under its transactional id gets a higher epoch and waits until what was open has ended;
  requests of a lower epoch are refused, also those that were given up long ago and land only now;
- a transaction open for too long is aborted when the coordinator next looks, which is up to ten seconds late;
- offsets are taken from a member of the present generation, also while the next one is being made; from a member that
  was replaced under its instance id never; and from somebody who names no member (-1, '') always;
- compaction removes what a later record of the same key has replaced, below the first open transaction and not in the
  newest segment; and a tombstone once `delete.retention.ms` have passed since it was first met.

Nothing is random here: how long things take is asked of `Delays`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal, Protocol

from contracts.events import Record
from contracts.topics import Topics
from tests.simulation.clock import Time
from worker.ports import Committed, Output, TopicPartition

TRANSACTION_TIMEOUT_MS: Final = 10_000
LOOK_INTERVAL_MS: Final = 10_000
"""`transaction.abort.timed.out.transaction.cleanup.interval.ms`, Kafka's default."""
SESSION_TIMEOUT_MS: Final = 10_000
REBALANCE_TIMEOUT_MS: Final = 300_000
"""How long a rebalance waits for members that are alive but do not poll: kafka-python's `max_poll_interval_ms`."""
FIRST_JOIN_DELAY_MS: Final = 100
DELETE_RETENTION_MS: Final = 24 * 3600 * 1000
RETRY_MS: Final = 100
SEGMENT_RECORDS: Final = 3
"""Of each partition, so many of the newest entries are never compacted: they lie in the active segment."""


class Refused(Exception):
    """Kafka does not take a request; `why` is what kafka-python would call the error."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class Delays(Protocol):
    """How long things take, and who sees to it that they then happen."""

    def marker_ms(self) -> int: ...

    def later(self, delay_ms: int, what: Callable[[], None]) -> None: ...


class AtOnce:
    """Nothing takes any time."""

    def marker_ms(self) -> int:
        return 0

    def later(self, delay_ms: int, what: Callable[[], None]) -> None:
        what()


# Transactions


@dataclass(eq=False, slots=True)
class Transaction:
    """`decided`: what the coordinator has decided, which is final. `waiting`: where its marker has not arrived yet."""

    producer: str
    epoch: int
    began_at: int
    decided: Literal["commit", "abort"] | None = None
    waiting: dict[TopicPartition | None, None] = field(default_factory=dict)
    offsets: dict[TopicPartition, Committed] = field(default_factory=dict)
    written: list[Record] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.decided is not None and not self.waiting


@dataclass(slots=True)
class Span:
    """What a transaction has in one partition; `status` changes when the marker arrives there."""

    first: int
    transaction: Transaction
    status: Literal["open", "committed", "aborted"] = "open"


@dataclass(slots=True)
class Entry:
    """What lies at one offset: a record, or a marker (None).

    `removed`: by compaction. `horizon`: until when a tombstone stays, in ms.
    """

    record: Record | None
    span: Span | None = None
    removed: bool = False
    horizon: int | None = None


class PartitionLog:
    """One partition of a topic."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.open: dict[Transaction, Span] = {}

    @property
    def end(self) -> int:
        """The high watermark."""
        return len(self.entries)

    @property
    def stable_end(self) -> int:
        """The last stable offset: nothing at or behind it is for readers of committed records yet."""
        return min((span.first for span in self.open.values()), default=len(self.entries))

    def append(self, record: Record, transaction: Transaction | None = None) -> Record:
        """Write at the end; returns the record with its offset."""
        offset = len(self.entries)
        placed = Record(
            record.topic, record.partition, offset, record.timestamp, record.key, record.value, record.headers
        )
        span = None
        if transaction is not None:
            span = self.open.get(transaction)
            if span is None:
                span = self.open[transaction] = Span(offset, transaction)
        self.entries.append(Entry(placed, span))
        return placed

    def mark(self, transaction: Transaction) -> None:
        """The transaction's marker arrives."""
        span = self.open.pop(transaction, None)
        if span is not None:
            span.status = "committed" if transaction.decided == "commit" else "aborted"
        self.entries.append(Entry(None))

    def read(self, offset: int, limit: int = 2**40) -> tuple[list[Record], int]:
        """At most `limit` committed records from an offset on, and where reading goes on, markers passed over."""
        found: list[Record] = []
        entries, end = self.entries, self.stable_end
        while offset < end:
            entry = entries[offset]
            if (
                entry.record is not None
                and not entry.removed
                and (entry.span is None or entry.span.status == "committed")
            ):
                if len(found) == limit:
                    break
                found.append(entry.record)
            offset += 1
        return found, offset

    def everything(self) -> list[Record]:
        """All committed records, also those that compaction has removed."""
        return [
            e.record for e in self.entries if e.record is not None and (e.span is None or e.span.status == "committed")
        ]

    def compact(self, now: int) -> int:
        """Clean what may be cleaned; returns how many records it removed."""
        end = min(self.stable_end, len(self.entries) - SEGMENT_RECORDS)
        kept: set[bytes | None] = set()
        removed = 0
        for entry in reversed(self.entries[: max(0, end)]):
            record = entry.record
            if record is None or entry.removed:
                continue
            aborted = entry.span is not None and entry.span.status == "aborted"
            if aborted or record.key in kept or self._is_past(entry, now):
                entry.removed = True
                removed += 1
            if not aborted:
                kept.add(record.key)
        return removed

    @staticmethod
    def _is_past(entry: Entry, now: int) -> bool:
        assert entry.record is not None
        if entry.record.value is not None:
            return False
        if entry.horizon is None:
            entry.horizon = now + DELETE_RETENTION_MS
        return now >= entry.horizon


# The group


@dataclass(slots=True)
class Member:
    """`joined`: it takes part in the rebalance that is under way. `heard_at`: its last heartbeat, in ms."""

    id: str
    instance: str | None
    heard_at: int
    joined: bool = True


class Group:
    """The consumer group, in the classic protocol, eager, with ranges: every member gets whole partition numbers."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self.generation = 0
        self.stable = True
        self.members: dict[str, Member] = {}
        self.assignment: dict[str, frozenset[int]] = {}
        self._ready_at = 0
        self._give_up_at = 0
        self._made = 0

    def join(self, id: str | None, instance: str | None, now: int) -> str:
        """Become a member, or take part in the rebalance that is under way; returns the member id."""
        member = None if id is None else self.members.get(id)
        if member is not None:
            member.joined, member.heard_at = True, now
        else:
            self._made += 1
            old = next((m for m in self.members.values() if instance is not None and m.instance == instance), None)
            member = Member(f"m-{self._made}", instance, now)
            if old is not None:
                return self._replace(old, member, now)
            if not self.members:
                self._ready_at = now + FIRST_JOIN_DELAY_MS
            self.members[member.id] = member
            self.rebalance(now)
            member.joined = True
        self.look(now)
        return member.id

    def _replace(self, old: Member, member: Member, now: int) -> str:
        """A static member is back: it has its predecessor's place, without a rebalance when none was under way."""
        del self.members[old.id]
        self.members[member.id] = member
        if self.stable:
            self.assignment[member.id] = self.assignment.pop(old.id, frozenset())
        self.look(now)
        return member.id

    def rebalance(self, now: int) -> None:
        """Begin a new generation."""
        if self.stable:
            self.stable = False
            self._give_up_at = now + REBALANCE_TIMEOUT_MS
            for member in self.members.values():
                member.joined = False

    def leave(self, id: str, now: int) -> None:
        if self.members.pop(id, None) is not None:
            self.assignment.pop(id, None)
            self.rebalance(now)
            self.look(now)

    def look(self, now: int) -> None:
        """Members that were not heard of are out; a rebalance that everybody takes part in is done."""
        for member in [m for m in self.members.values() if now - m.heard_at > SESSION_TIMEOUT_MS]:
            del self.members[member.id]
            self.assignment.pop(member.id, None)
            self.rebalance(now)
        if self.stable or now < self._ready_at:
            return
        if now >= self._give_up_at:
            self.members = {id: m for id, m in self.members.items() if m.joined}
        if all(m.joined for m in self.members.values()):
            self._begin_generation()

    def _begin_generation(self) -> None:
        self.generation += 1
        self.stable = True
        ordered = sorted(self.members.values(), key=lambda m: m.instance or m.id)
        share, more = divmod(self._partitions, max(1, len(ordered)))
        self.assignment = {}
        first = 0
        for at, member in enumerate(ordered):
            count = share + (at < more)
            self.assignment[member.id] = frozenset(range(first, first + count))
            first += count

    def check(self, generation: int, id: str, instance: str | None) -> None:
        """Whether offsets may be committed under this name; raises Refused."""
        if generation < 0:
            return  # The same as a consumer without a group management: taken, beside whoever is in the group.
        if id not in self.members:
            replaced = instance is not None and any(m.instance == instance for m in self.members.values())
            raise Refused("FencedInstanceIdError" if replaced else "UnknownMemberIdError")
        if generation != self.generation:
            raise Refused("IllegalGenerationError")


# The broker


@dataclass(slots=True)
class Commit:
    """Offsets that came to count, in that order."""

    offsets: dict[TopicPartition, Committed]


class Broker:
    """Topics, the group and its offsets, the coordinator of transactions."""

    def __init__(self, topics: Topics, partitions: int, time: Time, delays: Delays | None = None) -> None:
        self.topics = topics
        self.partitions = partitions
        self.time = time
        self._delays = delays or AtOnce()
        self.logs: dict[TopicPartition, PartitionLog] = {
            (topic, number): PartitionLog() for topic in topics.all for number in range(partitions)
        }
        self.group = Group(partitions)
        self.committed: dict[TopicPartition, Committed] = {}
        self.commits: list[Commit] = []
        self.past: deque[dict[TopicPartition, Committed]] = deque(maxlen=20)
        self.told: dict[TopicPartition, Committed] = {}
        """What the coordinator tells while it has loaded an older state than there is; empty when it has not."""
        self.is_witnessed: Callable[[TopicPartition, Committed], bool] = lambda *_: False
        self.lies: set[tuple[TopicPartition, int]] = set()
        """Offsets that it has told wrongly."""
        self.epochs: dict[str, int] = defaultdict(lambda: -1)
        self.transactions: dict[str, Transaction] = {}
        self.next_look = time.now + LOOK_INTERVAL_MS
        self.is_down = False
        self.too_large: Callable[[Output], bool] = lambda _: False
        self.on_decided: Callable[[Transaction], None] = lambda _: None
        self.on_committed: Callable[[Commit], None] = lambda _: None
        self.on_visible: Callable[[], None] = lambda: None

    def append(self, record: Record, transaction: Transaction | None = None) -> Record:
        """What a producer of inputs does."""
        placed = self.logs[record.topic, record.partition].append(record, transaction)
        self.on_visible()
        return placed

    # The coordinator

    def begin_producer(self, id: str) -> int | None:
        """InitProducerId: the new epoch; None while something of an earlier epoch has not ended everywhere yet."""
        transaction = self.transactions.get(id)
        if transaction is not None and transaction.decided is None:
            self.epochs[id] += 1
            self._decide(transaction, "abort")
        if transaction is not None and not transaction.ended:
            return None
        self.epochs[id] += 1
        return self.epochs[id]

    def is_busy(self, id: str) -> bool:
        """CONCURRENT_TRANSACTIONS: markers of the producer's last transaction are still under way."""
        transaction = self.transactions.get(id)
        return transaction is not None and transaction.decided is not None and not transaction.ended

    def _transaction(self, id: str, epoch: int, *, begin: bool) -> Transaction:
        if epoch != self.epochs[id]:
            raise Refused("ProducerFencedError")
        transaction = self.transactions.get(id)
        if transaction is not None and transaction.decided is None:
            return transaction
        if not begin:
            raise Refused("InvalidTxnStateError")
        if transaction is not None and not transaction.ended:
            raise Refused("ConcurrentTransactionsError")
        transaction = self.transactions[id] = Transaction(id, epoch, self.time.now)
        return transaction

    def produce(self, id: str, epoch: int, outputs: Sequence[Output], *, begin: bool) -> list[int]:
        """Records of one partition. `begin`: the client has said that a transaction begins; else one must be open."""
        transaction = self._transaction(id, epoch, begin=begin)
        if any(self.too_large(output) for output in outputs):
            raise Refused("MessageSizeTooLargeError")
        written = []
        for output in outputs:
            place = (output.topic, output.partition)
            transaction.waiting[place] = None
            record = Record(*place, -1, self.time.now, output.key, output.value, tuple(output.headers))
            placed = self.logs[place].append(record, transaction)
            transaction.written.append(placed)
            written.append(placed.offset)
        return written

    def add_offsets(
        self,
        id: str,
        epoch: int,
        offsets: dict[TopicPartition, Committed],
        generation: int,
        member: str,
        instance: str | None,
    ) -> None:
        """TxnOffsetCommit: they count when the commit's marker has arrived at the group."""
        transaction = self._transaction(id, epoch, begin=True)
        self.group.check(generation, member, instance)
        transaction.waiting[None] = None
        transaction.offsets.update(offsets)

    def end(self, id: str, epoch: int, decision: Literal["commit", "abort"]) -> None:
        """EndTxn: decided from here on, seen when the markers arrive. The same decision twice is taken twice."""
        if epoch != self.epochs[id]:
            raise Refused("ProducerFencedError")
        transaction = self.transactions.get(id)
        if transaction is None:
            raise Refused("InvalidTxnStateError")
        if transaction.decided is not None:
            if transaction.decided != decision:
                raise Refused("InvalidTxnStateError")
            return
        self._decide(transaction, decision)

    def _decide(self, transaction: Transaction, decision: Literal["commit", "abort"]) -> None:
        transaction.decided = decision
        if decision == "commit":
            self.on_decided(transaction)
        for place in list(transaction.waiting):
            self._delays.later(self._delays.marker_ms(), lambda place=place: self._mark(transaction, place))  # type: ignore[misc]

    def _mark(self, transaction: Transaction, place: TopicPartition | None) -> None:
        """A marker arrives, at a partition or at the group."""
        if self.is_down:
            self._delays.later(RETRY_MS, lambda: self._mark(transaction, place))
            return
        del transaction.waiting[place]
        if place is not None:
            self.logs[place].mark(transaction)
        elif transaction.decided == "commit":
            commit = Commit(transaction.offsets)
            self.commits.append(commit)
            self.on_committed(commit)
            self.past.append(dict(self.committed))
            self.committed.update(transaction.offsets)
            self.told.update(transaction.offsets)
        self.on_visible()

    def look(self) -> None:
        """What Kafka does by itself: expire members, end rebalances, abort what was open for too long."""
        self.group.look(self.time.now)
        if self.time.now < self.next_look:
            return
        self.next_look = self.time.now + LOOK_INTERVAL_MS
        for id, transaction in self.transactions.items():
            if transaction.decided is None and self.time.now - transaction.began_at > TRANSACTION_TIMEOUT_MS:
                self.epochs[id] += 1
                self._decide(transaction, "abort")

    # The group's offsets

    def stable_offsets(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Committed] | None:
        """What was committed of these; None while a transaction that has not ended would change it."""
        wanted = list(places)
        for transaction in self.transactions.values():
            if None in transaction.waiting and any(place in transaction.offsets for place in wanted):
                return None
        return self.offsets(wanted)

    def offsets(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Committed]:
        return {place: self._told(place) for place in places if place in self.committed}

    def _told(self, place: TopicPartition) -> Committed:
        """Wrong only where somebody else knows better: nobody finds out otherwise."""
        told = self.told.get(place)
        if told is None or told == self.committed[place] or not self.is_witnessed(place, told):
            return self.committed[place]
        self.lies.add((place, told.offset))
        return told

    def load_in_part(self, choose: Random) -> None:
        """The coordinator begins anew with an older state of what was committed."""
        if self.past:
            self.told = dict(choose.choice(self.past))

    def load_all(self) -> None:
        self.told = {}

    def compact(self) -> int:
        """Let the cleaner run over both compacted topics; returns how many records it removed."""
        compacted = (self.topics.decision_state, self.topics.internal)
        return sum(log.compact(self.time.now) for (topic, _), log in self.logs.items() if topic in compacted)

    def has_open_transactions(self) -> bool:
        return any(not t.ended for t in self.transactions.values())
