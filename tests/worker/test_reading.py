"""Reading along: what is there of a run, and every committed record of a topic exactly once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient, TopicPartition
from pydantic import SecretStr

from contracts.decision import decode
from contracts.events import Record
from projections.record import DeletedRun, Key, encode_internal
from tests.changes import Changes, a_change, changes_of
from tests.processes import install
from tests.servers.plugin import MakesKafka, Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from worker.errors import KafkaUnreachable, RedisUnreachable, Unfit
from worker.fitness import nodes_of
from worker.ports import Position, StoredInternal, StoredRun
from worker.reading import Follower, Gap, StoreReader, partition_count, tenant_partition
from worker.redis import RedisStore
from worker.settings import KafkaSettings, RedisSettings, Settings

WAIT_S = 30.0
PARTITIONS = 3


# The store


START = Position("generation", 0, 0)
RUN = StoredRun(Key("run", "t-1", "rr-1"), b"{}", "failed", 1)
DELETED = StoredInternal(Key("deleted-run", "t-1", "rr-2"), encode_internal(DeletedRun(3, 9, 1, 2)))


@pytest.fixture
def redis_settings(redis_server: RedisServer, space: Space) -> RedisSettings:
    return RedisSettings(url=SecretStr(redis_server.url), namespace=space.namespace)


@pytest.fixture
def store(redis_settings: RedisSettings) -> Iterator[RedisStore]:
    with nodes_of(redis_settings) as nodes:
        store = RedisStore(nodes, redis_settings.namespace, redis_settings.address)
        store.wipe(2, None, START, "log", applied_at=5)
        yield store


def test_a_run_is_seen_with_its_document(store: RedisStore, redis_settings: RedisSettings) -> None:
    store.apply(2, START, START, [RUN], restoring=False, applied_at=7)

    with StoreReader(redis_settings) as reader:
        seen = reader.see(2, "t-1", "rr-1")

    assert (seen.document, seen.deleted, seen.restoring, seen.applied_at) == (b"{}", None, False, 7)


def test_a_run_that_is_not_there_and_one_that_was_deleted_are_told_apart(
    store: RedisStore, redis_settings: RedisSettings
) -> None:
    store.apply(2, START, START, [DELETED], restoring=False, applied_at=7)

    with StoreReader(redis_settings) as reader:
        deleted, absent = reader.see(2, "t-1", "rr-2"), reader.see(2, "t-1", "rr-3")

    assert (deleted.document, deleted.deleted, deleted.restoring) == (None, DeletedRun(3, 9, 1, 2), False)
    assert (absent.document, absent.deleted, absent.restoring) == (None, None, False)


@pytest.mark.parametrize("partition", [2, 1], ids=["restoring", "never taken over"])
@pytest.mark.usefixtures("store")
def test_a_partition_that_is_not_restored_yet_says_so(redis_settings: RedisSettings, partition: int) -> None:
    with StoreReader(redis_settings) as reader:
        assert reader.see(partition, "t-1", "rr-1").restoring


def test_a_store_that_is_away_is_unreachable() -> None:
    with StoreReader(RedisSettings(url=SecretStr("redis://127.0.0.1:1/0"))) as reader, pytest.raises(RedisUnreachable):
        reader.see(0, "t-1", "rr-1")


# Kafka


@pytest.fixture
def settings(kafka: KafkaServer, redis_server: RedisServer, space: Space) -> Settings:
    return install(kafka, redis_server, space.prefix, PARTITIONS)


@pytest.fixture
def changes(settings: Settings) -> Iterator[Changes]:
    with changes_of(settings) as changes:
        yield changes


def follow(settings: Settings) -> Follower:
    return Follower(settings.kafka, settings.topic_names.decision_changes)


def runs(records: list[Record]) -> list[str]:
    return [decode(record.value or b"")["restore_run_id"] for record in records]


def read(follower: Follower, count: int) -> list[str]:
    """The next runs that changed, at least so many."""
    found: list[str] = []

    def enough() -> bool:
        found.extend(runs(follower.poll(100)))
        return len(found) >= count

    wait_until(enough, WAIT_S, lambda: f"{count} records are read, not {found}")
    return found


def read_to_end(follower: Follower) -> list[str]:
    return runs(read_records(follower))


def read_records(follower: Follower) -> list[Record]:
    """All that was there."""
    found: list[Record] = []

    def ended() -> bool:
        found.extend(follower.poll(100))
        return follower.at_end

    wait_until(ended, WAIT_S, "everything is read")
    return found


def test_a_tenants_partition_follows_from_the_topics(settings: Settings) -> None:
    assert partition_count(settings) == PARTITIONS
    assert {tenant_partition(settings, f"t-{number}") for number in range(30)} == {0, 1, 2}


def test_without_topics_there_is_nothing_to_read(settings: Settings) -> None:
    nowhere = Settings(kafka=settings.kafka)
    with pytest.raises(Unfit, match="does not exist"):
        Follower(nowhere.kafka, "nowhere.decision-changes.v1").from_now()


def test_without_kafka_there_is_nothing_to_read() -> None:
    with pytest.raises(KafkaUnreachable):
        Follower(KafkaSettings(bootstrap_servers="127.0.0.1:1"), "restore.decision-changes.v1")


def test_what_was_there_comes_in_order_of_time_over_all_partitions(settings: Settings, changes: Changes) -> None:
    names = [f"rr-{number}" for number in range(12)]
    for number, name in enumerate(names):
        changes.publish(a_change(name), partition=number % PARTITIONS)

    with follow(settings).from_time(0) as follower:
        assert read_to_end(follower) == names


def test_a_partition_that_holds_more_than_comes_at_once_is_waited_for(settings: Settings, changes: Changes) -> None:
    many = [f"rr-{number}" for number in range(1_000)]
    changes.publish(*map(a_change, many))
    changes.publish(a_change("last"), partition=1)

    with follow(settings).from_time(0) as follower:
        assert read_to_end(follower) == [*many, "last"]


@pytest.mark.usefixtures("real_kafka")
def test_what_was_taken_back_is_not_read(settings: Settings, changes: Changes) -> None:
    changes.publish(a_change("rr-1"))
    changes.take_back(a_change("rr-2"))
    changes.publish(a_change("rr-3"))

    with follow(settings).from_time(0) as follower:
        assert read_to_end(follower) == ["rr-1", "rr-3"]


@pytest.mark.usefixtures("real_kafka")
def test_from_now_on_is_what_is_committed_later(settings: Settings, changes: Changes) -> None:
    changes.publish(a_change("rr-1"))
    changes.publish(a_change("rr-2"))
    with follow(settings).from_now() as follower:
        changes.publish(a_change("rr-3"), partition=2)

        found = read(follower, 1)

    assert found[-1] == "rr-3"
    assert "rr-1" not in found


def test_from_a_time_on_is_what_was_appended_then_or_later(settings: Settings, changes: Changes) -> None:
    for name in ("rr-1", "rr-2", "rr-3"):
        changes.publish(a_change(name))
    with follow(settings).from_time(0) as follower:
        records = read_records(follower)
    times = [record.timestamp for record in records]

    with follow(settings).from_time(times[1]) as follower:
        assert read_to_end(follower) == runs([record for record in records if record.timestamp >= times[1]])
    with follow(settings).from_time(times[2] + 3_600_000) as follower:
        assert read_to_end(follower) == []


def test_from_offsets_on_goes_on_where_another_follower_stopped(settings: Settings, changes: Changes) -> None:
    changes.publish(a_change("rr-1"), partition=0)
    changes.publish(a_change("rr-2"), partition=1)
    with follow(settings).from_time(0) as follower:
        read_to_end(follower)
        stopped = dict(follower.offsets)
    changes.publish(a_change("rr-3"), partition=1)

    with follow(settings).from_offsets(stopped) as follower:
        assert read(follower, 1) == ["rr-3"]


@pytest.mark.usefixtures("real_kafka")
def test_what_was_deleted_before_it_was_read_is_said(settings: Settings, changes: Changes) -> None:
    first, second, third = (changes.publish(a_change(name))[0] for name in ("rr-1", "rr-2", "rr-3"))
    topic = settings.topic_names.decision_changes
    admin = KafkaAdminClient(**settings.kafka.client_options())
    admin.delete_records({TopicPartition(topic, 0): third})
    admin.close()
    gaps: list[Gap] = []

    with Follower(settings.kafka, topic, gaps.append).from_offsets({0: second}) as follower:
        assert read(follower, 1) == ["rr-3"]

    assert first < second
    assert gaps == [Gap(topic, 0, second, third)]


@pytest.mark.outage
def test_kafka_may_be_killed_hang_and_come_back(
    private_kafka: MakesKafka, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.reading.SILENCE_S", 0.5)
    kafka = private_kafka()
    settings = install(kafka, redis_server, f"test-{secrets.token_hex(5)}", PARTITIONS)
    found: list[str] = []
    published: list[str] = []

    def publish(count: int) -> None:
        with changes_of(settings) as changes:
            for _ in range(count):
                name = f"rr-{len(published)}"
                changes.publish(a_change(name), partition=len(published) % PARTITIONS)
                published.append(name)

    def all_read() -> bool:
        found.extend(runs(follower.poll(100)))
        return len(found) >= len(published)

    with follow(settings).from_now() as follower:
        publish(5)
        wait_until(all_read, WAIT_S, "the first five are read")
        kafka.kill()
        wait_until(lambda: follower.poll(100) or follower.away_since, WAIT_S, "it is noticed that Kafka is away")
        kafka.start()
        publish(5)
        wait_until(all_read, WAIT_S, "the next five are read")
        assert follower.away_since is None
        kafka.pause()
        wait_until(lambda: follower.poll(100) or follower.away_since, WAIT_S, "it is noticed that Kafka hangs")
        kafka.resume()
        publish(5)
        kafka.restart()
        publish(5)
        wait_until(all_read, WAIT_S, "the last ten are read")

    assert sorted(found) == sorted(published)
    for number in range(PARTITIONS):
        assert [n for n in found if int(n[3:]) % PARTITIONS == number] == published[number::PARTITIONS]
