"""Reading what the worker has published, without taking part: for commands and for the API.

Of Kafka committed records only, by clients that are in no consumer group and so disturb none. Of the store one run at a
time, in one step with what the store says of itself: a run that is not there while its partition is restored is "not
yet", never "not there". Nothing here writes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import redis
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError, TopicAuthorizationFailedError

from contracts.events import Record
from contracts.ids import partition_of
from projections.record import DeletedRun, Key, decode_record
from worker.errors import RedisUnreachable, Refused, Unfit
from worker.fitness import nodes_of
from worker.kafka import CONSUMER_OPTIONS
from worker.kafka_clients import make_client
from worker.nodes import Nodes, reason, refusal
from worker.refusals import refusal_of, unreachable
from worker.rights import check_topic
from worker.settings import KafkaSettings, RedisSettings, Settings
from worker.topics import read_topics

Answer = TypeVar("Answer")

CALL_TIMEOUT_MS: Final = 5_000
"""For a question to Kafka; a broker that is there answers within a second."""
SILENCE_S: Final = 5.0
"""After so long without a record Kafka is asked whether it is there."""
MERGE_WAIT_S: Final = 1.0
"""How long a partition that gives nothing can hold up the others while old records are put into order."""
BUFFERED_RECORDS: Final = 2_000
"""Of one partition, waiting for their turn; one with more is not fetched from. A few MB."""
RETRY_S: Final = 0.5
"""Between attempts to get a connection back."""


def partition_count(settings: Settings) -> int:
    """How many partitions each topic has. Raises KafkaUnreachable, and Unfit if the topics are not there."""
    name = settings.topic_names.decision_state
    topic = read_topics(settings).get(name)
    if topic is None:
        check_topic(settings.kafka, name, "Describe")
        raise Unfit(f"{name} does not exist: `restore-projector topics create` makes it")
    return topic.partitions


def tenant_partition(settings: Settings, tenant: str) -> int:
    """The partition in which everything of a tenant is. Raises as `partition_count`."""
    return partition_of(tenant, partition_count(settings), settings.kafka.partitioner)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the store held of a run at one moment.

    `document`: the state document's bytes; None if there is none. `deleted`: what is remembered of a run that was
    deleted. `restoring`: what is not there may be there later, as the partition is restored or was never taken over.
    `applied_at`: when the store was last written to, in ms, by the worker's clock; None if it never was.
    """

    document: bytes | None
    deleted: DeletedRun | None
    restoring: bool
    applied_at: int | None


class StoreReader:
    """The store, read only. `see` may be called from several threads. Every call may raise RedisUnreachable."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._nodes = nodes_of(settings)

    def see(self, partition: int, tenant: str, run: str) -> Seen:
        """What there is of this run."""
        place = f"{self._settings.namespace}:{{{partition}}}"
        with self._translated(), self._nodes.of(partition).pipeline(transaction=True) as step:
            step.hmget(f"{place}:position", "status", "applied_at")
            step.get(f"{place}:run:{tenant}/{run}")
            step.get(f"{place}:deleted-run:{tenant}/{run}")
            (status, applied_at), document, deletion = step.execute()
        deleted = None if deletion is None else decode_record(Key("deleted-run", tenant, run), deletion)
        assert deleted is None or isinstance(deleted, DeletedRun), "records of this kind are of this type"
        return Seen(document, deleted, status != b"ready", None if applied_at is None else int(applied_at))

    def ask(self, question: Callable[[Nodes], Answer]) -> Answer:
        """What somebody else asks of the store."""
        with self._translated():
            return question(self._nodes)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except redis.exceptions.RedisError as error:
            self._nodes.forget()
            refused = refusal(self._settings.address, error)
            raise refused or RedisUnreachable(self._settings.address, reason(error)) from error

    def close(self) -> None:
        self._nodes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that could not be read: at `expected` was nothing, reading goes on at `found`.

    They were deleted before they were read, or the topic was made anew (then `found` is less).
    """

    topic: str
    partition: int
    expected: int
    found: int


@dataclass(slots=True)
class _Partition:
    """How far a partition was read: `next` offset to fetch, `end` when reading began, and what waits for its turn."""

    next: int
    end: int
    waiting: deque[Record]


class Follower:
    """The committed records of all partitions of a topic, from a place on, each exactly once.

    A partition's records come in its order. Those that were there when reading began also come in the order of
    their timestamps over all partitions; later ones as they come. Kafka may go away and come back: `poll` then returns
    nothing for a while, and `away_since` says since when (monotonic seconds).

    Construction and the methods `from_…`, one of which must be called first, raise KafkaUnreachable; Unfit if there is
    no such topic. `on_gap` is told of what was deleted before it could be read.
    """

    def __init__(self, settings: KafkaSettings, topic: str, on_gap: Callable[[Gap], None] = lambda _: None) -> None:
        self._settings = settings
        self._topic = topic
        self._on_gap = on_gap
        self._partitions: dict[int, _Partition] = {}
        self._not_before = 0
        self._consumer: KafkaConsumer | None = None
        self._heard_at = time.monotonic()
        self._moved_at = time.monotonic()
        self.away_since: float | None = None
        with self._translated():
            self._connect()

    def from_now(self) -> Self:
        """Begin with what is committed from now on."""
        return self._begin(lambda consumer, every: consumer.end_offsets(every, timeout_ms=CALL_TIMEOUT_MS))

    def from_time(self, at: int) -> Self:
        """Begin with what was appended at this time (ms) or later."""
        self._not_before = at  # as some brokers, the embedded one among them, name too early an offset

        def starts(consumer: KafkaConsumer, every: list[TopicPartition]) -> dict[TopicPartition, int]:
            ends = consumer.end_offsets(every, timeout_ms=CALL_TIMEOUT_MS)
            found = consumer.offsets_for_times(dict.fromkeys(every, max(at, 0)), timeout_ms=CALL_TIMEOUT_MS)
            return {tp: ends[tp] if found[tp] is None else found[tp].offset for tp in every}

        return self._begin(starts)

    def from_offsets(self, offsets: Mapping[int, int]) -> Self:
        """Begin at these offsets; partitions that are not named, at what is committed from now on."""

        def starts(consumer: KafkaConsumer, every: list[TopicPartition]) -> dict[TopicPartition, int]:
            return {
                tp: offsets.get(tp.partition, end)
                for tp, end in consumer.end_offsets(every, timeout_ms=CALL_TIMEOUT_MS).items()
            }

        return self._begin(starts)

    def _begin(self, starts: Callable[[KafkaConsumer, list[TopicPartition]], Mapping[TopicPartition, int]]) -> Self:
        consumer = self._consumer
        assert consumer is not None, "connected by the constructor"
        with self._translated():
            every = [TopicPartition(self._topic, number) for number in sorted(self._numbers(consumer))]
            begin = starts(consumer, every)
            ends = self._ends(every)
        self._partitions = {tp.partition: _Partition(begin[tp], ends[tp], deque()) for tp in every}
        self._seek(consumer)
        return self

    def _numbers(self, consumer: KafkaConsumer) -> set[int]:
        numbers: set[int] | None = consumer.partitions_for_topic(self._topic)
        if not numbers:
            check_topic(self._settings, self._topic, "Read")
            raise Unfit(f"{self._topic} does not exist: `restore-projector topics create` makes it")
        return numbers

    def _ends(self, every: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Ends that count open transactions: those of committed records may lag behind a commit that has returned."""
        options = CONSUMER_OPTIONS | {"isolation_level": "read_uncommitted"}
        consumer = make_client(KafkaConsumer, **options, **self._settings.client_options())
        try:
            ends: Mapping[TopicPartition, int] = consumer.end_offsets(every, timeout_ms=CALL_TIMEOUT_MS)
        finally:
            consumer.close()
        return ends

    @property
    def at_end(self) -> bool:
        """Everything was returned that was there when reading began."""
        return all(p.next >= p.end and not p.waiting for p in self._partitions.values())

    @property
    def offsets(self) -> Mapping[int, int]:
        """For each partition the offset of the next record that `poll` returns, to go on from another time."""
        return {number: p.waiting[0].offset if p.waiting else p.next for number, p in self._partitions.items()}

    def poll(self, timeout_ms: int) -> list[Record]:
        """Records that have come, at most after so long; none while Kafka is away. Raises Refused without the right."""
        try:
            consumer = self._consumer or self._connect()
            self._receive(consumer, timeout_ms)
        except OffsetOutOfRangeError as error:
            self._skip(error)
        except TopicAuthorizationFailedError as error:
            raise Refused(refusal_of("Read", "topic", self._topic)) from error
        except KafkaError:
            self._lose()
        return self._take()

    def _receive(self, consumer: KafkaConsumer, timeout_ms: int) -> None:
        full = [number for number, p in self._partitions.items() if len(p.waiting) >= BUFFERED_RECORDS]
        consumer.resume(*consumer.paused())
        consumer.pause(*(TopicPartition(self._topic, number) for number in full))
        polled = consumer.poll(timeout_ms)
        for tp, records in polled.items():
            p = self._partitions[tp.partition]
            p.waiting += (_record(record) for record in records if record.timestamp >= self._not_before)
            p.next = records[-1].offset + 1
            self._heard()
        for number, p in self._partitions.items():
            reached = int(consumer.position(TopicPartition(self._topic, number), timeout_ms=CALL_TIMEOUT_MS))
            if reached != p.next:
                p.next = reached
                self._heard()
        if time.monotonic() - self._heard_at > SILENCE_S:
            consumer.end_offsets(consumer.assignment(), timeout_ms=CALL_TIMEOUT_MS)
            self._heard_at = time.monotonic()
            self.away_since = None

    def _heard(self) -> None:
        self._heard_at = self._moved_at = time.monotonic()
        self.away_since = None

    def _take(self) -> list[Record]:
        """What waits, earliest first, up to where a partition could still hold something earlier."""
        patient = time.monotonic() - self._moved_at < MERGE_WAIT_S
        behind = [p for p in self._partitions.values() if patient and p.next < p.end]
        taken = []
        while all(p.waiting for p in behind):
            heads = [p for p in self._partitions.values() if p.waiting]
            if not heads:
                break
            first = min(heads, key=lambda p: (p.waiting[0].timestamp, p.waiting[0].partition))
            taken.append(first.waiting.popleft())
        return taken

    def _skip(self, error: OffsetOutOfRangeError) -> None:
        """Go on from where the log begins, and say so."""
        consumer = self._consumer
        assert consumer is not None, "it has just raised"
        with suppress(KafkaError):
            lows = consumer.beginning_offsets(list(error.args[0]), timeout_ms=CALL_TIMEOUT_MS)
            for tp, low in lows.items():
                p = self._partitions[tp.partition]
                self._on_gap(Gap(self._topic, tp.partition, p.next, low))
                p.next = low
        self.close()  # as it may hold records of other partitions that it will not return again

    def _lose(self) -> None:
        """Whatever it was: a new connection, from where the old one had come to."""
        if self.away_since is None:
            self.away_since = self._heard_at
        self.close()
        time.sleep(RETRY_S)

    def _connect(self) -> KafkaConsumer:
        consumer = make_client(
            KafkaConsumer,
            fetch_max_wait_ms=self._settings.fetch_max_wait_ms,
            client_id="restore-projector-reader",
            **CONSUMER_OPTIONS,
            **self._settings.client_options(),
        )
        self._consumer = consumer
        if self._partitions:
            self._seek(consumer)
        return consumer

    def _seek(self, consumer: KafkaConsumer) -> None:
        consumer.assign([TopicPartition(self._topic, number) for number in self._partitions])
        for number, p in self._partitions.items():
            consumer.seek(TopicPartition(self._topic, number), p.next)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except KafkaError as error:
            self.close()
            raise unreachable(self._settings, error) from error

    def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(KafkaError, OSError):
                consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _record(record: Any) -> Record:
    return Record(
        record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
    )
