"""What the loop needs of the world: a log, a store, a clock. Everything that does I/O stands behind these.

Any method of a log or a store may raise; the loop knows one answer to that (see `worker.loop`). Errors
that mean something of their own are in `worker.errors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Protocol

from contracts.events import Record
from projections.record import Key

LAYOUT: Final = 3
"""Of what a partition's store holds beside the records, and under which names. Raised by hand when that changes, also
when other rules await something (`projections.rules.is_unfinished`): a store of another layout is restored in full."""

TopicPartition = tuple[str, int]
"""A topic's name and a partition number."""


@dataclass(frozen=True, slots=True)
class Membership:
    """A stable place in the consumer group: `token` is the group metadata to commit offsets with.

    `generation` and `member` change with every rebalance and eviction; `partitions` are the partition numbers
    assigned, each with all inputs.
    """

    generation: int
    member: str
    partitions: frozenset[int]
    token: Any = field(compare=False)


@dataclass(frozen=True, slots=True)
class Policies:
    """With which policies a partition's documents were decided (`worker.policies`); 0: not known, or with none.

    `touched`: the newest that has decided anything in it; only workers of this one or a newer one go on there.
    `complete`: the newest with which everything in it was decided again. `reached`: while that is still to be done for
    `touched`, the offset of decision-state up to which it was.
    """

    touched: int = 0
    complete: int = 0
    reached: int = 0


@dataclass(frozen=True, slots=True)
class Committed:
    """What was committed last of an input partition: the next offset, and how things stood at that point.

    `stream_time`: in ms. `policies`: the same for all inputs of a partition number. `by`: a worker's transaction,
    somebody else, as an operator who resets it (it says nothing of the others then), or nobody: it is the beginning.
    """

    offset: int
    stream_time: int
    policies: Policies = Policies()
    by: Literal["worker", "other", "nobody"] = "worker"


class Position(NamedTuple):
    """How far a partition's store follows the log: the next offset of each compacted topic not yet in it.

    `generation` names the life of the store's copy: a full restore begins a new one. All three are compared
    before every read and write, so whoever holds an old position is refused.
    """

    generation: str
    state: int
    internal: int


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """A partition's position record as it is stored, with what is needed to judge whether it can be followed from.

    `wiped`: what was there before this generation has been removed. `applied_at`: wall time in ms of the last write.
    `layout`: None where it names none. `ordered`: who ordered it to be restored in full, while nobody has begun.
    `offsets`: of each input, what was committed with what was last written here; empty where that is not known. Beside
    these it keeps, for people, since when it is restoring or ready (`status_since`, wall time in ms).
    """

    position: Position
    restoring: bool
    wiped: bool
    log_id: str
    applied_at: int
    policy: int
    layout: int | None = LAYOUT
    ordered: str | None = None
    offsets: Mapping[str, int] = field(default_factory=dict)


class Output(NamedTuple):
    """A record to be published; a `value` of None is a tombstone."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class StoredRun(NamedTuple):
    """A run's record for the store: the document's bytes and what the indexes need; all None when it was deleted.

    `unfinished`: something is still awaited of it (`projections.rules.is_unfinished`).
    """

    key: Key
    value: bytes | None
    state: str | None = None
    changed_at: int | None = None
    unfinished: bool = False


class StoredInternal(NamedTuple):
    """An internal record for the store; `due` is its deadline in ms, if it has one."""

    key: Key
    value: bytes | None
    due: int | None = None


Stored = StoredRun | StoredInternal


@dataclass(frozen=True, slots=True)
class Ends:
    """Where a partition's two compacted topics begin and end: `low` first offsets, `high` next ones to be written."""

    low_state: int
    low_internal: int
    high_state: int
    high_internal: int


@dataclass(frozen=True, slots=True)
class LogSlice:
    """Some of what the compacted topics of a partition hold, in order, and where reading goes on."""

    state: Sequence[Record]
    internal: Sequence[Record]
    next_state: int
    next_internal: int


class Clock(Protocol):
    """Wall time for what is compared with records, monotonic time for waiting."""

    def now_ms(self) -> int: ...

    def monotonic(self) -> float: ...


class Log(Protocol):
    """Kafka, as one member of a consumer group with one transactional producer sees it."""

    def poll(self, timeout_ms: int) -> list[Record]:
        """Committed records of the assigned inputs, each input partition's in offset order."""

    def membership(self) -> Membership | None:
        """The place in the group, or None while it is not stable."""

    def new_producer(self) -> None:
        """Replace the producer: fences the old one and ends its transaction."""

    def committed(self, partitions: Iterable[int]) -> Mapping[TopicPartition, Committed]:
        """Committed offsets of all inputs of these partitions, none pending; the beginning of what has none.

        Raises OffsetOutOfRange for a committed offset that its log does not hold.
        """

    def resume_at(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Go on fetching these input partitions from these offsets."""

    def pause(self, inputs: Iterable[TopicPartition]) -> None:
        """Stop fetching these inputs; those that are no longer assigned are passed over."""

    def resume(self, inputs: Iterable[TopicPartition]) -> None:
        """Go on fetching these inputs."""

    def next_offset(self, input: TopicPartition) -> int:
        """Offset behind the last record that `poll` returned, transaction markers passed over."""

    def input_ends(self, inputs: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The next offsets to be written, records of open transactions included."""

    def log_id(self) -> str:
        """Names the two compacted topics as they are now: another one when one of them was made anew."""

    def ends(self, partitions: Sequence[int]) -> Mapping[int, Ends]:
        """Ends of the compacted topics, records of open transactions included."""

    def read(self, positions: Mapping[int, Position]) -> Mapping[int, LogSlice]:
        """Committed records of these partitions' compacted topics behind the positions, as many as come at once."""

    def publish(
        self, outputs: Sequence[Output], offsets: Mapping[TopicPartition, Committed], token: Any
    ) -> Sequence[int]:
        """One transaction: all outputs and these offsets, or nothing. Returns each output's offset."""


class Store(Protocol):
    """Redis, one slot for each partition."""

    def status(self, partition: int) -> StoreStatus | None:
        """The partition's position record; None if there is none that can be read."""

    def read(self, partition: int, position: Position, keys: Sequence[Key]) -> list[bytes | None]:
        """The values of keys, if the store still is at `position`; else raises PositionMoved.

        Raises StoreDamaged for a record that was written, was not deleted, and is not there.
        """

    def due(self, partition: int, position: Position, until: int, limit: int) -> list[tuple[int, Key]]:
        """Deadlines not after `until`, earliest first, at most `limit`; guarded like `read`."""

    def next_due(self, partition: int, position: Position) -> int | None:
        """The earliest deadline; guarded like `read`."""

    def apply(
        self,
        partition: int,
        before: Position,
        after: Position,
        writes: Iterable[Stored],
        *,
        restoring: bool,
        applied_at: int,
        policy: int | None = None,
        offsets: Mapping[str, int] | None = None,
    ) -> None:
        """Write records and move from exactly `before` to `after`, at once or not at all; else PositionMoved.

        `policy`, `offsets`: what the status says of them is left as it is by None.
        """

    def wipe(
        self, partition: int, before: StoreStatus | None, start: Position, log_id: str, *, applied_at: int
    ) -> None:
        """Begin a full restore: remove all that is there of a partition and set `start`, status restoring."""
