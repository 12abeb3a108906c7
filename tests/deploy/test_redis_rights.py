"""The users of Redis: each works with its rights, has no others, and the worker has none that it does not use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pytest
from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from projections.record import Key
from tests.deploy.guarded import REDIS_USERS, GuardedRedis, GuardedRedisCluster
from worker.errors import Refused
from worker.fitness import check_redis, nodes_of
from worker.operators.sights import StoreSight
from worker.ports import Position, Stored, StoredInternal, StoredRun
from worker.reading import StoreReader
from worker.redis import RedisStore
from worker.settings import OverdueSettings
from worker.status.store import StoreFacts, StoreView

RUN, OPERATION = Key("run", "t-1", "rr-1"), Key("operation", "t-1", "op-1")
EMPTY, FULL = Position("g1", 0, 0), Position("g1", 1, 1)


@pytest.fixture
def admin(guarded_redis: GuardedRedis) -> Iterator[Redis]:
    with guarded_redis.client("admin") as client:
        client.flushall()
        client.script_flush()
        client.set("other:{0}:run:t-1/rr-1", "somebody else's")
        client.set("restore", "no key of the worker")
        client.acl_log_reset()
        yield client


@pytest.fixture
def store(guarded_redis: GuardedRedis) -> Iterator[RedisStore]:
    """The worker's."""
    with guarded_redis.nodes("worker") as nodes:
        yield RedisStore(nodes, "restore", "redis")


def refused(admin: Redis) -> list[Any]:
    """What Redis has refused, and to whom.

    Clients introduce themselves with a command that Redis 7.0 does not know, so that it cannot be allowed in a file for
    all versions, and do without it.
    """
    log: list[Any] = admin.acl_log()
    return [entry for entry in log if entry["object"] != "client|setinfo"]


def work(store: RedisStore) -> None:
    """All that a worker does with its store: take over, restore, read, publish, delete, begin anew."""
    store.wipe(0, store.status(0), EMPTY, "life", applied_at=1)
    running = StoredRun(Key("run", "t-1", "rr-2"), b"{}", "in_progress", 8, unfinished=True)
    there: list[Stored] = [StoredRun(RUN, b"{}", "failed", 7), running, StoredInternal(OPERATION, b"{}", due=5)]
    gone: list[Stored] = [StoredRun(RUN, None, None, None), StoredInternal(OPERATION, None)]
    store.apply(0, EMPTY, FULL, there, restoring=True, applied_at=2, policy=1)
    assert store.read(0, FULL, [RUN, OPERATION, Key("run", "t-1", "rr-9")]) == [b"{}", b"{}", None]
    assert store.due(0, FULL, 10, 1) == [(5, OPERATION)]
    assert store.next_due(0, FULL) == 5
    store.apply(0, FULL, Position("g1", 2, 2), gone, restoring=False, applied_at=3)
    store.apply(0, Position("g1", 2, 2), FULL, there, restoring=False, applied_at=4)
    store.wipe(0, store.status(0), Position("g2", 0, 0), "life", applied_at=5)
    store.apply(0, Position("g2", 0, 0), Position("g2", 1, 1), there, restoring=False, applied_at=6)


def look(redis: GuardedRedis, user: str) -> StoreFacts:
    """What a worker does for its metrics, and `status` for a person."""
    with closing(StoreView(redis.settings(user), OverdueSettings())) as view:
        return view.look("life", {0: (1, 1)}, now=10**12)


def test_the_worker_can_do_its_work_and_is_refused_nothing(
    guarded_redis: GuardedRedis, admin: Redis, store: RedisStore
) -> None:
    work(store)

    assert check_redis(guarded_redis.settings("worker")) == []
    assert look(guarded_redis, "worker").error is None
    assert refused(admin) == []


def test_the_worker_has_no_right_that_it_does_not_use(
    guarded_redis: GuardedRedis, admin: Redis, store: RedisStore
) -> None:
    """`ping` is for looking whether it is there, `select` for a database other than 0, `cluster|slots` for a
    cluster.
    """
    admin.config_resetstat()

    work(store)
    check_redis(guarded_redis.settings("worker"))
    look(guarded_redis, "worker")

    statistics: Any = admin.info("commandstats")
    user: Any = admin.acl_getuser("restore-worker")
    used = {name.removeprefix("cmdstat_") for name in statistics}
    granted = {right.removeprefix("+") for right in user["commands"]}
    assert granted - used == {"ping", "select", "cluster|slots"}


def test_in_a_cluster_each_may_ask_who_has_which_slots_and_is_refused_nothing(
    guarded_cluster: GuardedRedisCluster,
) -> None:
    worker, reader = guarded_cluster.settings("worker"), guarded_cluster.settings("reader")
    with nodes_of(worker) as nodes:
        work(RedisStore(nodes, "restore", "redis"))
    assert check_redis(worker) == []
    with closing(StoreView(worker, OverdueSettings())) as view:
        assert view.look("life", {0: (1, 1)}, now=10**12).error is None
    with StoreReader(reader) as store:
        assert store.see(0, "t-1", "rr-1").document == b"{}"
    theirs = cast(Redis, RedisCluster.from_url(reader.url.get_secret_value()))  # as a UI may well have it
    with closing(theirs), theirs.pipeline(transaction=True) as step:
        step.hmget("restore:{0}:position", "status")
        step.get("restore:{0}:run:t-1/rr-1")
        assert step.execute() == [[b"ready"], b"{}"]

    with guarded_cluster.admins() as admins:
        assert [entry for admin in admins for entry in refused(admin)] == []
        statistics: list[Any] = [admin.info("commandstats") for admin in admins]
    assert any("cmdstat_cluster|slots" in told for told in statistics)


def test_the_reader_sees_what_the_worker_wrote(guarded_redis: GuardedRedis, admin: Redis, store: RedisStore) -> None:
    work(store)

    with StoreReader(guarded_redis.settings("reader")) as reader:
        seen = reader.see(0, "t-1", "rr-1")

    assert seen.document == b"{}"
    with guarded_redis.client("reader") as client:
        assert client.zrange("restore:{0}:runs:t-1:failed", 0, -1) == [b"rr-1"]
        assert client.zcard("restore:{0}:runs:t-1") == 2
        assert client.zcount("restore:{0}:unfinished:in_progress", "-inf", "(10") == 1
        assert client.hgetall("restore:{0}:position")[b"generation"] == b"g2"
    assert refused(admin) == []


def test_an_operator_can_verify_and_is_refused_nothing(
    guarded_redis: GuardedRedis, admin: Redis, store: RedisStore
) -> None:
    work(store)

    with guarded_redis.nodes("operator") as nodes:
        sight = StoreSight(nodes, "restore")
        at, sights = sight.look(0, [RUN, OPERATION])
        assert (at.generation, [seen.value for seen in sights]) == ("g2", [b"{}", b"{}"])
        names = {name for node in sight.nodes() for name in sight.scan(node, 0)[1][0]}
        assert b"run:t-1/rr-1" in names
        assert sight.unlisted(0, [b"run:t-1/rr-1", b"run:t-1/rr-9"]) == [b"run:t-1/rr-9"]
        assert sight.members(0, {b"records": 0, b"deadlines": 0})[b"deadlines"] == (0, [b"operation/t-1/op-1"])
    assert refused(admin) == []


def test_who_works_with_the_store_can_order_that_it_be_restored(admin: Redis, store: RedisStore) -> None:
    work(store)

    assert store.order_restore(0, "nobody-ordered", "ann@host", now=7)
    assert refused(admin) == []


def test_an_operator_without_the_right_to_write_cannot_order_a_restore(
    guarded_redis: GuardedRedis, admin: Redis, store: RedisStore
) -> None:
    work(store)

    with guarded_redis.nodes("operator") as nodes, pytest.raises(Refused, match="evalsha"):
        RedisStore(nodes, "restore", "redis").order_restore(0, "nobody-ordered", "ann@host", now=7)
    assert admin.hget("restore:{0}:position", "generation") == b"g2"


def test_who_may_not_ask_how_full_redis_is_is_told_the_rest(
    guarded_redis: GuardedRedis, admin: Redis, store: RedisStore
) -> None:
    work(store)

    facts = look(guarded_redis, "reader")

    assert (facts.error, facts.full) == (None, None)
    assert facts.copies[0].generation == "g2"
    assert facts.overdue == {"not_executed": 0, "in_progress": 1, "completed_proof_incomplete": 0}
    assert [entry["object"] for entry in refused(admin)] == ["info"]


FORBIDDEN: list[tuple[str, str]] = [
    ("worker", "FLUSHALL"),
    ("worker", "FLUSHDB"),
    ("worker", "KEYS *"),
    ("worker", "CONFIG GET maxmemory-policy"),
    ("worker", "CONFIG SET maxmemory-policy allkeys-lru"),
    ("worker", "ACL LIST"),
    ("worker", "ACL SETUSER restore-worker +@all"),
    ("worker", "CLIENT LIST"),
    ("worker", "SHUTDOWN NOSAVE"),
    ("worker", "REPLICAOF NO ONE"),
    ("worker", "SCRIPT FLUSH"),
    ("worker", "EVAL return(1) 0"),
    ("worker", "FUNCTION LIST"),
    ("worker", "MONITOR"),
    ("worker", "PUBLISH channel message"),
    ("worker", "SUBSCRIBE channel"),
    ("worker", "RENAME restore:{0}:position restore:{1}:position"),
    ("worker", "GET other:{0}:run:t-1/rr-1"),
    ("worker", "SET other:{0}:run:t-1/rr-1 mine"),
    ("worker", "DEL other:{0}:run:t-1/rr-1"),
    ("worker", "GET restore"),
    ("worker", "SET restored:{0}:position mine"),
    ("reader", "SET restore:{0}:run:t-1/rr-1 {}"),
    ("reader", "DEL restore:{0}:run:t-1/rr-1"),
    ("reader", "EXPIRE restore:{0}:run:t-1/rr-1 1"),
    ("reader", "HSET restore:{0}:position status ready"),
    ("reader", "ZADD restore:{0}:runs:t-1 1 rr-1"),
    ("reader", "EVAL return(1) 0"),
    ("reader", "SCRIPT LOAD return(1)"),
    ("reader", "GET restore:{0}:operation:t-1/op-1"),
    ("reader", "ZRANGE restore:{0}:deadlines 0 -1"),
    ("reader", "GET other:{0}:run:t-1/rr-1"),
    ("reader", "SCAN 0"),
    ("reader", "KEYS *"),
    ("reader", "INFO"),
    ("reader", "FLUSHALL"),
    ("reader", "CONFIG GET *"),
    ("reader", "ACL WHOAMI"),
    ("operator", "SET restore:{0}:run:t-1/rr-1 {}"),
    ("operator", "DEL restore:{0}:run:t-1/rr-1"),
    ("operator", "HSET restore:{0}:records status ready"),
    ("operator", "ZADD restore:{0}:runs:t-1 1 rr-1"),
    ("operator", "GET other:{0}:run:t-1/rr-1"),
    ("operator", "EVAL return(1) 0"),
    ("operator", "HSET restore:{0}:position generation mine"),
    ("operator", "KEYS *"),
    ("operator", "FLUSHALL"),
    ("operator", "CONFIG GET *"),
]


@pytest.mark.parametrize(("user", "command"), FORBIDDEN)
def test_what_a_user_does_not_need_is_refused(guarded_redis: GuardedRedis, user: str, command: str) -> None:
    with guarded_redis.client(user) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command.split())


def test_a_script_cannot_do_more_than_the_user_who_runs_it(guarded_redis: GuardedRedis, admin: Redis) -> None:
    """Not even when it does not declare the key that it touches."""
    theft = "return redis.call('GET', 'other:{0}:run:t-1/rr-1')"
    flush = "return redis.call('FLUSHALL')"
    with guarded_redis.client("worker") as client:
        for script in (theft, flush):
            digest: Any = client.script_load(script)
            with pytest.raises(ResponseError, match=r"permission|can't (access|run)"):
                client.evalsha(digest, 0)
    assert admin.get("other:{0}:run:t-1/rr-1") == b"somebody else's"


@pytest.mark.parametrize("login", ["", "default:@", "restore-worker:wrong@", "restore-worker:of-reader@"])
def test_without_a_password_nobody_gets_in(guarded_redis: GuardedRedis, login: str) -> None:
    url = guarded_redis.nobodys_url.replace("://", f"://{login}")
    with Redis.from_url(url, retry=None) as client, pytest.raises(AuthenticationError):
        client.get("restore:{0}:run:t-1/rr-1")


def test_redis_refuses_the_file_while_a_password_is_missing(guarded_redis: GuardedRedis) -> None:
    """A file whose placeholders were forgotten opens nothing: the users are as before."""
    with pytest.raises(ResponseError, match="password hash must be exactly 64 characters"):
        guarded_redis.load_users(REDIS_USERS.template)

    with guarded_redis.client("worker") as client:
        assert client.ping()
