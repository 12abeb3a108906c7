"""The store in memory, in Redis and in a Redis Cluster: one suite, so that what the loop's tests stand on is true."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from redis import Redis

from contracts.decision import STATES
from projections.record import Key
from projections.rules import POLICY, UNFINISHED
from tests.servers.clients import redis_client
from tests.servers.plugin import MakesRedis, Space
from tests.worker.fakes import FakeStore
from worker.errors import PositionMoved, RedisUnreachable, StoreDamaged
from worker.nodes import Nodes
from worker.ports import LAYOUT, Position, Store, Stored, StoredInternal, StoredRun
from worker.redis import RedisStore

START = Position("g1", 0, 0)
LATER = Position("g1", 3, 5)
RUN = Key("run", "t-1", "rr-1")
OPERATION = Key("operation", "t-1", "op-1")
SNAPSHOT = Key("snapshot", "t-1", "es-1")


@dataclass(frozen=True, slots=True)
class Place:
    """A store in Redis, and Redis itself to look behind it."""

    store: RedisStore
    client: Redis
    namespace: str

    def members(self, name: str) -> dict[str, int]:
        found = cast(list[Any], self.client.zrange(f"{self.namespace}:{name}", 0, -1, withscores=True))
        return {member.decode(): int(score) for member, score in found}

    def names(self) -> set[str]:
        prefix = f"{self.namespace}:"
        return {name.decode().removeprefix(prefix) for name in self.client.scan_iter(match=f"{prefix}*", count=1000)}


SERVERS = {"in Redis": "redis_server", "in a Redis Cluster": "redis_cluster"}


@contextmanager
def a_place(request: pytest.FixtureRequest, server: str) -> Iterator[Place]:
    url, space = request.getfixturevalue(SERVERS[server]).url, request.getfixturevalue("space")
    with Nodes(url, 2_000) as nodes, redis_client(url) as client:
        yield Place(RedisStore(nodes, space.namespace, url), client, space.namespace)


@pytest.fixture(params=SERVERS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with a_place(request, request.param) as place:
        yield place


@pytest.fixture(params=["in memory", *SERVERS])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store."""
    if request.param == "in memory":
        yield FakeStore()
        return
    with a_place(request, request.param) as place:
        yield place.store


def begin(store: Store, partition: int = 0, start: Position = START) -> None:
    store.wipe(partition, store.status(partition), start, "life-1", applied_at=1)


def apply(store: Store, before: Position, after: Position, *writes: Stored, partition: int = 0) -> None:
    store.apply(partition, before, after, writes, restoring=False, applied_at=2)


def a_run(
    value: bytes = b"{}", state: str = "failed", changed_at: int = 7, key: Key = RUN, *, unfinished: bool = False
) -> StoredRun:
    return StoredRun(key, value, state, changed_at, unfinished)


def test_at_first_there_is_no_status(store: Store) -> None:
    assert store.status(0) is None


def test_a_full_restore_begins_with_a_position_and_nothing_else(store: Store) -> None:
    begin(store)
    status = store.status(0)
    assert status is not None
    assert (status.position, status.restoring, status.wiped) == (START, True, True)
    assert (status.log_id, status.applied_at, status.policy, status.layout) == ("life-1", 1, POLICY, LAYOUT)
    assert store.read(0, START, [RUN, OPERATION]) == [None, None]
    assert store.next_due(0, START) is None


def test_what_was_written_is_read_byte_for_byte(store: Store) -> None:
    begin(store)
    values = [b'{"a": "\xc3\xa4"}', b"\x00\xff\r\n", b""]
    apply(
        store, START, LATER, a_run(values[0]), StoredInternal(OPERATION, values[1]), StoredInternal(SNAPSHOT, values[2])
    )
    assert store.read(0, LATER, [SNAPSHOT, RUN, Key("run", "t-2", "rr-1"), OPERATION]) == [
        values[2],
        values[0],
        None,
        values[1],
    ]


def test_applying_says_how_far_the_store_is(store: Store) -> None:
    begin(store)
    store.apply(0, START, LATER, [], restoring=True, applied_at=5, policy=9)
    status = store.status(0)
    assert status is not None
    assert (status.position, status.restoring, status.applied_at, status.policy) == (LATER, True, 5, 9)
    apply(store, LATER, Position("g1", 4, 5))
    status = store.status(0)
    assert status is not None
    assert (status.restoring, status.policy, status.log_id) == (False, 9, "life-1")


@pytest.mark.parametrize("other", [Position("g2", 3, 5), Position("g1", 2, 5), Position("g1", 3, 6)])
@pytest.mark.parametrize(
    "call",
    [
        lambda store, at: store.read(0, at, [RUN]),
        lambda store, at: store.due(0, at, 100, 1),
        lambda store, at: store.next_due(0, at),
        lambda store, at: apply(store, at, Position("g1", 9, 9), a_run(b"wrong"), StoredInternal(OPERATION, None)),
    ],
    ids=["read", "due", "next_due", "apply"],
)
def test_whoever_is_not_at_the_position_is_refused_and_changes_nothing(
    store: Store, call: Callable[[Store, Position], object], other: Position
) -> None:
    begin(store)
    apply(store, START, LATER, a_run(b"right"), StoredInternal(OPERATION, b"kept", 50))

    with pytest.raises(PositionMoved) as refused:
        call(store, other)

    assert refused.value.partition == 0
    assert store.read(0, LATER, [RUN, OPERATION]) == [b"right", b"kept"]
    assert store.next_due(0, LATER) == 50


def test_a_store_that_is_empty_refuses_everybody(store: Store) -> None:
    with pytest.raises(PositionMoved):
        store.read(0, START, [RUN])
    with pytest.raises(PositionMoved):
        apply(store, START, LATER, a_run())
    assert store.status(0) is None


def test_the_same_batch_is_applied_once(store: Store) -> None:
    begin(store)
    apply(store, START, LATER, a_run())
    with pytest.raises(PositionMoved):
        apply(store, START, LATER, a_run())


def test_partitions_do_not_know_each_other(store: Store) -> None:
    begin(store, 0)
    begin(store, 10, Position("g9", 4, 4))
    apply(store, START, LATER, a_run(b"zero"), StoredInternal(SNAPSHOT, b"zero", 5))
    assert store.read(10, Position("g9", 4, 4), [RUN, SNAPSHOT]) == [None, None]
    assert store.next_due(10, Position("g9", 4, 4)) is None
    begin(store, 10, Position("g10", 0, 0))
    assert store.read(0, LATER, [RUN, SNAPSHOT]) == [b"zero", b"zero"]


def test_deadlines_come_in_order_of_time_and_then_name(store: Store) -> None:
    begin(store)
    keys = [Key("snapshot", "t-1", f"es-{n}") for n in range(4)]
    dues = [1_793_527_200_000, 5, 253_402_300_799_999, 5]
    apply(store, START, LATER, *(StoredInternal(key, b"", due) for key, due in zip(keys, dues, strict=True)))

    ordered = [(5, keys[1]), (5, keys[3]), (dues[0], keys[0]), (dues[2], keys[2])]
    assert store.due(0, LATER, 2**53, 9) == ordered
    assert store.due(0, LATER, 2**53, 3) == ordered[:3]
    assert store.due(0, LATER, dues[0], 9) == ordered[:3]
    assert store.due(0, LATER, 4, 9) == []
    assert store.next_due(0, LATER) == 5


def test_a_deadline_goes_with_its_record_or_when_there_is_none_any_more(store: Store) -> None:
    begin(store)
    apply(store, START, LATER, StoredInternal(OPERATION, b"1", 5), StoredInternal(SNAPSHOT, b"1", 6))
    last = Position("g1", 9, 9)
    apply(store, LATER, last, StoredInternal(OPERATION, None), StoredInternal(SNAPSHOT, b"2", None))
    assert store.next_due(0, last) is None
    assert store.read(0, last, [OPERATION, SNAPSHOT]) == [None, b"2"]


def test_a_full_restore_is_begun_only_from_what_was_seen(store: Store) -> None:
    begin(store)
    seen = store.status(0)
    store.wipe(0, seen, Position("g2", 0, 0), "life-1", applied_at=1)
    with pytest.raises(PositionMoved):
        store.wipe(0, seen, Position("g3", 0, 0), "life-1", applied_at=1)
    status = store.status(0)
    assert status is not None
    assert status.position.generation == "g2"


def test_a_full_restore_is_not_begun_where_somebody_else_has_begun_one(store: Store) -> None:
    """Whoever saw no position and then stood still finds one now."""
    seen = store.status(0)
    assert seen is None
    begin(store)
    apply(store, START, LATER, a_run(b"kept"))
    with pytest.raises(PositionMoved):
        store.wipe(0, seen, Position("g2", 0, 0), "life-1", applied_at=1)
    assert store.read(0, LATER, [RUN]) == [b"kept"]


def test_a_full_restore_removes_what_was_there(store: Store) -> None:
    begin(store)
    apply(store, START, LATER, a_run(), StoredInternal(OPERATION, b"", 5))
    again = Position("g2", 1, 2)
    begin(store, start=again)
    assert store.read(0, again, [RUN, OPERATION]) == [None, None]
    assert store.next_due(0, again) is None


def test_any_history_of_writes_leaves_the_same_in_memory_and_in_redis(place: Place) -> None:
    chosen = random.Random(random.randrange(2**32))
    memory = FakeStore()
    keys = [Key(kind, f"t-{n % 3}", f"x-{n}") for n in range(12) for kind in ("run", "operation", "snapshot")]
    position = START
    for store in (memory, place.store):
        begin(store)
    for _ in range(60):
        writes = [_any_write(chosen, key) for key in chosen.sample(keys, chosen.randint(0, 8))]
        after = Position("g1", position.state + chosen.randint(0, 3), position.internal + 1)
        for store in (memory, place.store):
            apply(store, position, after, *writes)
        position = after
        assert place.store.read(0, position, keys) == memory.read(0, position, keys)
        assert place.store.due(0, position, 2**50, 100) == memory.due(0, position, 2**50, 100)
    _assert_listed(place, memory)


def _any_write(chosen: random.Random, key: Key) -> Stored:
    value = None if chosen.random() < 0.3 else chosen.randbytes(9)
    if key.kind != "run":
        return StoredInternal(key, value, chosen.choice((None, chosen.randrange(10**13))) if value else None)
    if value is None:
        return StoredRun(key, None)
    state = chosen.choice(STATES)
    return StoredRun(key, value, state, chosen.randrange(10**13), state in UNFINISHED and chosen.random() < 0.7)


def _assert_listed(place: Place, memory: FakeStore) -> None:
    """Each run is in the list of its tenant, in that of its state, in that of the unfinished, and nowhere else."""
    expected: dict[str, dict[str, int]] = {}
    for key, (state, changed_at) in memory.copies[0].unfinished.items():
        expected.setdefault(f"{{0}}:unfinished:{state}", {})[str(key)] = changed_at
    for key, (state, changed_at) in memory.copies[0].index.items():
        for name in (f"{{0}}:runs:{key.tenant}", f"{{0}}:runs:{key.tenant}:{state}"):
            expected.setdefault(name, {})[key.id] = changed_at
    listed = {name: place.members(name) for name in place.names() if name.startswith(("{0}:runs:", "{0}:unfinished:"))}
    assert listed == expected


# What only Redis has


@pytest.mark.parametrize(
    ("index", "call"),
    [
        ("deadlines", lambda store: store.next_due(0, LATER)),
        ("deadlines", lambda store: store.due(0, LATER, 9, 9)),
        ("deadlines", lambda store: apply(store, LATER, Position("g1", 9, 9))),
        ("records", lambda store: store.read(0, LATER, [OPERATION])),
        ("records", lambda store: apply(store, LATER, Position("g1", 9, 9), a_run())),
    ],
)
def test_an_index_that_was_lost_is_missed(place: Place, index: str, call: Callable[[Store], object]) -> None:
    """Also by who only writes: to write on would make a small one of it, which nobody misses any more."""
    begin(place.store)
    apply(place.store, START, LATER, StoredInternal(OPERATION, b"1", 5), StoredInternal(SNAPSHOT, b"1", 6))
    place.client.delete(f"{place.namespace}:{{0}}:{index}")
    for _ in range(2):
        with pytest.raises(StoreDamaged, match=index):
            call(place.store)


@pytest.mark.parametrize("key", [RUN, OPERATION])
def test_a_record_that_was_lost_is_told_from_one_that_never_was_and_from_one_that_was_deleted(
    place: Place, key: Key
) -> None:
    begin(place.store)
    other = Key(key.kind, "t-1", "other")
    writes: dict[Key, Stored] = {RUN: a_run(), OPERATION: StoredInternal(OPERATION, b"{}", due=5)}
    apply(place.store, START, LATER, *writes.values(), a_run(key=Key("run", "t-9", "rr-9")))
    place.client.delete(place.store.record_key(0, key))
    assert place.store.read(0, LATER, [other, Key("run", "t-9", "rr-9")]) == [None, b"{}"]
    with pytest.raises(StoreDamaged, match=f"{key.kind}:{key.tenant}/{key.id} was stored and is not there"):
        place.store.read(0, LATER, [other, key])

    gone = StoredRun(RUN, None) if key == RUN else StoredInternal(OPERATION, None)
    last = Position("g1", 9, 9)
    apply(place.store, LATER, last, gone)
    assert place.store.read(0, last, [key]) == [None]


def test_what_is_still_there_while_it_is_removed_is_of_no_generation_that_comes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers see revisions begin again in a new generation: none of the old documents may be seen in it."""
    begin(place.store)
    apply(place.store, START, LATER, a_run())
    generations = []
    sweep = RedisStore._sweep

    def looked_at(store: RedisStore, *args: Any) -> None:
        generations.append(place.client.hget(store.key(0, "position"), "generation"))
        sweep(store, *args)

    monkeypatch.setattr(RedisStore, "_sweep", looked_at)
    place.store.wipe(0, place.store.status(0), Position("g2", 0, 0), "life-2", applied_at=3)
    assert generations == [b"g2-wiping"]
    assert place.client.hget(place.store.key(0, "position"), "generation") == b"g2"


def test_what_is_there_is_written_down_beside_it(place: Place) -> None:
    begin(place.store)
    apply(place.store, START, LATER, a_run(), StoredInternal(OPERATION, b"{}"), StoredInternal(SNAPSHOT, b"{}"))
    last = Position("g1", 9, 9)
    apply(place.store, LATER, last, StoredInternal(SNAPSHOT, None))
    written = cast(set[bytes], place.client.smembers(place.store.key(0, "records")))
    assert written == {b"run:t-1/rr-1", b"operation:t-1/op-1"}

    place.store.wipe(0, place.store.status(0), Position("g2", 0, 0), "life-2", applied_at=3)
    assert place.client.smembers(place.store.key(0, "records")) == set()


def test_a_run_is_listed_under_its_state_alone(place: Place) -> None:
    begin(place.store)
    apply(place.store, START, LATER, a_run(state="in_progress", changed_at=5), a_run(key=Key("run", "t-1", "rr-2")))
    last = Position("g1", 9, 9)
    apply(place.store, LATER, last, a_run(state="failed", changed_at=8))
    assert place.members("{0}:runs:t-1") == {"rr-1": 8, "rr-2": 7}
    assert place.members("{0}:runs:t-1:failed") == {"rr-1": 8, "rr-2": 7}
    assert place.members("{0}:runs:t-1:in_progress") == {}

    apply(place.store, last, Position("g1", 10, 9), StoredRun(RUN, None))
    assert place.members("{0}:runs:t-1") == place.members("{0}:runs:t-1:failed") == {"rr-2": 7}


def test_a_run_is_among_the_unfinished_of_its_state_while_something_is_awaited_of_it(place: Place) -> None:
    """By tenant and run, as they are those of a whole partition."""
    begin(place.store)
    position = START

    def listed_after(*writes: Stored) -> dict[str, dict[str, int]]:
        nonlocal position
        before, position = position, Position("g1", position.state + 1, 0)
        apply(place.store, before, position, *writes)
        names = sorted(name for name in place.names() if ":unfinished:" in name)
        return {name.removeprefix("{0}:unfinished:"): place.members(name) for name in names}

    other = a_run(state="not_executed", changed_at=3, key=Key("run", "t-2", "rr-1"), unfinished=True)
    assert listed_after(a_run(state="not_executed", changed_at=5, unfinished=True), other) == {
        "not_executed": {"t-1/rr-1": 5, "t-2/rr-1": 3}
    }
    assert listed_after(a_run(state="in_progress", changed_at=6, unfinished=True)) == {
        "in_progress": {"t-1/rr-1": 6},
        "not_executed": {"t-2/rr-1": 3},
    }
    assert listed_after(a_run(state="in_progress", changed_at=8, unfinished=True))["in_progress"] == {"t-1/rr-1": 8}
    assert listed_after(a_run(state="needs_review", changed_at=9)) == {"not_executed": {"t-2/rr-1": 3}}
    assert listed_after(a_run(state="not_executed", changed_at=10)) == {"not_executed": {"t-2/rr-1": 3}}
    assert listed_after(StoredRun(other.key, None)) == {}


def test_only_its_own_partition_and_namespace_are_wiped(place: Place) -> None:
    near = [
        f"{place.namespace}:{{10}}:run:t/r",
        f"{place.namespace}x:{{1}}:run:t/r",
        f"x{place.namespace}:{{1}}:run:t/r",
    ]
    mine = [f"{place.namespace}:{{1}}:run:t/r-{n}" for n in range(2_500)]
    with place.client.pipeline(transaction=False) as step:
        for name in (*near, *mine):
            step.set(name, b"x")
        step.execute()
    begin(place.store, 1)
    assert place.client.exists(*near) == len(near)
    assert place.client.exists(*mine) == 0
    place.client.delete(*near)


def test_a_store_that_goes_back_while_it_is_wiped_is_not_wiped_in_part(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had been swept is there again, and the names that are still to be swept do not have it."""
    begin(place.store)
    apply(place.store, START, LATER, a_run(), StoredInternal(OPERATION, b"", 5))
    monkeypatch.setattr("worker.redis.SWEEP_CHUNK", 1)
    sweep, position = place.store._sweep, f"{place.namespace}:{{0}}:position"

    def sweep_and_go_back(*args: Any) -> None:
        monkeypatch.setattr(place.store, "_sweep", sweep)
        wiped = place.client.hget(position, "wiped")
        assert isinstance(wiped, bytes)
        sweep(*args)
        place.client.set(f"{place.namespace}:{{0}}:run:t-1/rr-back", b"{}")
        place.client.hset(position, "wiped", wiped)

    monkeypatch.setattr(place.store, "_sweep", sweep_and_go_back)
    with pytest.raises(PositionMoved):
        begin(place.store, start=Position("g2", 0, 0))
    status = place.store.status(0)
    assert status is not None
    assert not status.wiped


def test_a_wipe_that_was_cut_short_shows(place: Place) -> None:
    begin(place.store)
    place.client.hset(f"{place.namespace}:{{0}}:position", "wiped", "0")
    status = place.store.status(0)
    assert status is not None
    assert not status.wiped


@pytest.mark.parametrize(("named", "layout"), [(None, None), ("7", 7)])
def test_a_store_tells_its_layout_and_whether_it_names_one(place: Place, named: str | None, layout: int | None) -> None:
    begin(place.store)
    position = f"{place.namespace}:{{0}}:position"
    place.client.hdel(position, "layout")
    if named is not None:
        place.client.hset(position, "layout", named)
    status = place.store.status(0)
    assert status is not None
    assert status.layout == layout
    apply(place.store, START, LATER)
    assert place.store.status(0) == replace(status, position=LATER, restoring=False, applied_at=2)


def test_the_position_says_since_when_its_status_is_what_it_is(place: Place) -> None:
    """Restoring since the first of several full restores in a row, ready since the last of it was written."""

    def told() -> tuple[bytes | None, ...]:
        found = place.client.hmget(f"{place.namespace}:{{0}}:position", "status", "status_since")
        return tuple(cast(list[bytes | None], found))

    def write(before: int, *, restoring: bool, at: int) -> None:
        there, then = Position("g2", before, 0), Position("g2", before + 1, 0)
        place.store.apply(0, there, then, [], restoring=restoring, applied_at=at)

    place.store.wipe(0, None, START, "life-1", applied_at=10)
    assert told() == (b"restoring", b"10")
    place.store.wipe(0, place.store.status(0), Position("g2", 0, 0), "life-1", applied_at=20)
    write(0, restoring=True, at=30)
    assert told() == (b"restoring", b"10")
    write(1, restoring=False, at=40)
    write(2, restoring=False, at=50)
    assert told() == (b"ready", b"40")
    write(3, restoring=True, at=60)
    write(4, restoring=True, at=70)
    assert told() == (b"restoring", b"60")
    write(5, restoring=False, at=80)
    place.store.wipe(0, place.store.status(0), Position("g3", 0, 0), "life-1", applied_at=90)
    assert told() == (b"restoring", b"90")


@pytest.mark.parametrize(("field", "value"), [("state", "x"), ("policy", ""), ("layout", "x")])
def test_a_position_that_cannot_be_read_is_none_and_is_wiped(place: Place, field: str, value: str) -> None:
    begin(place.store)
    place.client.hset(f"{place.namespace}:{{0}}:position", field, value)
    assert place.store.status(0) is None
    begin(place.store, start=Position("g2", 0, 0))
    status = place.store.status(0)
    assert status is not None
    assert status.position.generation == "g2"


def test_scripts_that_redis_has_forgotten_are_sent_again(place: Place) -> None:
    begin(place.store)
    place.client.script_flush()
    apply(place.store, START, LATER, a_run(b"here"))
    assert place.store.read(0, LATER, [RUN]) == [b"here"]


def test_a_large_batch_is_applied_at_once(place: Place) -> None:
    keys = [Key("run", f"t-{n % 200}", f"rr-{n}") for n in range(10_000)]
    begin(place.store)
    apply(place.store, START, LATER, *(a_run(b"x" * 2_500, key=key) for key in keys))
    assert place.store.read(0, LATER, keys) == [b"x" * 2_500] * len(keys)
    begin(place.store, start=Position("g2", 0, 0))
    assert place.names() == {"{0}:position"}


def test_a_redis_that_hangs_or_is_gone_is_said_with_its_address(private_redis: MakesRedis, space: Space) -> None:
    redis = private_redis()
    with Nodes(redis.url, 100) as nodes:
        store = RedisStore(nodes, space.namespace, "redis://somewhere")
        begin(store)
        redis.pause()
        with pytest.raises(RedisUnreachable, match="redis://somewhere"):
            store.read(0, START, [RUN])
        redis.resume()
        redis.kill()
        with pytest.raises(RedisUnreachable, match="redis://somewhere"):
            store.status(0)


# What operators order


def test_who_holds_the_position_loses_it_to_an_order(place: Place) -> None:
    """Nothing else is touched: readers find what was there, and that it is being restored."""
    store = place.store
    begin(store)
    apply(store, START, LATER, StoredRun(RUN, b"{}", "failed", 7))

    assert store.order_restore(0, "nobody-ordered", "ann@host", now=9)

    with pytest.raises(PositionMoved):
        store.read(0, LATER, [RUN])
    status = store.status(0)
    assert status is not None
    assert (status.ordered, status.restoring, status.wiped) == ("ann@host", True, False)
    assert (status.position.state, status.position.internal) == (LATER.state, LATER.internal)
    assert place.client.get(f"{place.namespace}:{{0}}:run:t-1/rr-1") == b"{}"


def test_an_order_that_nobody_has_begun_stands(place: Place) -> None:
    begin(place.store)
    place.store.order_restore(0, "first-ordered", "ann@host", now=9)

    assert place.store.order_restore(0, "second-ordered", "bob@host", now=10)

    status = place.store.status(0)
    assert status is not None
    assert (status.position.generation, status.ordered) == ("first-ordered", "ann@host")


def test_who_begins_what_was_ordered_takes_the_order_away(place: Place) -> None:
    begin(place.store)
    place.store.order_restore(0, "nobody-ordered", "ann@host", now=9)

    begin(place.store, start=Position("g2", 0, 0))

    status = place.store.status(0)
    assert status is not None
    assert (status.position.generation, status.ordered) == ("g2", None)


def test_a_wipe_that_was_decided_before_the_order_is_refused(place: Place) -> None:
    begin(place.store)
    before = place.store.status(0)
    place.store.order_restore(0, "nobody-ordered", "ann@host", now=9)

    with pytest.raises(PositionMoved):
        place.store.wipe(0, before, Position("g2", 0, 0), "life-1", applied_at=10)


@pytest.mark.parametrize("damage", ["nothing", "another type", "no generation"])
def test_without_a_position_there_is_nothing_to_order(place: Place, damage: str) -> None:
    """Whoever takes the partition over restores it in full as it is; what no worker gets past is removed."""
    name = f"{place.namespace}:{{0}}:position"
    if damage == "another type":
        place.client.set(name, "by hand")
    elif damage == "no generation":
        place.client.hset(name, "state", "7")

    assert not place.store.order_restore(0, "nobody-ordered", "ann@host", now=9)

    assert place.store.status(0) is None
