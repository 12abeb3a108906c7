"""From the log to the store: the two compacted topics are the store's redo log.

A tail is enough when the store's position lies in the log as it is now and is recent: what is behind it is read and
applied, tombstones included. Otherwise the log may have forgotten deletions that the store does not know of yet, or
the store is no copy of this log at all, and the partition is restored in full: everything of it is removed first,
under a new generation, then read from the beginning. Removing first leaves readers with "not yet" for a while
(`position.status` says so) instead of documents that may claim more than still holds, and needs no memory of what was
named.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from contracts.decision import decode
from contracts.events import Record
from contracts.ids import split_internal_key, split_run_key
from contracts.printable import printable
from contracts.times import parse_time
from projections import rules
from projections.formats import DOCUMENT, INTERNAL, NewerFormat, upgraded
from projections.record import INTERNAL_KINDS, Key, Kind
from projections.rules import is_unfinished
from worker.errors import DecidedByNewer, StoreDamaged
from worker.partition import Partition
from worker.ports import (
    LAYOUT,
    Clock,
    Ends,
    Log,
    LogSlice,
    Position,
    Store,
    Stored,
    StoredInternal,
    StoredRun,
    StoreStatus,
)

TAIL_MAX_AGE_MS: Final = 12 * 3600 * 1000
"""How old a position may be that is followed from: half of Kafka's default `delete.retention.ms`.
Tombstones are kept at least that long after they were written; `topics check` sees to it that it is not set lower."""


def starting_position(
    store: Store,
    partition: int,
    status: StoreStatus | None,
    ends: Ends,
    log_id: str,
    now: int,
    *,
    distrusted: bool = False,
) -> tuple[Position, str | None]:
    """The position to restore from, and why that is the beginning, if it is.

    `status`: the store's, as it was before `ends` were asked for. The store is never ahead of the log, so a position
    behind the ends is one of another log; of a status that is younger than the ends it would say nothing, and a worker
    that stood still in between would remove what the partition's next owner has made of it meanwhile.
    `distrusted`: the store was found to contradict itself, so nothing in it is followed.
    """
    reason = "the store contradicts itself" if distrusted else _why_in_full(status, ends, log_id, now)
    if reason is None:
        assert status is not None
        return status.position, None
    start = Position(secrets.token_hex(8), ends.low_state, ends.low_internal)
    store.wipe(partition, status, start, log_id, applied_at=now)
    return start, reason


def restore_slices(log: Log, store: Store, clock: Clock, partitions: Sequence[Partition]) -> dict[int, int]:
    """Read what comes next behind the positions of all these partitions and apply it; returns how many records each."""
    behind = {p.number: p.position for p in partitions if not p.is_restored}
    asked_at = clock.now_ms()
    slices = log.read(behind) if behind else {}
    _check_age(clock.now_ms(), [p for p in partitions if p.number in behind])
    return {p.number: _apply_slice(store, asked_at, p, slices.get(p.number)) for p in partitions}


def _check_age(now: int, partitions: Sequence[Partition]) -> None:
    """Whoever sleeps between taking over and reading may find a log that has forgotten what it was to read."""
    for partition in partitions:
        if now - partition.applied_at > TAIL_MAX_AGE_MS:
            raise StoreDamaged(partition.number, "its position has become too old to be followed from")


def _apply_slice(store: Store, asked_at: int, partition: Partition, piece: LogSlice | None) -> int:
    before = partition.position
    if piece is None:
        piece = LogSlice((), (), before.state, before.internal)
    after = Position(before.generation, piece.next_state, piece.next_internal)
    if after == before and not partition.is_restored:
        return 0
    partition.position = after
    if partition.is_restored:
        # Not before: of a restore that is interrupted again and again the rest would grow old and look young.
        partition.applied_at = asked_at
    store.apply(
        partition.number,
        before,
        after,
        stored_records(piece),
        restoring=not partition.is_restored,
        applied_at=partition.applied_at,
        policy=partition.policies.touched or rules.POLICY,
        offsets=partition.offsets if partition.is_restored else None,
    )
    return len(piece.state) + len(piece.internal)


def stored_records(piece: LogSlice) -> Iterator[Stored]:
    """The store's records that records of the compacted topics stand for: of each key the last, as compaction would.

    A piece is applied at once or not at all, so nobody could see the others.

    Raises DecidedByNewer at what a newer version has written: the last place where that is noticed, if offsets were
    reset and the store was wiped.
    """
    yield from map(_stored_run, _last_of_each(piece.state))
    yield from map(_stored_internal, _last_of_each(piece.internal))


def _last_of_each(records: Sequence[Record]) -> Iterable[Record]:
    return {record.key: record for record in records}.values()


def is_copy_of(status: StoreStatus, ends: Ends, log_id: str) -> bool:
    """Whether the store is, or was left as, a copy of this log: of these topics, and not ahead of them."""
    position = status.position
    return status.log_id == log_id and position.state <= ends.high_state and position.internal <= ends.high_internal


def _why_in_full(status: StoreStatus | None, ends: Ends, log_id: str, now: int) -> str | None:
    """Why the store's position cannot be followed from; None if it can."""
    if status is None:
        return "the store has no position"
    if status.layout != LAYOUT:
        found = "names no layout" if status.layout is None else f"has layout {status.layout}"
        return f"the store {found}, and this version keeps layout {LAYOUT}"
    if status.log_id != log_id:
        return "the store follows topics that were deleted or made anew"
    if status.ordered is not None:
        return f"{printable(status.ordered)} ordered it"
    if not status.wiped:
        return "a full restore was not finished with removing what was there"
    position = status.position
    if not (ends.low_state <= position.state <= ends.high_state):
        return f"position {position.state} is outside the state topic's {ends.low_state} to {ends.high_state}"
    if not (ends.low_internal <= position.internal <= ends.high_internal):
        return (
            f"position {position.internal} is outside the internal topic's {ends.low_internal} to {ends.high_internal}"
        )
    behind = position.state < ends.high_state or position.internal < ends.high_internal
    if behind and now - status.applied_at > TAIL_MAX_AGE_MS:
        return "the position is so old that the log may have forgotten deletions behind it"
    return None


def _stored_run(record: Record) -> StoredRun:
    try:
        stored, policy = decoded_run(record)
    except NewerFormat as error:
        raise _refused(record, error) from error
    if policy > rules.POLICY:
        raise DecidedByNewer(record.partition, "policy", policy, rules.POLICY)
    return stored


def _stored_internal(record: Record) -> StoredInternal:
    try:
        return decoded_internal(record)
    except NewerFormat as error:
        raise _refused(record, error) from error


def _refused(record: Record, error: NewerFormat) -> DecidedByNewer:
    return DecidedByNewer(record.partition, f"{error.family} format", error.found, error.ours)


def decoded_run(record: Record) -> tuple[StoredRun, int]:
    """What a record of the state topic stands for, and the policy that has decided it, 0 of a tombstone.

    Raises KeyError, TypeError or ValueError for what is none of ours, NewerFormat for a newer version's.
    """
    key = run_key_of(record)
    if record.value is None:
        return StoredRun(key, None), 0
    document = upgraded(DOCUMENT, decode(record.value))
    changed_at = parse_time(document["changed_at"])
    stored = StoredRun(key, record.value, document["state"], changed_at, is_unfinished(document))
    return stored, document["policy"]


def decoded_internal(record: Record) -> StoredInternal:
    """What a record of the internal topic stands for. Raises as `decoded_run`."""
    key = internal_key_of(record)
    if record.value is None:
        return StoredInternal(key, None)
    return StoredInternal(key, record.value, upgraded(INTERNAL, decode(record.value))["due"])


def run_key_of(record: Record) -> Key:
    """Whose record of the state topic it is. Raises ValueError for a key that is none of ours."""
    assert record.key is not None, "every record of a compacted topic has a key"
    return Key("run", *split_run_key(record.key.decode()))


def internal_key_of(record: Record) -> Key:
    """Whose record of the internal topic it is. Raises as `run_key_of`."""
    assert record.key is not None, "every record of a compacted topic has a key"
    kind, tenant, id = split_internal_key(record.key.decode())
    return Key(_kind(kind), tenant, id)


def _kind(name: str) -> Kind:
    for kind in INTERNAL_KINDS:
        if kind == name:
            return kind
    raise ValueError(f"expected a kind of {', '.join(INTERNAL_KINDS)}, got {name!r}")
