"""A Redis, and `worker.ports.Store` on it, script by script as `worker.redis.RedisStore` does it.

A script is atomic; between two of them (a wipe is several) anything may happen. The position is compared exactly as
the scripts compare it. What may go wrong with the server itself is done to it from outside: everything is lost, it goes
back to a copy of an earlier moment, one key is lost, it is down, its memory is full (then what needs more is refused
before anything is done, and reading and removing go on).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from projections import rules
from projections.record import Key
from tests.simulation.surroundings import Surroundings, T, carried_out
from worker.errors import PositionMoved, RedisUnreachable, StoreDamaged
from worker.ports import Position, Stored, StoredRun, StoreStatus

KEPT_COPIES: Final = 8
WIPING: Final = "-wiping"
"""Behind a new generation's name until nothing of the old one is left."""


class OutOfMemory(Exception):
    """`maxmemory` is reached, and the policy is `noeviction`."""


@dataclass(slots=True)
class Copy:
    """What Redis has of one partition.

    `status` None: there is no position. `records`: the names of those that are to be there. `lost`: what was removed by
    hand, and not written or removed since. `sizes`: how many deadlines and records there were left.
    `sweeps`: of the wipe that is under way.
    """

    status: StoreStatus | None = None
    values: dict[Key, bytes] = field(default_factory=dict)
    dues: dict[Key, int] = field(default_factory=dict)
    index: dict[Key, tuple[str, int]] = field(default_factory=dict)
    unfinished: dict[Key, tuple[str, int]] = field(default_factory=dict)
    records: set[Key] = field(default_factory=set)
    lost: dict[Key, bytes] = field(default_factory=dict)
    sizes: tuple[int, int] = (0, 0)
    sweeps: int = 0

    def forget(self, key: Key) -> None:
        for kept in (self.values, self.dues, self.index, self.unfinished, self.lost):
            kept.pop(key, None)
        self.records.discard(key)

    def lose(self, key: Key) -> None:
        """A key is removed by hand."""
        self.lost[key] = self.values.pop(key)

    def as_it_is(self) -> Copy:
        indexes = dict(self.dues), dict(self.index), dict(self.unfinished), set(self.records)
        return Copy(self.status, dict(self.values), *indexes, dict(self.lost), self.sizes, self.sweeps)


@dataclass(frozen=True, slots=True)
class Applied:
    """What one call of apply.lua has done. `replaced`: what was there before of what was written."""

    partition: int
    before: Position
    after: Position
    writes: Sequence[Stored]
    replaced: Sequence[bytes | None]
    restoring: bool


@dataclass(frozen=True, slots=True)
class Wiped:
    """What one call of wipe.lua has done. `expected`, `found`: generations, empty for none."""

    partition: int
    expected: str
    found: str
    start: Position


class Redis:
    """The server. `on_applied`, `on_wiped`: whoever watches."""

    def __init__(self, partitions: int) -> None:
        self.copies: dict[int, Copy] = {number: Copy() for number in range(partitions)}
        self.kept: list[dict[int, Copy]] = []
        self.down = False
        self.full = False
        self.on_applied: Callable[[Applied], None] = lambda _: None
        self.on_wiped: Callable[[Wiped], None] = lambda _: None
        self.on_swept: Callable[[int, Copy, str], None] = lambda _partition, _copy, _generation: None

    # The scripts

    def at(self, partition: int, position: Position) -> Copy:
        """The guard that three scripts begin with."""
        copy = self.copies[partition]
        if copy.status is None or copy.status.position != position:
            raise PositionMoved(partition, str(position), None if copy.status is None else str(copy.status.position))
        if copy.sizes != (len(copy.dues), len(copy.records)):
            raise StoreDamaged(partition, "an index was stored and is not there")
        return copy

    def apply(
        self,
        partition: int,
        before: Position,
        after: Position,
        writes: Sequence[Stored],
        *,
        restoring: bool,
        applied_at: int,
        policy: int | None,
        offsets: Mapping[str, int] | None,
    ) -> None:
        copy = self.at(partition, before)
        self._need_memory()
        replaced = [copy.values.get(write.key) for write in writes]
        for write in writes:
            _write(copy, write)
        copy.sizes = (len(copy.dues), len(copy.records))
        assert copy.status is not None
        status = replace(copy.status, position=after, restoring=restoring, applied_at=applied_at)
        status = status if policy is None else replace(status, policy=policy)
        copy.status = status if offsets is None else replace(status, offsets=dict(offsets))
        self.on_applied(Applied(partition, before, after, writes, replaced, restoring))

    def wipe(self, partition: int, expected: str, start: Position, log_id: str, applied_at: int) -> None:
        copy = self.copies[partition]
        found = "" if copy.status is None else copy.status.position.generation
        if not self.may_wipe(expected, found):
            raise PositionMoved(partition, expected, found)
        wiping = start._replace(generation=start.generation + WIPING)
        copy.status = StoreStatus(
            wiping, restoring=True, wiped=False, log_id=log_id, applied_at=applied_at, policy=rules.POLICY
        )
        copy.sweeps, copy.sizes = 0, (0, 0)
        self.on_wiped(Wiped(partition, expected, found, start))

    def may_wipe(self, expected: str, found: str) -> bool:
        return found == expected

    def sweep(self, partition: int, generation: str, keys: Iterable[Key], sweeps: int, *, last: bool) -> None:
        copy = self.copies[partition]
        if not self.may_sweep(copy, generation, sweeps):
            raise PositionMoved(partition, generation, None)
        self.on_swept(partition, copy, generation)
        for key in keys:
            copy.forget(key)
        copy.sweeps += 1
        if last and copy.status is not None:
            begun = copy.status.position._replace(generation=generation)
            copy.status = replace(copy.status, position=begun, wiped=True)

    def may_sweep(self, copy: Copy, generation: str, sweeps: int) -> bool:
        status = copy.status
        return status is not None and status.position.generation == generation + WIPING and copy.sweeps == sweeps

    def _need_memory(self) -> None:
        if self.full:
            raise OutOfMemory("OOM command not allowed when used memory > 'maxmemory'")

    # What is done to the server

    def keep_copy(self) -> None:
        """As a replica that is cut off from here on, or a file that is written now."""
        self.kept.append({number: copy.as_it_is() for number, copy in self.copies.items()})
        del self.kept[:-KEPT_COPIES]

    def go_back(self, kept: dict[int, Copy]) -> None:
        self.copies = {number: copy.as_it_is() for number, copy in kept.items()}

    def flush(self) -> None:
        self.copies = {number: Copy() for number in self.copies}


class SimulatedStore:
    """One process's connection."""

    def __init__(self, redis: Redis, around: Surroundings) -> None:
        self._redis = redis
        self._around = around

    def _call(self, call: str, work: Callable[[], T]) -> T:
        return carried_out(self._around, call, lambda: self._answered(work))

    def _answered(self, work: Callable[[], T]) -> T:
        if self._redis.down:
            raise RedisUnreachable("redis", "connection refused")
        return work()

    def status(self, partition: int) -> StoreStatus | None:
        return self._call("status", lambda: self._redis.copies[partition].status)

    def read(self, partition: int, position: Position, keys: Sequence[Key]) -> list[bytes | None]:
        def read() -> list[bytes | None]:
            copy = self._redis.at(partition, position)
            for key in keys:
                if key in copy.records and key not in copy.values:
                    raise StoreDamaged(partition, f"{key} was stored and is not there")
            return [copy.values.get(key) for key in keys]

        return self._call("store_read", read)

    def due(self, partition: int, position: Position, until: int, limit: int) -> list[tuple[int, Key]]:
        def due() -> list[tuple[int, Key]]:
            dues = self._redis.at(partition, position).dues
            found = sorted((due, str(key), key) for key, due in dues.items() if due <= until)
            return [(due, key) for due, _, key in found[:limit]]

        return self._call("due", due)

    def next_due(self, partition: int, position: Position) -> int | None:
        return self._call("next_due", lambda: min(self._redis.at(partition, position).dues.values(), default=None))

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
        written = list(writes)
        self._call(
            "apply" if policy is None else "restore",
            lambda: self._redis.apply(
                partition,
                before,
                after,
                written,
                restoring=restoring,
                applied_at=applied_at,
                policy=policy,
                offsets=offsets,
            ),
        )

    def wipe(
        self, partition: int, before: StoreStatus | None, start: Position, log_id: str, *, applied_at: int
    ) -> None:
        expected = "" if before is None else before.position.generation
        self._call("wipe", lambda: self._redis.wipe(partition, expected, start, log_id, applied_at))
        doomed = self._call("wipe", lambda: sorted(self._redis.copies[partition].records))
        half = len(doomed) // 2
        self._call("wipe", lambda: self._redis.sweep(partition, start.generation, doomed[:half], 0, last=False))
        self._call("wipe", lambda: self._redis.sweep(partition, start.generation, doomed[half:], 1, last=True))


def _write(copy: Copy, write: Stored) -> None:
    if write.value is None:
        copy.forget(write.key)
        return
    copy.values[write.key] = write.value
    copy.records.add(write.key)
    copy.lost.pop(write.key, None)
    if isinstance(write, StoredRun):
        assert write.state is not None and write.changed_at is not None
        copy.index[write.key] = (write.state, write.changed_at)
        copy.unfinished.pop(write.key, None)
        if write.unfinished:
            copy.unfinished[write.key] = (write.state, write.changed_at)
    elif write.due is None:
        copy.dues.pop(write.key, None)
    else:
        copy.dues[write.key] = write.due
