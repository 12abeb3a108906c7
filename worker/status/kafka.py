"""What Kafka tells of the group, the inputs and the compacted topics. No group is joined, nothing is committed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorError,
)
from kafka.protocol.consumer.offsets import IsolationLevel

from contracts.printable import printable
from contracts.topics import Topics
from worker.errors import Unfit
from worker.kafka import CONNECTION_OPTIONS, CONSUMER_OPTIONS, POLICY_LABEL
from worker.kafka_clients import Makes, all_or_none
from worker.offset_metadata import UNKNOWN, read_metadata
from worker.ports import Policies
from worker.record_batches import read_batches_here
from worker.refusals import unreachable
from worker.rights import OF_STATUS, check_rights
from worker.settings import KafkaSettings
from worker.status.facts import Input, Letters, Member, OpenTransaction
from worker.status.letters import LetterCount

Result = TypeVar("Result")

CLIENT_ID: Final = "restore-projector-status"
REQUEST_TIMEOUT_MS: Final = 10_000
READ_TIMEOUT_S: Final = 5.0
"""For the first waiting record of every input; a broker that is there answers within a second."""
COORDINATOR_WAIT_S: Final = 10.0
"""A cluster that no group has used yet first makes its topic of offsets, which takes a second or two."""
RETRY_S: Final = 0.2
EARLIEST: Final = -2
LATEST: Final = -1
"""What ListOffsets understands as the first offset, and as the next one to be written."""


@dataclass(frozen=True, slots=True)
class KafkaFacts:
    """What Kafka says of an installation. `log_id`: see `worker.ports.Log.log_id`.

    `ends`: of the compacted topics; `begins`: of decision-state.
    """

    partitions: int
    log_id: str
    group_state: str | None
    members: tuple[Member, ...]
    inputs: Mapping[TopicPartition, Input]
    transactions: tuple[tuple[int, OpenTransaction], ...]
    ends: Mapping[int, tuple[int, int]]
    begins: Mapping[int, int]
    letters: Mapping[int, Letters] | None


class KafkaView:
    """Asks Kafka, again and again if wanted, over the same connections."""

    def __init__(self, settings: KafkaSettings, topics: Topics) -> None:
        read_batches_here()  # which a dead letter may have
        self._settings = settings
        self._topics = topics
        self._letters = LetterCount(topics, settings.partitioner)
        self._clients: _Clients | None = None

    def look(self) -> KafkaFacts:
        """Raises KafkaUnreachable, Refused, and Unfit if topics are not there."""
        try:
            self._clients = self._clients or self._connect()
            return self._look(self._clients)
        except KafkaError as error:
            self.close()
            raise unreachable(self._settings, error) from error

    def _connect(self) -> _Clients:
        """Raises Refused, by the name of each right that is missing."""
        clients = _Clients(self._settings)
        check_rights(clients.admin, self._topics, OF_STATUS, self._settings.group_id)
        return clients

    def _look(self, clients: _Clients) -> KafkaFacts:
        admin = clients.admin
        partitions, log_id = self._describe_topics(admin)
        numbers = range(partitions)
        group_state, members = _patiently(lambda: describe_group(admin, self._settings.group_id))
        # Offsets before ends, so that what is decided meanwhile does not seem to lie behind the end.
        inputs = [TopicPartition(topic, number) for number in numbers for topic in self._topics.inputs]
        found = self._inputs(clients, inputs)
        transactions = [
            (tp.partition, _open_transaction(admin, tp)) for tp in inputs if found[tp].readable < found[tp].high
        ]
        state, internal = self._topics.decision_state, self._topics.internal
        ends = _offsets(admin, [TopicPartition(t, n) for n in numbers for t in (state, internal)], LATEST)
        begins = _offsets(admin, [TopicPartition(state, n) for n in numbers], EARLIEST)
        return KafkaFacts(
            partitions,
            log_id,
            group_state,
            members,
            found,
            tuple((number, opened) for number, opened in transactions if opened is not None),
            {n: (ends[TopicPartition(state, n)], ends[TopicPartition(internal, n)]) for n in numbers},
            {tp.partition: low for tp, low in begins.items()},
            self._letters.count(clients.reader, clients.bounds, numbers),
        )

    def _describe_topics(self, admin: KafkaAdminClient) -> tuple[int, str]:
        names = self._topics.all
        topics = {t["name"]: t for t in admin.describe_topics(list(names)) if t["error_code"] == 0}
        missing = [name for name in names if name not in topics]
        if missing:
            raise Unfit([*(f"{n} does not exist" for n in missing), "`restore-projector topics create` makes them"])
        state, internal = topics[self._topics.decision_state], topics[self._topics.internal]
        return len(state["partitions"]), f"{state['topic_id']}/{internal['topic_id']}"

    def _inputs(self, clients: _Clients, inputs: Sequence[TopicPartition]) -> dict[TopicPartition, Input]:
        group = self._settings.group_id
        committed = _patiently(lambda: clients.admin.list_group_offsets({group: list(inputs)}))[group]
        low = _offsets(clients.admin, inputs, EARLIEST)
        readable = _offsets(clients.admin, inputs, LATEST)
        high = _offsets(clients.admin, inputs, LATEST, IsolationLevel.READ_UNCOMMITTED)
        rows = {
            tp: Input(tp.topic, low[tp], offset, readable[tp], max(high[tp], readable[tp]), None, stream_time, policies)
            for tp in inputs
            for offset, stream_time, policies in [_committed(committed.get(tp))]
        }
        behind = {tp: row for tp, row in rows.items() if row.in_log and row.next < row.readable}
        return rows | {tp: replace(rows[tp], oldest=at) for tp, at in _oldest(clients.reader, behind).items()}

    def close(self) -> None:
        clients, self._clients = self._clients, None
        if clients is not None:
            clients.close()


class _Clients:
    """An admin client, and a consumer that is in no group."""

    def __init__(self, settings: KafkaSettings) -> None:
        with all_or_none() as make:
            self._make(make, settings)

    def _make(self, make: Makes, settings: KafkaSettings) -> None:
        self.admin = make(
            KafkaAdminClient,
            client_id=CLIENT_ID,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            **CONNECTION_OPTIONS,
            **settings.client_options(),
        )
        self.reader = make(
            KafkaConsumer,
            client_id=CLIENT_ID,
            fetch_max_wait_ms=settings.fetch_max_wait_ms,
            **CONSUMER_OPTIONS,
            **settings.client_options(),
        )

    def bounds(self, partitions: list[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """The first offset, and the next one behind what committed readers see."""
        low, end = _offsets(self.admin, partitions, EARLIEST), _offsets(self.admin, partitions, LATEST)
        return {tp: (low[tp], end[tp]) for tp in partitions}

    def close(self) -> None:
        for client in (self.admin, self.reader):
            with suppress(KafkaError, OSError):
                client.close()


def _offsets(
    admin: KafkaAdminClient,
    partitions: Iterable[TopicPartition],
    which: int,
    isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
) -> dict[TopicPartition, int]:
    found = admin.list_partition_offsets(dict.fromkeys(partitions, which), isolation_level=isolation)
    return {tp: int(answer.offset) for tp, answer in found.items()}


def _committed(answer: Any) -> tuple[int | None, int, Policies]:
    """The committed offset, if there is one, and what its metadata says (`worker.offset_metadata`)."""
    if answer is None or answer.offset < 0:
        return None, 0, UNKNOWN
    return int(answer.offset), *read_metadata(answer.metadata)


def describe_group(admin: KafkaAdminClient, group_id: str) -> tuple[str | None, tuple[Member, ...]]:
    """The group's state in Kafka's word and its members; None and no members where the broker does not tell."""
    try:
        group = admin.describe_groups([group_id])[group_id]
    except ValueError:  # kafka-python cannot read what the embedded broker answers
        return None, ()
    return group["group_state"], tuple(sorted((_member(m) for m in group["members"]), key=lambda m: m.name))


def _member(member: Mapping[str, Any]) -> Member:
    assignment = member["member_assignment"] or {}
    numbers = {number for topic in assignment.get("assigned_partitions", ()) for number in topic["partitions"]}
    return Member(
        printable(member["group_instance_id"] or member["client_id"]),
        printable(member["client_host"].lstrip("/")),
        frozenset(numbers),
        _policy(member["member_metadata"]),
    )


def _policy(metadata: Any) -> int | None:
    """What a member told its group (`worker.kafka.PolicyAssignor`); None of one that told nothing, or not like this."""
    told = metadata.get("user_data") if isinstance(metadata, dict) else None
    text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
    number = text.removeprefix(POLICY_LABEL)
    return int(number) if number != text and number.isascii() and number.isdecimal() else None


def _oldest(reader: KafkaConsumer, behind: Mapping[TopicPartition, Input]) -> dict[TopicPartition, int]:
    """The timestamp of the first record that waits, of those inputs that have one and not only markers."""
    reader.assign(list(behind))
    for tp, row in behind.items():
        reader.seek(tp, row.next)
    found: dict[TopicPartition, int] = {}
    missing = set(behind)
    until = time.monotonic() + READ_TIMEOUT_S
    while missing and time.monotonic() < until:
        for tp, records in reader.poll(100).items():
            found.setdefault(tp, records[0].timestamp)
            reader.pause(tp)
        missing = {tp for tp in missing if tp not in found and reader.position(tp) < behind[tp].readable}
    return found


def _open_transaction(admin: KafkaAdminClient, tp: TopicPartition) -> OpenTransaction | None:
    """The first open transaction of an input, or None if it has ended meanwhile; who it is only where that is told."""
    try:
        producers = admin.describe_producers([tp])[tp].active_producers
        opened = [p for p in producers if p.current_transaction_start_offset >= 0]
        if not opened:
            return None
        first = min(opened, key=lambda p: p.current_transaction_start_offset)
        found = OpenTransaction(tp.topic, first.current_transaction_start_offset, began=first.last_timestamp)
        listed = admin.list_transactions(producer_id_filters=[first.producer_id])
        ids = [row.transactional_id for rows in listed.values() for row in rows]
        if not ids:
            return found
        told = admin.describe_transactions(ids[:1])[ids[0]]
    except KafkaError:
        return None
    return replace(
        found,
        transactional_id=printable(ids[0]),
        began=told.transaction_start_time_ms,
        timeout_ms=told.transaction_timeout_ms,
    )


def _patiently(ask: Callable[[], Result]) -> Result:
    """Ask again while the group's coordinator is not there yet."""
    until = time.monotonic() + COORDINATOR_WAIT_S
    while True:
        try:
            return ask()
        except (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError):
            if time.monotonic() > until:
                raise
            time.sleep(RETRY_S)
