"""`KafkaLog` on a real Kafka: what the loop relies on, and each work-around of a bug of kafka-python."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Final

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.coordinator.base import MemberState
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

import worker.kafka
from contracts.events import Record
from projections.inputs import InputDecoder
from tests.consistency.observation import consumer
from tests.installation import PARTITIONS
from tests.processes import install
from tests.servers.plugin import MakesKafka, Space
from tests.servers.ports import RedisServer
from tests.servers.waiting import wait_until
from tests.traffic import Message, Sender, run, sender
from worker.errors import BatchSplit, Fenced, KafkaUnreachable, OffsetOutOfRange, RecordTooLarge
from worker.health import Health
from worker.kafka import KafkaLog
from worker.logs import silent_events
from worker.loop import Worker
from worker.metrics import Metrics
from worker.nodes import Nodes
from worker.ports import Committed, Ends, LogSlice, Membership, Output, Policies, Position
from worker.redis import RedisStore
from worker.reporter import Reporter
from worker.settings import Settings
from worker.topics import create_topics
from worker.wiring import SystemClock

JOIN_WITHIN_S: Final = 15.0
READ_WITHIN_S: Final = 15.0
POLL_MS: Final = 500
"""As the loop polls while the group is not stable."""

MakesLog = Callable[..., KafkaLog]


@pytest.fixture
def make_log(settings: Settings) -> Iterator[MakesLog]:
    """Makes logs of the installation, each of another transactional id unless told; `kafka` overrides its settings."""
    with ExitStack() as stack:
        made = 0

        def make(transactional_id: str | None = None, **kafka: object) -> KafkaLog:
            nonlocal made
            made += 1
            own = settings.kafka.model_copy(update=kafka)
            log = KafkaLog(own, settings.topic_names, transactional_id or f"{settings.kafka.group_id}-{made}")
            stack.callback(log.close)
            return log

        yield make


@pytest.fixture
def send(settings: Settings) -> Iterator[Sender]:
    with sender(settings, PARTITIONS) as sending:
        yield sending


def joined(log: KafkaLog, partitions: int = PARTITIONS) -> Membership:
    """Poll until the log is a stable member with so many partitions."""

    def stable() -> Membership | None:
        log.poll(POLL_MS)
        membership = log.membership()
        return membership if membership is not None and len(membership.partitions) == partitions else None

    membership = wait_until(stable, JOIN_WITHIN_S, lambda: f"{partitions} partitions: {log.membership()}")
    assert membership is not None
    return membership


def take_over(log: KafkaLog, partitions: int = PARTITIONS) -> Membership:
    """Join, and go on from the committed offsets."""
    membership = joined(log, partitions)
    log.new_producer()
    log.resume_at({place: c.offset for place, c in log.committed(membership.partitions).items()})
    return membership


def read(log: KafkaLog, count: int) -> list[Record]:
    """Poll until so many records have come."""
    records: list[Record] = []

    def enough() -> bool:
        records.extend(log.poll(POLL_MS))
        return len(records) >= count

    wait_until(enough, READ_WITHIN_S, lambda: f"{count} records, not {records}")
    return records


def output(topic: str, value: bytes | None = b"{}", key: bytes = b"k", partition: int = 0, **headers: bytes) -> Output:
    return Output(topic, partition, key, value, tuple(headers.items()))


def values(log: KafkaLog, *, start: int = 0) -> list[bytes | None]:
    """What the state topic's partition 0 holds from an offset to its end."""
    high = log.ends([0])[0].high_state
    position = Position("any", start, 0)
    found: list[bytes | None] = []

    def at_the_end() -> bool:
        nonlocal position
        piece = log.read({0: position})[0]
        found.extend(record.value for record in piece.state)
        position = Position("any", piece.next_state, piece.next_internal)
        return position.state >= high

    wait_until(at_the_end, READ_WITHIN_S, lambda: f"the end {high}, not {position}")
    return found


# The group


def test_a_member_has_the_same_partition_numbers_of_all_inputs(make_log: MakesLog) -> None:
    one, other = make_log(), make_log()
    joined(one)
    memberships: list[Membership | None] = [None, None]

    def shared() -> bool:
        for n, log in enumerate((one, other)):
            log.poll(POLL_MS)
            memberships[n] = log.membership()
        return all(m is not None and len(m.partitions) == PARTITIONS // 2 for m in memberships)

    wait_until(shared, JOIN_WITHIN_S, lambda: f"both have a half: {memberships}")
    assert {number for m in memberships if m is not None for number in m.partitions} == set(range(PARTITIONS))


def test_nothing_is_fetched_before_it_is_said_from_where(make_log: MakesLog, send: Sender) -> None:
    log = make_log()
    places = send.events(*(run("t-1", "rr-1", n) for n in range(5)))
    joined(log)
    assert [log.poll(POLL_MS) for _ in range(3)] == [[], [], []]

    topic, number, offset = places[3]
    log.resume_at({(topic, number): offset})

    assert [record.offset for record in read(log, 2)] == [3, 4]
    assert log.next_offset((topic, number)) == 5


def test_what_is_paused_is_not_fetched_and_goes_on_where_it_stood(make_log: MakesLog, send: Sender) -> None:
    log = make_log()
    take_over(log)
    (topic, number, _), *_ = send.events(run("t-1", "rr-1", 1))
    read(log, 1)
    log.pause([(topic, number), ("no-such-topic", 0)])
    send.events(run("t-1", "rr-1", 2))
    assert log.poll(POLL_MS) == []
    log.resume([(topic, number)])
    assert [record.offset for record in read(log, 1)] == [1]


def test_input_in_an_open_or_aborted_transaction_is_not_polled(
    make_log: MakesLog, settings: Settings, send: Sender
) -> None:
    log = make_log()
    take_over(log)
    topic = settings.topic_names.restore_runs
    with transactional_producer(settings, "inputs") as producer:
        producer.begin_transaction()
        producer.send(topic, b"open", partition=0).get(5)
        assert log.poll(POLL_MS) == []
        assert log.next_offset((topic, 0)) == 0
        assert log.input_ends([(topic, 0)]) == {(topic, 0): 1}
        producer.abort_transaction()
    send.messages([Message(topic, b"t", b"kept", [], partition=0)])
    assert [record.value for record in read(log, 1)] == [b"kept"]
    assert log.next_offset((topic, 0)) == 3


# Offsets


def test_without_a_committed_offset_work_begins_at_the_beginning(
    make_log: MakesLog, settings: Settings, send: Sender
) -> None:
    places = send.events(*(run("t-1", "rr-1", n) for n in range(5)))
    topic, number, _ = places[0]
    delete_records(settings, topic, number, 2)
    log = make_log()
    committed = log.committed(joined(log).partitions)
    assert committed[topic, number] == Committed(2, 0, by="nobody")
    assert len(committed) == PARTITIONS * 4


def test_offsets_and_stream_time_are_committed_with_the_outputs(
    make_log: MakesLog, settings: Settings, send: Sender
) -> None:
    topics = settings.topic_names
    log = make_log()
    membership = take_over(log)
    (topic, number, _), *_ = send.events(run("t-1", "rr-1", 1))
    read(log, 1)
    state, changes = topics.decision_state, topics.decision_changes
    outputs = [output(state, b"one"), output(changes, None), output(state, b"two", header=b"1")]

    written = log.publish(outputs, {(topic, number): Committed(1, 1_793_527_200_123)}, membership.token)

    assert written == [0, 0, 1]
    assert values(log) == [b"one", b"two"]
    assert log.committed([number])[topic, number] == Committed(1, 1_793_527_200_123)


@pytest.mark.parametrize(("low", "committed"), [(3, 2), (0, 9)])
def test_a_committed_offset_that_the_log_does_not_hold_is_told(
    make_log: MakesLog, settings: Settings, send: Sender, low: int, committed: int
) -> None:
    topic, number, _ = send.events(*(run("t-1", "rr-1", n) for n in range(5)))[0]
    with consumer(settings) as admin:
        admin.commit({TopicPartition(topic, number): OffsetAndMetadata(committed, "", -1)})
    delete_records(settings, topic, number, low)
    log = make_log()
    joined(log)
    with pytest.raises(OffsetOutOfRange) as told:
        log.committed([number])
    assert (told.value.topic, told.value.partition, told.value.offset) == (topic, number, committed)
    assert (told.value.low, told.value.high) == (low, 5)
    others = set(range(PARTITIONS)) - {number}
    assert len(log.committed(others)) == 4 * len(others)


def test_an_offset_that_is_pending_is_waited_for(make_log: MakesLog, settings: Settings) -> None:
    """A killed worker's open transaction: its next owner must not begin before what may yet be committed."""
    topic = settings.topic_names.restore_runs
    log = make_log()
    membership = joined(log)
    with transactional_producer(settings, "somebody-else") as producer:
        producer.begin_transaction()
        offsets = {TopicPartition(topic, 0): OffsetAndMetadata(0, "77", -1)}
        producer.send_offsets_to_transaction(offsets, membership.token)
        found: list[Committed] = []
        asking = threading.Thread(target=lambda: found.append(log.committed([0])[topic, 0]), daemon=True)
        asking.start()
        asking.join(1)
        assert found == []
        producer.commit_transaction()
        asking.join(5)
    assert found == [Committed(0, 77, Policies(1, 1))]


def test_an_offset_that_stays_pending_is_said_to(
    make_log: MakesLog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.kafka.CALL_TIMEOUT_MS", 3_000)
    topic = settings.topic_names.restore_runs
    log = make_log()
    membership = joined(log)
    with transactional_producer(settings, "somebody-else") as producer:
        producer.begin_transaction()
        producer.send_offsets_to_transaction(
            {TopicPartition(topic, 0): OffsetAndMetadata(0, "77", -1)}, membership.token
        )
        with pytest.raises(KafkaUnreachable) as told:
            log.committed([0])
        producer.abort_transaction()
    assert f"within 3 s it did not tell what is committed of {topic} partition 0" in str(told.value)


# The compacted topics


def test_an_end_lies_behind_open_transactions_and_reading_gets_there(make_log: MakesLog, settings: Settings) -> None:
    topics = settings.topic_names
    log = make_log()
    with transactional_producer(settings, "state") as producer:
        producer.begin_transaction()
        for value in (b"one", b"two"):
            producer.send(topics.decision_state, value, b"k", partition=0)
        producer.flush()
        assert log.ends([0, 1])[0] == Ends(0, 0, 2, 0)
        assert log.read({0: Position("any", 0, 0)})[0] == LogSlice([], [], 0, 0)
        producer.abort_transaction()
        producer.begin_transaction()
        producer.send(topics.decision_state, b"three", b"k", partition=0)
        producer.send(topics.internal, b"four", b"k", partition=0)
        producer.flush()
        producer.commit_transaction()
    wait_until(lambda: log.ends([0])[0] == Ends(0, 0, 5, 2), READ_WITHIN_S, "the markers are there")
    assert values(log) == [b"three"]
    assert values(log, start=4) == []


def test_several_partitions_are_read_at_once_and_from_anywhere(make_log: MakesLog, settings: Settings) -> None:
    topic = settings.topic_names.internal
    log = make_log()
    with transactional_producer(settings, "internal") as producer:
        producer.begin_transaction()
        for number in (0, 1):
            for value in (b"a", b"b", b"c"):
                producer.send(topic, value, b"k", partition=number)
        producer.flush()
        producer.commit_transaction()
    found: dict[int, list[bytes | None]] = {0: [], 1: []}
    positions = {0: Position("any", 0, 2), 1: Position("any", 0, 0)}

    def all_read() -> bool:
        for number, piece in log.read(positions).items():
            found[number] += [record.value for record in piece.internal]
            positions[number] = Position("any", piece.next_state, piece.next_internal)
        return all(position.internal == 4 for position in positions.values())

    wait_until(all_read, READ_WITHIN_S, lambda: f"{positions}")
    assert found == {0: [b"c"], 1: [b"a", b"b", b"c"]}


def test_topics_that_were_made_anew_have_another_id(make_log: MakesLog, settings: Settings) -> None:
    log = make_log()
    before = log.log_id()
    assert log.log_id() == before
    with closing(KafkaAdminClient(**settings.kafka.client_options())) as admin:
        admin.delete_topics([settings.topic_names.internal])
    wait_until(lambda: _made_again(settings), 15, "the topic is deleted and made again")
    wait_until(lambda: log.log_id() != before, 15, "the broker has heard of it")
    assert log.log_id().split("/")[0] == before.split("/")[0]


def _made_again(settings: Settings) -> bool:
    return create_topics(settings, PARTITIONS, 1)[settings.topic_names.internal]


# Who may publish


def test_a_newer_producer_of_the_same_name_ends_the_older_ones_work(make_log: MakesLog, settings: Settings) -> None:
    topics = settings.topic_names
    older, newer = make_log("same"), make_log("same", group_id=f"{settings.kafka.group_id}-2")
    membership = take_over(older)
    newer.new_producer()
    with pytest.raises(KafkaError):
        older.publish([output(topics.decision_state)], {(topics.ops, 0): Committed(0, 5)}, membership.token)
    assert values(newer) == []
    assert older.committed([0])[topics.ops, 0] == Committed(0, 0, by="nobody")


def test_a_join_that_the_client_has_forgotten_is_begun_again(make_log: MakesLog) -> None:
    """As it leaves one that changed metadata had caused: not stable, wanted by nobody, without heartbeats."""
    log = make_log()
    before = joined(log)
    coordinator = log.consumer._coordinator
    coordinator.state = MemberState.REBALANCING
    coordinator._disable_heartbeat()
    assert not coordinator.need_rejoin()
    assert log.membership() is None
    assert joined(log).generation > before.generation


def test_who_has_lost_its_place_in_the_group_publishes_nothing(make_log: MakesLog, settings: Settings) -> None:
    topics = settings.topic_names
    older, newer = make_log(), make_log()
    membership = take_over(older)

    def both_have_joined() -> bool:
        for log in (older, newer):
            log.poll(POLL_MS)
        now = older.membership()
        return now is not None and len(now.partitions) == PARTITIONS // 2

    wait_until(both_have_joined, JOIN_WITHIN_S, "the group is shared")
    assert older.membership() != membership
    with pytest.raises(KafkaError):
        older.publish([output(topics.decision_state)], {(topics.ops, 0): Committed(0, 5)}, membership.token)
    older.new_producer()
    assert values(newer) == []
    assert newer.committed([0])[topics.ops, 0] == Committed(0, 0, by="nobody")


def test_another_of_the_same_instance_takes_its_place(make_log: MakesLog, settings: Settings) -> None:
    topics = settings.topic_names
    older = make_log(instance="same")
    membership = take_over(older)
    newer = make_log(instance="same")
    take_over(newer)
    with pytest.raises(Fenced, match="same"):
        older.publish([output(topics.decision_state)], {(topics.ops, 0): Committed(0, 5)}, membership.token)


def test_a_record_that_kafka_does_not_take_leaves_nothing_of_its_transaction(
    make_log: MakesLog, settings: Settings
) -> None:
    topics = settings.topic_names
    log = make_log()
    membership = take_over(log)
    offsets = {(topics.ops, 0): Committed(0, 5)}
    large = output(topics.decision_changes, random.Random(1).randbytes(2 << 20))
    with pytest.raises(RecordTooLarge, match="decision-changes"):
        log.publish([output(topics.decision_state), large], offsets, membership.token)
    log.new_producer()
    log.publish([output(topics.decision_state, b"after")], offsets, membership.token)
    assert values(log) == [b"after"]


def test_what_a_topic_takes_at_once_is_found_out(make_log: MakesLog, settings: Settings) -> None:
    """kafka-python splits what was too much, and nothing is known of the parts: it is done again in smaller batches."""
    topics = settings.topic_names
    log = make_log()
    membership = take_over(log)
    limit = {"max.message.bytes": "20000"}
    with closing(KafkaAdminClient(**settings.kafka.client_options())) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topics.decision_state, limit)])
    sent = [output(topics.decision_state, random.Random(n).randbytes(3_000)) for n in range(40)]
    offsets: Sequence[int] = ()
    refused = 0
    while not offsets:
        try:
            offsets = log.publish(sent, {(topics.ops, 0): Committed(0, 5)}, membership.token)
        except BatchSplit:
            refused += 1
            log.new_producer()
    assert 1 <= refused <= 4, "120 KB, 60, 30, 15"
    assert values(log) == [each.value for each in sent]
    assert list(offsets) == list(range(offsets[0], offsets[0] + 40))


# Bugs of kafka-python, and the work-arounds


def test_joins_are_not_lost_between_polls(settings: Settings, make_log: MakesLog) -> None:
    """A join that ends outside a poll is thrown away, so the loop polls long until it is in."""
    log = make_log()
    polled: list[int] = []
    poll = log.poll

    def noted(timeout_ms: int) -> list[Record]:
        if log.membership() is None:
            polled.append(timeout_ms)
        return poll(timeout_ms)

    log.poll = noted  # type: ignore[method-assign]
    with Nodes(settings.redis.url.get_secret_value(), 2_000) as nodes:
        worker = a_worker(settings, log, nodes)

        def has_joined() -> bool:
            worker.turn()
            return bool(worker.partitions)

        wait_until(has_joined, JOIN_WITHIN_S, "the worker has joined")
    assert polled
    assert min(polled) >= 200


def test_a_paused_input_is_returned_whole(make_log: MakesLog, send: Sender) -> None:
    """A fetch that a poll returns only in part is never returned again once its partition is paused."""
    log = make_log()
    take_over(log)
    many = [run("t-1", "rr-1", n, counts=None) for n in range(2_000)]
    (topic, number, _), *_ = send.events(*many)
    offsets: list[int] = []

    def all_came() -> bool:
        offsets.extend(record.offset for record in log.poll(POLL_MS))
        log.pause([(topic, number)])
        assert log.poll(0) == []
        log.resume([(topic, number)])
        return len(offsets) >= len(many)

    wait_until(all_came, READ_WITHIN_S, lambda: f"{len(many)} records, not {len(offsets)}")
    assert offsets == list(range(len(many)))


def test_a_transaction_that_the_broker_ended_is_no_commit(
    make_log: MakesLog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commit would return as if all were well; that the offsets come before it, and after all is written, shows it."""
    topics = settings.topic_names
    log = make_log(transaction_timeout_ms=1_000)
    membership = take_over(log)
    write = worker.kafka._write

    def late(*arguments: Any) -> list[int]:
        written = write(*arguments)
        wait_until(lambda: log.ends([0])[0].high_state == 2, 20, "the broker ends the transaction with a marker")
        return written

    with monkeypatch.context() as patched:
        patched.setattr(worker.kafka, "_write", late)
        with pytest.raises(KafkaError):
            log.publish([output(topics.decision_state)], {(topics.ops, 0): Committed(0, 5)}, membership.token)
    assert values(log) == []
    assert log.committed([0])[topics.ops, 0] == Committed(0, 0, by="nobody")


@pytest.mark.usefixtures("real_kafka")  # else there is none of its kind
@pytest.mark.slow
def test_a_call_that_kafka_python_lost_ends(
    private_kafka: MakesKafka, redis_server: RedisServer, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the coordinator refuses the connection just then, the request is dropped and the call would wait for ever."""
    monkeypatch.setattr(worker.kafka, "CALL_TIMEOUT_MS", 2_000)
    kafka = private_kafka()
    settings = install(kafka, redis_server, space.prefix, PARTITIONS)
    topics = settings.topic_names
    with closing(KafkaLog(settings.kafka, topics, "lost")) as log:
        membership = take_over(log)
        producer = log._producer
        assert producer is not None
        call = producer.send_offsets_to_transaction

        def refused(*arguments: object) -> None:
            kafka.kill()
            call(*arguments)

        monkeypatch.setattr(producer, "send_offsets_to_transaction", refused)
        with _ends_within(10), pytest.raises(KafkaUnreachable):
            log.publish([output(topics.decision_state)], {(topics.ops, 0): Committed(0, 5)}, membership.token)
        with _ends_within(10), pytest.raises(KafkaError):
            producer.commit_transaction()


@contextmanager
def _ends_within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_ends_are_told_at_once_while_a_fetch_waits_for_records(
    make_log: MakesLog, send: Sender, settings: Settings
) -> None:
    """On one connection the answer would wait behind the fetch, and every batch with it."""
    log = make_log(fetch_max_wait_ms=5_000)
    take_over(log)
    send.events(run("t-1", "rr-1", 1))
    read(log, 1)
    log.poll(0)  # the next fetch is on its way

    began = time.monotonic()
    ends = log.input_ends([(settings.topic_names.restore_runs, send.partition("t-1"))])

    assert list(ends.values()) == [1]
    assert time.monotonic() - began < 2


def a_worker(settings: Settings, log: KafkaLog, nodes: Nodes) -> Worker:
    topics, events = settings.topic_names, silent_events()
    store = RedisStore(nodes, settings.redis.namespace, settings.redis.address)
    inputs = InputDecoder(topics, PARTITIONS, settings.kafka.partitioner)
    clock = SystemClock()
    return Worker(log, store, clock, inputs, topics, Reporter(topics, Metrics(), Health(), events, clock))


@contextmanager
def transactional_producer(settings: Settings, name: str) -> Iterator[KafkaProducer]:
    """Somebody else's."""
    options = settings.kafka.client_options()
    producer = KafkaProducer(transactional_id=f"{settings.kafka.group_id}-{name}", retry_backoff_ms=20, **options)
    with closing(producer):
        producer.init_transactions()
        yield producer


def delete_records(settings: Settings, topic: str, number: int, before: int) -> None:
    """Remove the records of a partition up to an offset, as retention would."""
    if before:
        with closing(KafkaAdminClient(**settings.kafka.client_options())) as admin:
            admin.delete_records({TopicPartition(topic, number): before})
