"""The two compacted topics, the store's redo log, read by whoever is not a worker: committed records, in no group."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorError,
)

from contracts.events import Record
from worker.errors import KafkaUnreachable, Unfit
from worker.kafka import CONNECTION_OPTIONS, CONSUMER_OPTIONS
from worker.kafka_clients import Makes, all_or_none
from worker.ports import Ends
from worker.refusals import unreachable
from worker.rights import check_topic
from worker.settings import KafkaSettings, Settings
from worker.status.facts import Member
from worker.status.kafka import describe_group

CLIENT_ID: Final = "restore-projector-operator"
CALL_TIMEOUT_MS: Final = 12_000
"""For a question to Kafka; a broker that is there answers within a second."""
POLL_MS: Final = 200
PATIENCE_S: Final = 30.0
"""How long nothing may come of what is committed: longer than an election, or than a coordinator's move."""
FETCH_BYTES: Final = 1 << 20
COORDINATOR_ELSEWHERE: Final = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)
"""It comes back within seconds; until then nothing is known."""


class RedoLog:
    """Connections to Kafka. Construction, and every call, may raise KafkaUnreachable and Refused."""

    def __init__(self, settings: Settings) -> None:
        self._settings: KafkaSettings = settings.kafka
        self._topics = settings.topic_names
        with self._translated(), all_or_none() as make:
            self._reader = self._consumer(make, "read_committed")
            self._ends_reader = self._consumer(make, "read_uncommitted")
            self._admin = make(
                KafkaAdminClient,
                client_id=CLIENT_ID,
                request_timeout_ms=CALL_TIMEOUT_MS,
                **CONNECTION_OPTIONS,
                **self._settings.client_options(),
            )

    def _consumer(self, make: Makes, isolation_level: str) -> Any:
        options = CONSUMER_OPTIONS | {"isolation_level": isolation_level, "max_partition_fetch_bytes": FETCH_BYTES}
        return make(
            KafkaConsumer,
            client_id=CLIENT_ID,
            fetch_max_wait_ms=self._settings.fetch_max_wait_ms,
            **options,
            **self._settings.client_options(),
        )

    def describe(self) -> tuple[int, str]:
        """How many partitions there are, and the topics' id as the store's position names it.

        Raises Unfit without the topics, and where one of them has fewer partitions than the other.
        """
        names = (self._topics.decision_state, self._topics.internal)
        with self._translated():
            told = {topic["name"]: topic for topic in self._admin.describe_topics(list(names))}
        missing = [name for name in names if name not in told or told[name]["error_code"]]
        for name in missing:
            check_topic(self._settings, name, "Describe")
        if missing:
            raise Unfit([*(f"{n} does not exist" for n in missing), "`restore-projector topics create` makes them"])
        state, internal = (told[name] for name in names)
        count, other = len(state["partitions"]), len(internal["partitions"])
        if count != other:
            raise Unfit(f"{internal['name']} has {other} partitions, expected {count}, as {state['name']} has")
        return count, f"{state['topic_id']}/{internal['topic_id']}"

    @property
    def state_topic(self) -> str:
        return self._topics.decision_state

    def owners(self) -> Mapping[int, Member] | None:
        """Who has which partition; None where Kafka does not tell."""
        members = self._members()
        return None if members is None else {number: member for member in members for number in member.partitions}

    def members(self) -> int | None:
        """How many workers the group has; None where Kafka does not tell."""
        members = self._members()
        return None if members is None else len(members)

    def _members(self) -> Sequence[Member] | None:
        """None as well while the group's coordinator is on its way elsewhere."""
        try:
            state, members = describe_group(self._admin, self._settings.group_id)
        except COORDINATOR_ELSEWHERE:
            return None
        except KafkaError as error:
            raise unreachable(self._settings, error) from error
        return None if state is None else members

    def ends(self, numbers: Sequence[int]) -> Mapping[int, Ends]:
        """Where the two topics begin and end, records of open transactions included."""
        every = [place for number in numbers for place in self.places(number)]
        with self._translated():
            low = self._ends_reader.beginning_offsets(every, timeout_ms=CALL_TIMEOUT_MS) if every else {}
            high = self._ends_reader.end_offsets(every, timeout_ms=CALL_TIMEOUT_MS) if every else {}
        found = {}
        for number in numbers:
            state, internal = self.places(number)
            found[number] = Ends(low[state], low[internal], high[state], high[internal])
        return found

    def places(self, number: int) -> tuple[TopicPartition, TopicPartition]:
        """The partition of decision-state and that of internal."""
        return TopicPartition(self._topics.decision_state, number), TopicPartition(self._topics.internal, number)

    def tail(self, number: int, state: int, internal: int) -> Tail:
        """Read a partition from these offsets on. There is one reader: a tail ends when another one begins."""
        return Tail(self, number, (state, internal))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except KafkaError as error:
            raise unreachable(self._settings, error) from error

    def close(self) -> None:
        for client in (self._reader, self._ends_reader, self._admin):
            with suppress(KafkaError, OSError):
                client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Tail:
    """What a partition of the two topics holds from a place on, handed out up to where it is asked for.

    So it can be followed to exactly where a store stands that is on its way. No more is fetched than is asked for, but
    for what comes with it.
    """

    def __init__(self, log: RedoLog, number: int, start: tuple[int, int]) -> None:
        self._log = log
        self._places = log.places(number)
        self._waiting: dict[TopicPartition, deque[Record]] = {place: deque() for place in self._places}
        self._reached = dict(zip(self._places, start, strict=True))
        with log._translated():  # noqa: SLF001  a tail is a part of its log
            self._reader.assign(list(self._places))
            for place, offset in self._reached.items():
                self._reader.seek(place, offset)

    @property
    def _reader(self) -> Any:
        return self._log._reader  # noqa: SLF001  as above

    def below(self, state: int, internal: int) -> Iterator[Record]:
        """Records below these offsets that were not returned yet; waits until all of them have come.

        Records of one topic come in order. Raises KafkaUnreachable when nothing comes for too long.
        """
        ends = dict(zip(self._places, (state, internal), strict=True))
        heard = time.monotonic()
        while True:
            for place, end in ends.items():
                waiting = self._waiting[place]
                while waiting and waiting[0].offset < end:
                    yield waiting.popleft()
            missing = [place for place, end in ends.items() if self._reached[place] < end]
            if not missing:
                return
            if self._poll(missing):
                heard = time.monotonic()
            elif time.monotonic() - heard > PATIENCE_S:
                self._give_up(missing[0], ends[missing[0]])

    def has_any_below(self, state: int, internal: int) -> bool:
        """Whether there is any record below these offsets that was not returned; asked of Kafka where not known."""
        ends = dict(zip(self._places, (state, internal), strict=True))
        heard = time.monotonic()
        while True:
            if any(self._waiting[place] and self._waiting[place][0].offset < end for place, end in ends.items()):
                return True
            missing = [place for place, end in ends.items() if self._reached[place] < end]
            if not missing:
                return False
            if self._poll(missing):
                heard = time.monotonic()
            elif time.monotonic() - heard > PATIENCE_S:
                self._give_up(missing[0], ends[missing[0]])

    def _poll(self, wanted: Sequence[TopicPartition]) -> bool:
        """Fetch some of these; whether anything has come, be it a marker."""
        reader = self._reader
        with self._log._translated():  # noqa: SLF001  as above
            reader.resume(*wanted)
            reader.pause(*(place for place in self._places if place not in wanted))
            for place, records in reader.poll(POLL_MS).items():
                self._waiting[place].extend(map(_record, records))
            reached = {place: int(reader.position(place, timeout_ms=CALL_TIMEOUT_MS)) for place in self._places}
        moved, self._reached = reached != self._reached, reached
        return moved

    def _give_up(self, place: TopicPartition, end: int) -> None:
        settings = self._log._settings  # noqa: SLF001  as above
        raise KafkaUnreachable(
            settings.bootstrap_servers,
            f"{place.topic} partition {place.partition} gives nothing from offset {self._reached[place]} on, expected"
            f" records up to {end}",
        )


def _record(record: Any) -> Record:
    return Record(
        record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
    )
