"""Who has a partition's keys: one Redis, or in a cluster the master of their slot, also when that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest
from pydantic import SecretStr

from projections.record import Key
from tests.servers.clients import redis_client
from tests.servers.local_cluster import LocalRedisCluster
from tests.servers.local_redis import LocalRedis
from tests.servers.plugin import MakesRedisCluster, Space
from tests.servers.ports import RedisServer
from worker.errors import RedisUnreachable
from worker.fitness import check_redis
from worker.nodes import Nodes, slot_of
from worker.ports import Position, StoredInternal, StoredRun
from worker.reading import StoreReader
from worker.redis import RedisStore
from worker.settings import OverdueSettings, RedisSettings
from worker.status.store import StoreView

PARTITIONS = range(12)
START, LATER = Position("g1", 0, 0), Position("g1", 1, 1)
RUN, OPERATION = Key("run", "t-1", "rr-1"), Key("operation", "t-1", "op-1")
SOME = (StoredRun(RUN, b"{}", "failed", 7), StoredInternal(OPERATION, b"[]", 5))


@contextmanager
def a_store(url: str, namespace: str = "restore", timeout_ms: int = 500) -> Iterator[RedisStore]:
    with Nodes(url, timeout_ms) as nodes:
        yield RedisStore(nodes, namespace, "redis://cluster")


def fill(store: RedisStore, partition: int) -> None:
    store.wipe(partition, store.status(partition), START, "life-1", applied_at=1)
    store.apply(partition, START, LATER, SOME, restoring=False, applied_at=2)


def is_filled(store: RedisStore, partition: int) -> bool:
    return store.read(partition, LATER, [RUN, OPERATION]) == [b"{}", b"[]"]


def port(nodes: Nodes, partition: int) -> int:
    return int(nodes.of(partition).connection_pool.connection_kwargs["port"])


def test_a_redis_that_is_no_cluster_has_every_partition(redis_server: RedisServer) -> None:
    with Nodes(redis_server.url, 2_000) as nodes:
        assert {nodes.of(partition) for partition in PARTITIONS} == {nodes.entry}
        assert dict(nodes.masters()) == {"": nodes.entry}


def test_each_partition_is_asked_of_the_master_that_has_its_slot(redis_cluster: LocalRedisCluster) -> None:
    with Nodes(redis_cluster.url, 2_000) as nodes:
        for partition in PARTITIONS:
            assert redis_cluster.ask(redis_cluster.nodes[0], "CLUSTER", "KEYSLOT", f"a:{{{partition}}}:b") == slot_of(
                partition
            )
            assert port(nodes, partition) == redis_cluster.master_of(slot_of(partition)).port
        assert {port(nodes, partition) for partition in PARTITIONS} == {node.port for node in redis_cluster.nodes}
        assert set(nodes.masters()) == {f"127.0.0.1:{node.port}" for node in redis_cluster.nodes}


def test_one_question_goes_to_each_master_however_many_partitions_it_has(redis_cluster: LocalRedisCluster) -> None:
    with Nodes(redis_cluster.url, 2_000) as nodes:
        groups = nodes.grouped(PARTITIONS)
        assert sorted(number for _, numbers in groups for number in numbers) == list(PARTITIONS)
        assert len(groups) == len(redis_cluster.nodes)


def test_while_the_node_of_the_url_is_away_the_others_say_who_has_what(
    private_redis_cluster: MakesRedisCluster, space: Space
) -> None:
    """A master without a replica stops its own partitions, and their readers; and they go on when it is back."""
    cluster = private_redis_cluster(appendonly=True, cluster_require_full_coverage="no")
    lost = cluster.nodes[0]
    mine = [number for number in PARTITIONS if cluster.master_of(slot_of(number)) is lost]
    others = [number for number in PARTITIONS if number not in mine]
    settings = RedisSettings(url=SecretStr(cluster.url), namespace=space.namespace, timeout_ms=500)
    with a_store(cluster.url, space.namespace) as store, StoreReader(settings) as reader:
        for number in PARTITIONS:
            fill(store, number)
            assert reader.see(number, "t-1", "rr-1").document == b"{}"

        lost.kill()
        with pytest.raises(RedisUnreachable, match="redis://cluster"):
            store.read(mine[0], LATER, [RUN])
        with pytest.raises(RedisUnreachable):
            reader.see(mine[0], "t-1", "rr-1")
        assert all(is_filled(store, number) for number in others)
        assert reader.see(others[0], "t-1", "rr-1").document == b"{}"

        lost.start()
        cluster.wait_until_whole()
        assert all(is_filled(store, number) for number in PARTITIONS)
        assert reader.see(mine[0], "t-1", "rr-1").document == b"{}"


def succeeds(call: Callable[..., object], *arguments: object) -> bool:
    """Whether it does; all that may go wrong is that Redis is away."""
    try:
        call(*arguments)
    except RedisUnreachable:
        return False
    return True


# A slot that is moved


CALLS: dict[str, Callable[[RedisStore], object]] = {
    "status": lambda store: store.status(0),
    "read": lambda store: store.read(0, LATER, [RUN, OPERATION, Key("run", "t-1", "rr-2")]),
    "due": lambda store: store.due(0, LATER, 10, 10),
    "apply": lambda store: store.apply(
        0,
        LATER,
        Position("g1", 2, 2),
        [StoredInternal(Key("snapshot", "t-1", "es-1"), b"")],
        restoring=False,
        applied_at=3,
    ),
    "wipe": lambda store: store.wipe(0, store.status(0), Position("g2", 0, 0), "life-1", applied_at=3),
}
FIRST = {"position": ["position", "run:t-1/rr-1"], "others": ["deadlines", "run:t-1/rr-1"]}
"""What arrives first."""
STAY: dict[str, set[str]] = {"position": set(), "others": {"status"}}
"""What can be done while some keys are on their way: what needs none of them."""


@pytest.mark.parametrize("first", FIRST)
def test_while_a_slot_is_moved_nothing_is_done_by_halves(
    redis_cluster: LocalRedisCluster, space: Space, first: str
) -> None:
    """What is on its way is neither missed by a reader nor left behind by a wipe: calls fail until it has arrived."""
    with a_store(redis_cluster.url, space.namespace) as store, a_store(redis_cluster.url, space.namespace) as other:
        fill(store, 0)
        assert is_filled(other, 0)
        position = store.key(0, "position")
        with redis_cluster.moving(slot_of(0)) as move:
            move.some([store.key(0, name) for name in FIRST[first]])
            assert {name for name, call in CALLS.items() if succeeds(call, store)} == STAY[first]
            move.rest()
            assert not succeeds(is_filled, other, 0), "who has heard nothing asks where the slot was"
            assert is_filled(other, 0), "and learns"
            again = Position("g3", 0, 0)
            store.wipe(0, store.status(0), again, "life-1", applied_at=4)
            with redis_client(redis_cluster.url) as client:
                assert list(client.scan_iter(match=f"{space.namespace}:*")) == [position.encode()]
            assert store.read(0, again, [RUN]) == [None]


# What is looked at


@contextmanager
def configured(cluster: LocalRedisCluster, node: LocalRedis, setting: str, value: str, default: str) -> Iterator[None]:
    cluster.ask(node, "CONFIG", "SET", setting, value)
    yield
    cluster.ask(node, "CONFIG", "SET", setting, default)


def test_every_master_is_checked(redis_cluster: LocalRedisCluster) -> None:
    settings = RedisSettings(url=SecretStr(redis_cluster.url))
    other = redis_cluster.nodes[2]
    assert check_redis(settings) == []
    with configured(redis_cluster, other, "maxmemory-policy", "allkeys-lru", "noeviction"):
        (found,) = check_redis(settings)
    assert (found.severity, found.setting, found.got) == ("error", "maxmemory-policy", "allkeys-lru")
    assert found.subject == f"Redis 127.0.0.1:{other.port}"


@pytest.mark.parametrize("servers", ["redis_server", "redis_cluster"])
def test_a_database_that_is_not_there_stops_the_start(request: pytest.FixtureRequest, servers: str) -> None:
    url: str = request.getfixturevalue(servers).url
    (found,) = check_redis(RedisSettings(url=SecretStr(url.removesuffix("/0") + "/99")))
    assert (found.severity, found.setting, found.expected) == ("error", "database", "one that is there")


def test_one_full_master_is_a_full_store(redis_cluster: LocalRedisCluster) -> None:
    settings = RedisSettings(url=SecretStr(redis_cluster.url))
    ends = dict.fromkeys(PARTITIONS, (1, 1))
    with closing(StoreView(settings, OverdueSettings())) as view:
        before = view.look("life-1", ends, 0)
        with configured(redis_cluster, redis_cluster.nodes[1], "maxmemory", "1", "0"):
            full = view.look("life-1", ends, 0)
    assert (before.error, before.full) == (None, None)
    assert full.full is not None
