"""The log in Kafka, on kafka-python: one consumer in the group, one transactional producer, one reader for restoring.

Six bugs of kafka-python 3.0.12 are worked around, each in one place:

    lost request              `BoundedProducer`: a time limit on what would wait for ever
    join lost between polls   `KafkaLog.membership` and the loop's long polls while the group is not stable
    join forgotten            `KafkaLog._mend_join`: one that changed metadata has caused and that outlasts a poll
    metadata stand still      `worker.kafka_clients`: the loop that refreshes them would end for good
    pause and resume          `CONSUMER_OPTIONS`: `max_poll_records` so large that a fetch is never returned in part
    commit without flush      `KafkaLog.publish`: every record's future, then offsets, then commit

It also refuses to send some records that Kafka takes and that come in, and to read those with a header name that is not
UTF-8: `worker.record_batches` does both, and in a third of the time.

Offsets are committed with stream time and policies as their metadata (`worker.offset_metadata`), so that these are as
exactly-once as everything else. Each member tells the group with which policy it decides (`PolicyAssignor`), so that
whoever looks from outside knows why one does not touch a partition.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Literal

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import MemberToRemove
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.base import MemberState
from kafka.errors import (
    AuthorizationError,
    FencedInstanceIdError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    SaslAuthenticationFailedError,
)
from kafka.protocol.consumer.metadata import ConsumerProtocolSubscription
from kafka.structs import OffsetAndMetadata

from contracts.events import Record
from contracts.topics import Topics
from projections import rules
from worker import ports
from worker.errors import BatchSplit, Fenced, KafkaUnreachable, OffsetOutOfRange, RecordTooLarge
from worker.kafka_clients import Makes, all_or_none, make_client
from worker.offset_metadata import metadata_of, read_metadata
from worker.ports import Committed, Ends, LogSlice, Membership, Output
from worker.record_batches import Batch, read_batches_here, send_batches
from worker.refusals import unreachable
from worker.settings import KafkaSettings

CALL_TIMEOUT_MS: Final = 12_000
"""Limit of a call that belongs to a transaction: a little more than the transaction itself may last."""
READ_TIMEOUT_MS: Final = 20
"""How long the restoring reader waits at once. A fetch of nothing but markers brings no record, only a position."""
MAX_REQUEST_BYTES: Final = 8 << 20
"""The producer's request size where no input takes larger records: several batches of 1 MiB."""
MAX_BATCH_BYTES: Final = 1 << 20
"""Of a batch, where no topic takes less: with 16 KiB, kafka-python's default, a third of the throughput."""

POLICY_LABEL: Final = "policy="
"""What a member tells its group of itself: this, and the policy that it decides with."""

CONNECTION_OPTIONS: Final[dict[str, Any]] = {
    "bootstrap_timeout_ms": 5_000,  # 30 s by default, in which a worker that is told to stop would not hear it
    "reconnect_backoff_max_ms": 1_000,
}

PRODUCER_OPTIONS: Final[dict[str, Any]] = {
    "acks": "all",
    "linger_ms": 0,
    "retry_backoff_ms": 1,  # slept on CONCURRENT_TRANSACTIONS, by every fifth transaction where one follows the other
    "compression_type": "lz4",
    "request_timeout_ms": 5_000,
    "delivery_timeout_ms": 8_000,
    "max_block_ms": CALL_TIMEOUT_MS,
    "metrics_enabled": False,
    **CONNECTION_OPTIONS,
}

CONSUMER_OPTIONS: Final[dict[str, Any]] = {
    "isolation_level": "read_committed",
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "max_poll_records": 10**6,  # a fetch returned in part and then paused would never be returned again
    "max_partition_fetch_bytes": 256 << 10,  # what bounds memory instead
    "retry_backoff_ms": 20,
    "metrics_enabled": False,
    **CONNECTION_OPTIONS,
}


class BoundedProducer(KafkaProducer):  # type: ignore[misc]  # kafka-python has no types
    """A producer whose transactional calls end. Past the limit their result is unknown: take a new producer."""

    def send_offsets_to_transaction(self, offsets: Any, group_metadata: Any) -> None:
        result = self._transaction_manager.send_offsets_to_transaction(offsets, group_metadata)
        self._sender.wakeup()
        self._bounded(result, "send_offsets_to_transaction")

    def commit_transaction(self) -> None:
        result = self._transaction_manager.begin_commit()
        self._sender.wakeup()
        self._bounded(result, "commit_transaction")

    def send_any(self, output: Output) -> Any:
        """Send a record also where `send` refuses it though Kafka takes it. Returns the future.

        That is one with neither key nor value, or with a header without a value: such may be ordered to be taken again.
        """
        known = output.key is not None or output.value is not None
        if known and all(value is not None for _, value in output.headers):
            return self.send(output.topic, output.value, output.key, list(output.headers), output.partition)
        headers = _Headers(output.headers)
        self.partitions_for(output.topic)  # as `send` does: without metadata nothing is sent
        self._ensure_valid_record_size(self._estimate_size_in_bytes(output.key, output.value, headers))
        place = TopicPartition(output.topic, output.partition)
        if self._transaction_manager.is_transactional():
            self._transaction_manager.maybe_add_partition_to_transaction(place)
        future, *_ = self._accumulator.append(place, None, output.key, output.value, headers)
        self._sender.wakeup()
        return future

    @staticmethod
    def _bounded(result: Any, call: str) -> None:
        if not result.wait(CALL_TIMEOUT_MS):
            raise KafkaTimeoutError(f"{call} did not end within {CALL_TIMEOUT_MS} ms")


class _Headers(list[tuple[str, bytes]]):
    """Headers of which kafka-python encodes all, also those without value, and measures none, as that would raise."""

    def __bool__(self) -> bool:
        return False


class _HoldAssigned(ConsumerRebalanceListener):  # type: ignore[misc]  # as above
    """Newly assigned partitions stand still until they are taken over: nothing is fetched from a guessed offset."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        pass

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        for partition in assigned:
            self._log.consumer.pause(partition)
            self._log.consumer.seek(partition, 0)


class PolicyAssignor(RangePartitionAssignor):  # type: ignore[misc]  # as above
    """Ranges, the only assignor that keeps a partition number's inputs together; each member also names its policy."""

    @classmethod
    def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolSubscription:
        return ConsumerProtocolSubscription(cls.version, list(topics), f"{POLICY_LABEL}{rules.POLICY}".encode())


class KafkaLog:
    """`worker.ports.Log` on kafka-python. Construction connects, and raises KafkaUnreachable if nobody answers.

    `transactional_id` and `instance`: see `worker.settings`; with an instance the consumer is a static member.
    `letter_bytes`: how large a dead letter may be, so that no record is too large to be set aside. `batch_bytes`: how
    much all output topics take at once; where one takes less by now, that is found out.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Topics,
        transactional_id: str,
        *,
        letter_bytes: int = MAX_REQUEST_BYTES,
        batch_bytes: int = MAX_BATCH_BYTES,
    ) -> None:
        self._settings = settings
        self._topics = topics
        read_batches_here()
        self._transactional_id = transactional_id
        self._max_request_bytes = max(MAX_REQUEST_BYTES, letter_bytes)
        self._batch_bytes = self._most_batch_bytes = min(batch_bytes, MAX_BATCH_BYTES)
        self._producer: BoundedProducer | None = None
        self._reading: dict[TopicPartition, int] = {}
        with self._translated(), all_or_none() as make:
            self.consumer = make(
                KafkaConsumer,
                group_id=settings.group_id,
                group_instance_id=settings.instance,
                client_id=settings.instance or f"{socket.gethostname()}-{os.getpid()}",  # what `status` shows
                partition_assignment_strategy=[PolicyAssignor],
                session_timeout_ms=settings.session_timeout_ms,
                heartbeat_interval_ms=settings.heartbeat_interval_ms,
                fetch_max_wait_ms=settings.fetch_max_wait_ms,
                **CONSUMER_OPTIONS,
                **settings.client_options(),
            )
            self._reader = self._plain_consumer(make, "read_committed")
            # Not asked of the consumer: on its connection an answer would wait behind a fetch that finds nothing.
            self._ends_reader = self._plain_consumer(make, "read_uncommitted")
            self._admin = make(
                KafkaAdminClient,
                request_timeout_ms=PRODUCER_OPTIONS["request_timeout_ms"],
                **CONNECTION_OPTIONS,
                **settings.client_options(),
            )
            # The group's leader assigns what it knows of, and a topic that it learns of later costs another rebalance.
            for topic in topics.inputs:
                self.consumer.partitions_for_topic(topic)
        self.consumer.subscribe(list(topics.inputs), listener=_HoldAssigned(self))

    def _plain_consumer(self, make: Makes, isolation_level: str) -> KafkaConsumer:
        options = CONSUMER_OPTIONS | {"isolation_level": isolation_level, "max_partition_fetch_bytes": 1 << 20}
        return make(
            KafkaConsumer,
            fetch_max_wait_ms=self._settings.fetch_max_wait_ms,
            **options,
            **self._settings.client_options(),
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of the library that mean something to the loop; the others mean recovery, whatever they are."""
        try:
            yield
        except FencedInstanceIdError as error:
            raise Fenced(
                f"another member of group {self._settings.group_id} has our instance {self._settings.instance}"
            ) from error
        except (KafkaConnectionError, KafkaTimeoutError, AuthorizationError, SaslAuthenticationFailedError) as error:
            raise unreachable(self._settings, error) from error

    # The group's consumer

    def poll(self, timeout_ms: int) -> list[Record]:
        self._mend_join()
        with self._translated():
            polled = self.consumer.poll(timeout_ms)
        return [_record(record) for records in polled.values() for record in records]

    def _mend_join(self) -> None:
        """Have a join that kafka-python has forgotten awaited, or begun again.

        One that changed metadata has caused, as of topics that are just being made, is no longer wanted by the time the
        leader has assigned; where that outlasts a poll nobody takes its result, and without heartbeats the member is
        evicted and never learns of it (3.0.12, `join_group_async`; 1 of 60 starts on a busy machine).
        """
        coordinator = self.consumer._coordinator  # noqa: SLF001  there is no other way to it
        if coordinator.state is MemberState.REBALANCING and not coordinator.need_rejoin():
            coordinator.request_rejoin()

    def membership(self) -> Membership | None:
        metadata = self.consumer.group_metadata()
        if metadata.state is not MemberState.STABLE or metadata.generation_id < 0 or not metadata.member_id:
            return None
        assigned = self.consumer.assignment()
        numbers = frozenset(tp.partition for tp in assigned)
        if len(assigned) != len(numbers) * len(self._topics.inputs):
            return None  # the leader did not know all topics yet; it will, and the group will rebalance
        return Membership(metadata.generation_id, metadata.member_id, numbers, metadata)

    def committed(self, partitions: Iterable[int]) -> Mapping[ports.TopicPartition, Committed]:
        inputs = [TopicPartition(topic, number) for number in partitions for topic in self._topics.inputs]
        with self._translated():
            low = self._ends_reader.beginning_offsets(inputs, timeout_ms=CALL_TIMEOUT_MS)
            high = self._ends_reader.end_offsets(inputs, timeout_ms=CALL_TIMEOUT_MS)
            found: dict[ports.TopicPartition, Committed] = {}
            for tp in inputs:
                committed = self._stable_offset(tp)
                if committed is None or committed.offset < 0:
                    found[tp.topic, tp.partition] = Committed(low[tp], 0, by="nobody")
                elif low[tp] <= committed.offset <= high[tp]:
                    stream_time, policies = read_metadata(committed.metadata)
                    by: Literal["worker", "other"] = "worker" if stream_time else "other"
                    found[tp.topic, tp.partition] = Committed(committed.offset, stream_time, policies, by)
                else:
                    raise OffsetOutOfRange(tp.topic, tp.partition, committed.offset, low[tp], high[tp])
        return found

    def _stable_offset(self, tp: TopicPartition) -> Any:
        """The committed offset, once no transaction that has not ended could change it; it is waited for so long."""
        try:
            return self.consumer.committed(tp, metadata=True, timeout_ms=CALL_TIMEOUT_MS)
        except KafkaTimeoutError as error:  # it says nothing else
            raise KafkaUnreachable(
                self._settings.bootstrap_servers,
                f"within {CALL_TIMEOUT_MS // 1000} s it did not tell what is committed of {tp.topic} partition"
                f" {tp.partition}: a transaction that would change it has not ended, or the broker that coordinates the"
                " group does not answer; if it stays so for minutes, restart that broker",
            ) from error

    def resume_at(self, offsets: Mapping[ports.TopicPartition, int]) -> None:
        for (topic, number), offset in offsets.items():
            self.consumer.seek(TopicPartition(topic, number), offset)
        self.resume(offsets)

    def pause(self, inputs: Iterable[ports.TopicPartition]) -> None:
        self.consumer.pause(*self._assigned(inputs))

    def resume(self, inputs: Iterable[ports.TopicPartition]) -> None:
        self.consumer.resume(*self._assigned(inputs))

    def _assigned(self, inputs: Iterable[ports.TopicPartition]) -> list[TopicPartition]:
        assigned = self.consumer.assignment()
        return [tp for tp in (TopicPartition(*name) for name in inputs) if tp in assigned]

    def next_offset(self, input: ports.TopicPartition) -> int:
        with self._translated():
            position = self.consumer.position(TopicPartition(*input), timeout_ms=CALL_TIMEOUT_MS)
        assert position is not None, f"{input} was given an offset when it was taken over"
        return int(position)

    def input_ends(self, inputs: Sequence[ports.TopicPartition]) -> Mapping[ports.TopicPartition, int]:
        with self._translated():
            ends = self._ends_reader.end_offsets([TopicPartition(*name) for name in inputs], timeout_ms=CALL_TIMEOUT_MS)
        return {(tp.topic, tp.partition): offset for tp, offset in ends.items()}

    # The compacted topics

    def log_id(self) -> str:
        with self._translated():
            described = self._admin.describe_topics([self._topics.decision_state, self._topics.internal])
        ids = {topic["name"]: topic["topic_id"] for topic in described}
        return f"{ids[self._topics.decision_state]}/{ids[self._topics.internal]}"

    def ends(self, partitions: Sequence[int]) -> Mapping[int, Ends]:
        state, internal = self._topics.decision_state, self._topics.internal
        every = [TopicPartition(topic, number) for number in partitions for topic in (state, internal)]
        if not every:
            return {}
        with self._translated():
            low = self._ends_reader.beginning_offsets(every, timeout_ms=CALL_TIMEOUT_MS)
            high = self._ends_reader.end_offsets(every, timeout_ms=CALL_TIMEOUT_MS)

        def ends(number: int) -> Ends:
            s, i = TopicPartition(state, number), TopicPartition(internal, number)
            return Ends(low[s], low[i], high[s], high[i])

        return {number: ends(number) for number in partitions}

    def read(self, positions: Mapping[int, ports.Position]) -> Mapping[int, LogSlice]:
        self._read_on(positions)
        with self._translated():
            polled = self._reader.poll(READ_TIMEOUT_MS)
            reached = {tp: int(self._reader.position(tp, timeout_ms=CALL_TIMEOUT_MS)) for tp in self._reading}
        self._reading = reached
        slices = {}
        for number in positions:
            state, internal = self._compacted(number)
            slices[number] = LogSlice(
                [_record(r) for r in polled.get(state, ())],
                [_record(r) for r in polled.get(internal, ())],
                reached[state],
                reached[internal],
            )
        return slices

    def _read_on(self, positions: Mapping[int, ports.Position]) -> None:
        """Have the reader stand at these positions; nothing to do where it has just read up to them."""
        wanted: dict[TopicPartition, int] = {}
        for number, position in positions.items():
            state, internal = self._compacted(number)
            wanted |= {state: position.state, internal: position.internal}
        if self._reading != wanted:
            self._reader.assign(list(wanted))
            for tp, offset in wanted.items():
                self._reader.seek(tp, offset)
        self._reading = wanted

    def _compacted(self, number: int) -> tuple[TopicPartition, TopicPartition]:
        return TopicPartition(self._topics.decision_state, number), TopicPartition(self._topics.internal, number)

    # The producer

    def new_producer(self) -> None:
        self._drop_producer()
        self._batch_bytes = min(self._batch_bytes * 5 // 4, self._most_batch_bytes)  # a limit may have been raised
        with self._translated():
            producer = make_client(
                BoundedProducer,
                transactional_id=self._transactional_id,
                max_request_size=self._max_request_bytes,
                transaction_timeout_ms=self._settings.transaction_timeout_ms,
                **PRODUCER_OPTIONS,
                **self._settings.client_options(),
            )
            self._producer = producer
            producer.init_transactions()

    def publish(
        self, outputs: Sequence[Output], offsets: Mapping[ports.TopicPartition, Committed], token: Any
    ) -> Sequence[int]:
        producer = self._producer
        assert producer is not None, "partitions are taken over with a producer"
        with self._translated():
            producer.begin_transaction()
            written = self._write(producer, outputs)
            producer.send_offsets_to_transaction(
                {
                    TopicPartition(topic, number): OffsetAndMetadata(
                        c.offset, metadata_of(c.stream_time, c.policies), -1
                    )
                    for (topic, number), c in offsets.items()
                },
                token,
            )
            producer.commit_transaction()
        return written

    def _write(self, producer: BoundedProducer, outputs: Sequence[Output]) -> Sequence[int]:
        """Send in batches that are not split; how large these may be is found out where a topic takes less by now."""
        try:
            written = _write(producer, outputs, self._batch_bytes)
        except BatchSplit as error:
            self._batch_bytes = error.size // 2
            raise
        return written

    def _drop_producer(self) -> None:
        """Let the old producer go; closing it may hang, so nobody waits for that."""
        old, self._producer = self._producer, None
        if old is not None:
            threading.Thread(target=_close_quietly, args=(old,), daemon=True, name="closing-producer").start()

    def _leave_to_others(self) -> None:
        """As a static member: say that we leave, if there is somebody to take over.

        Closing a static member's consumer says nothing, so its partitions would stand still until its session ends.
        Alone it stays a member: it comes back faster to a group that is not empty, as joining an empty one is delayed
        (group.initial.rebalance.delay.ms). The member id is named, so that a namesake who has taken our place stays.
        """
        if self._settings.instance is None:
            return
        group, us = self._settings.group_id, self.consumer.group_metadata()
        with suppress(KafkaError, OSError, ValueError):  # ValueError: see `worker.status.kafka`
            members = self._admin.describe_groups([group])[group]["members"]
            if us.member_id and any(member["member_id"] != us.member_id for member in members):
                self._admin.remove_group_members(group, [MemberToRemove(us.member_id, us.group_instance_id)])

    def close(self) -> None:
        """Leave the group and close all connections."""
        self._leave_to_others()
        for client in (self.consumer, self._reader, self._ends_reader, self._admin):
            with suppress(KafkaError, OSError):
                client.close()
        if self._producer is not None:
            with suppress(KafkaError, OSError):
                self._producer.close(timeout=1)


def _write(producer: BoundedProducer, outputs: Sequence[Output], room: int) -> list[int]:
    """Send records in batches of up to `room` bytes and wait until all are written; returns their offsets.

    Raises RecordTooLarge, whatever else is said: once a record has failed, so do the others of its transaction, and
    even sending them, with errors that have nothing to tell. Raises BatchSplit if a topic takes less at once.
    """
    batches: Sequence[Batch] = ()
    errors: list[KafkaError] = []
    until = time.monotonic() + CALL_TIMEOUT_MS / 1000
    written = [0] * len(outputs)
    try:
        batches = send_batches(producer, outputs, room)
    except KafkaError as error:
        errors.append(error)
    for batch in batches:
        try:
            first = int(batch.future.get(timeout=max(0.0, until - time.monotonic())).offset)
        except KafkaError as error:
            errors.append(error)
        else:
            assert first >= 0, "a broker tells where it has put what it has taken"
            for offset, place in enumerate(batch.places, first):
                written[place] = offset
    for told in errors:
        if isinstance(told, MessageSizeTooLargeError | RecordListTooLargeError):
            raise RecordTooLarge(_largest(outputs)) from told
    if split := [batch.size for batch in batches if batch.was_split]:
        raise BatchSplit(min(split))
    if errors:
        raise errors[0]
    return written


def _close_quietly(producer: KafkaProducer) -> None:
    with suppress(Exception):  # whatever it says, nobody can do anything about it
        producer.close(timeout=0)


def _record(record: Any) -> Record:
    return Record(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(record.headers),
    )


def _largest(outputs: Sequence[Output]) -> str:
    return max(outputs, key=lambda o: len(o.value or b"")).topic
