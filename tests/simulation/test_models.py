"""What the simulation stands on is true: one suite for the model of Kafka and for Kafka.

The store's model is in the suite of stores (tests/worker/test_store.py), beside the fake of the loop's tests and Redis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final, Literal, Protocol

import pytest
from kafka import KafkaProducer

from contracts.events import Record
from contracts.topics import Topics
from tests.installation import PARTITIONS
from tests.servers.waiting import wait_until
from tests.simulation.broker import Broker, Transaction
from tests.simulation.clock import Time
from tests.simulation.log import NOBODY, SimulatedLog
from tests.simulation.surroundings import Undisturbed
from worker.errors import Fenced
from worker.kafka import KafkaLog
from worker.ports import Committed, Log, Membership, Output, Position, TopicPartition
from worker.settings import Settings

WITHIN_S: Final = 15.0
POLL_MS: Final = 500


class Bench(Protocol):
    """A Kafka, real or not, and what a test does to it besides what a worker does."""

    topics: Topics

    def log(self, name: str = "w", instance: str | None = None) -> Log:
        """A process's log; `name` makes its transactional id."""

    def anonymous(self, token: Any) -> Any:
        """The group metadata of a consumer that knows itself evicted."""

    def leave_open(self, log: Log, outputs: Sequence[Output]) -> None:
        """The log's process writes in a transaction, and dies before it ends it."""

    def send(self, topic: str, value: bytes, *, open: bool = False) -> None:
        """A record of partition 0 of an input; `open`: in a transaction that stays open."""

    def end(self, decision: Literal["commit", "abort"]) -> None:
        """End the transaction that `send` has opened."""


class _Alive(Undisturbed):
    """Time passes while a call waits: all processes are alive, and the broker looks after its group."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker.time)
        self._broker = broker

    def wait(self, ms: int) -> None:
        self.time.now += ms
        for member in self._broker.group.members.values():
            member.heard_at = self.time.now
        self._broker.look()

    idle = wait


class ModelBench:
    def __init__(self) -> None:
        self.topics = Topics()
        self._broker = Broker(self.topics, PARTITIONS, Time())
        self._around = _Alive(self._broker)
        self._open = Transaction("source", 0, 0)

    def log(self, name: str = "w", instance: str | None = None) -> SimulatedLog:
        return SimulatedLog(self._broker, self._around, instance, name)

    def anonymous(self, token: Any) -> Any:
        return NOBODY

    def leave_open(self, log: Log, outputs: Sequence[Output]) -> None:
        assert isinstance(log, SimulatedLog)
        log.begin()
        log.send(outputs)

    def send(self, topic: str, value: bytes, *, open: bool = False) -> None:
        record = Record(topic, 0, -1, self._around.time.now, b"k", value)
        self._broker.append(record, self._open if open else None)

    def end(self, decision: Literal["commit", "abort"]) -> None:
        self._open.decided = decision
        for log in self._broker.logs.values():
            if self._open in log.open:
                log.mark(self._open)


class KafkaBench:
    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self.topics = settings.topic_names
        self._settings = settings
        self._stack = stack
        self._producers: dict[str | None, KafkaProducer] = {}

    def log(self, name: str = "w", instance: str | None = None) -> KafkaLog:
        kafka = self._settings.kafka.model_copy(update={"instance": instance})
        log = KafkaLog(kafka, self.topics, f"{kafka.group_id}-{name}")
        self._stack.callback(log.close)
        return log

    def anonymous(self, token: Any) -> Any:
        return type(token)(group_id=token.group_id)

    def leave_open(self, log: Log, outputs: Sequence[Output]) -> None:
        assert isinstance(log, KafkaLog)
        producer = log._producer
        assert producer is not None
        producer.begin_transaction()
        for output in outputs:
            producer.send_any(output)
        producer.flush()

    def _producer(self, name: str | None) -> KafkaProducer:
        if name not in self._producers:
            producer = KafkaProducer(transactional_id=name, **self._settings.kafka.client_options())
            self._stack.callback(producer.close, 5)
            if name is not None:
                producer.init_transactions()
            self._producers[name] = producer
        return self._producers[name]

    def send(self, topic: str, value: bytes, *, open: bool = False) -> None:
        producer = self._producer(f"{self._settings.kafka.group_id}-source" if open else None)
        if open:
            producer.begin_transaction()
        producer.send(topic, value, b"k", partition=0).get(5)

    def end(self, decision: Literal["commit", "abort"]) -> None:
        producer = self._producer(f"{self._settings.kafka.group_id}-source")
        producer.commit_transaction() if decision == "commit" else producer.abort_transaction()


@pytest.fixture(params=["model", "Kafka"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "model":
        yield ModelBench()
        return
    with ExitStack() as stack:
        yield KafkaBench(request.getfixturevalue("settings"), stack)


def joined(*logs: Log) -> list[Membership]:
    """Poll all of them until they share the partitions; returns their places in the group."""
    found: list[Membership] = []

    def shared() -> bool:
        for log in logs:
            log.poll(POLL_MS)
        places = [log.membership() for log in logs]
        found[:] = [place for place in places if place is not None and place.partitions]
        return len(found) == len(logs) and sum(len(place.partitions) for place in found) == PARTITIONS

    wait_until(shared, WITHIN_S, lambda: f"all are in the group: {found}")
    return found


def taken_over(log: Log) -> Membership:
    """Join alone, and go on from what is committed."""
    (membership,) = joined(log)
    log.new_producer()
    log.resume_at({place: c.offset for place, c in log.committed(membership.partitions).items()})
    return membership


def read_to(log: Log, state: int) -> list[bytes | None]:
    """What partition 0 of the state topic holds from its beginning up to an offset."""
    found: list[bytes | None] = []
    at = Position("any", 0, 0)

    def is_there() -> bool:
        nonlocal at
        piece = log.read({0: at})[0]
        found.extend(record.value for record in piece.state)
        at = Position("any", piece.next_state, piece.next_internal)
        return at.state >= state

    wait_until(is_there, WITHIN_S, lambda: f"offset {state}, not {at}")
    assert at.state == state
    return found


def polled(log: Log, count: int) -> list[bytes | None]:
    found: list[bytes | None] = []

    def enough() -> bool:
        found.extend(record.value for record in log.poll(POLL_MS))
        return len(found) >= count

    wait_until(enough, WITHIN_S, lambda: f"{count} records, not {found}")
    return found


def state(bench: Bench, value: bytes) -> Output:
    return Output(bench.topics.decision_state, 0, b"k", value)


def ops(bench: Bench) -> TopicPartition:
    return bench.topics.ops, 0


# Transactions


def test_a_marker_takes_an_offset_and_is_passed(bench: Bench) -> None:
    log = bench.log()
    membership = taken_over(log)
    for value in (b"one", b"two"):
        log.publish([state(bench, value), state(bench, value)], {ops(bench): Committed(0, 7)}, membership.token)
    wait_until(lambda: log.ends([0])[0].high_state == 6, WITHIN_S, "the last marker is there")
    assert read_to(log, 6) == [b"one", b"one", b"two", b"two"]


def test_an_output_says_where_it_lies(bench: Bench) -> None:
    log = bench.log()
    membership = taken_over(log)
    changes = Output(bench.topics.decision_changes, 0, b"k", b"x")
    outputs = [state(bench, b"a"), changes, state(bench, b"b"), changes]
    assert list(log.publish(outputs, {ops(bench): Committed(0, 7)}, membership.token)) == [0, 0, 1, 1]


def test_an_end_lies_behind_an_open_transaction_and_readers_before_it(bench: Bench) -> None:
    log = bench.log()
    membership = taken_over(log)
    log.publish([state(bench, b"done")], {ops(bench): Committed(0, 7)}, membership.token)
    bench.leave_open(log, [state(bench, b"never")])
    wait_until(lambda: log.ends([0])[0].high_state == 3, WITHIN_S, "the marker is there")
    assert read_to(log, 2) == [b"done"]


def test_a_new_producer_of_the_same_name_ends_what_was_open(bench: Bench) -> None:
    log, next_life = bench.log("same"), bench.log("same")
    taken_over(log)
    bench.leave_open(log, [state(bench, b"never")])
    next_life.new_producer()
    assert read_to(next_life, 2) == []


def test_a_producer_that_was_replaced_publishes_nothing(bench: Bench) -> None:
    older, newer = bench.log("same"), bench.log("same")
    membership = taken_over(older)
    newer.new_producer()
    with pytest.raises(Exception, match=r"(?i)fenced|epoch"):
        older.publish([state(bench, b"never")], {ops(bench): Committed(0, 5)}, membership.token)
    assert newer.ends([0])[0].high_state == 0
    assert older.committed([0])[ops(bench)] == Committed(0, 0, by="nobody")


def test_offsets_and_stream_time_are_there_with_the_outputs(bench: Bench) -> None:
    log = bench.log()
    membership = taken_over(log)
    bench.send(bench.topics.ops, b"one")
    log.publish([], {ops(bench): Committed(1, 1_793_527_200_123)}, membership.token)
    assert log.committed([0])[ops(bench)] == Committed(1, 1_793_527_200_123)


# The group


def test_a_place_of_an_earlier_generation_publishes_nothing(bench: Bench) -> None:
    older, newer = bench.log("older"), bench.log("newer")
    membership = taken_over(older)
    joined(older, newer)
    older.new_producer()
    with pytest.raises(Exception, match=r"(?i)generation|commit"):
        older.publish([state(bench, b"never")], {ops(bench): Committed(0, 5)}, membership.token)
    newer.new_producer()
    assert newer.committed([0])[ops(bench)] == Committed(0, 0, by="nobody")


def test_who_names_no_member_is_not_refused(bench: Bench) -> None:
    """Which is why the metadata of the take-over is used, and no newer one."""
    log = bench.log()
    membership = taken_over(log)
    log.publish([], {ops(bench): Committed(0, 5)}, bench.anonymous(membership.token))
    assert log.committed([0])[ops(bench)] == Committed(0, 5)


def test_one_of_the_same_instance_has_its_place_at_once_and_the_other_is_told_when_it_publishes(bench: Bench) -> None:
    older, newer = bench.log("same", "i"), bench.log("same", "i")
    before = taken_over(older)
    after = taken_over(newer)
    assert (after.generation, after.partitions) == (before.generation, before.partitions)
    assert after.member != before.member
    older.new_producer()
    with pytest.raises(Fenced):
        older.publish([state(bench, b"never")], {ops(bench): Committed(0, 5)}, before.token)


def test_after_a_rebalance_nothing_is_polled_before_it_is_said_from_where(bench: Bench) -> None:
    log, other = bench.log("one"), bench.log("other")
    taken_over(log)
    bench.send(bench.topics.ops, b"first")
    assert polled(log, 1) == [b"first"]
    places = joined(log, other)
    bench.send(bench.topics.ops, b"second")
    assert [one.poll(POLL_MS) for one in (log, other)] == [[], []]
    (owner,) = (one for one, place in zip((log, other), places, strict=True) if 0 in place.partitions)
    owner.resume_at({ops(bench): 0})
    assert polled(owner, 2) == [b"first", b"second"]


# Inputs


@pytest.mark.parametrize("decision", ["commit", "abort"])
def test_an_open_transaction_of_inputs_is_waited_for(bench: Bench, decision: Literal["commit", "abort"]) -> None:
    log = bench.log()
    taken_over(log)
    place = (bench.topics.restore_runs, 0)
    bench.send(place[0], b"open", open=True)
    assert log.poll(POLL_MS) == []
    assert log.next_offset(place) == 0
    assert log.input_ends([place]) == {place: 1}
    bench.end(decision)
    bench.send(place[0], b"behind")
    expected = [b"open", b"behind"] if decision == "commit" else [b"behind"]
    assert polled(log, len(expected)) == expected
    assert log.next_offset(place) == log.input_ends([place])[place] == 3
