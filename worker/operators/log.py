"""Parts of topics, read once from offset to offset: what operators' commands look at.

Committed records only, by a client that is in no consumer group and so disturbs none. Where a part ends is asked with
`read_uncommitted`, as the last committed offset may lag behind a commit that has returned; a part with an open
transaction in it is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import (
    KafkaConnectionError,
    KafkaError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from kafka.protocol.consumer.offsets import OffsetSpec

from contracts.events import Record
from worker.errors import KafkaUnreachable, Refused, Unfit
from worker.kafka import CONNECTION_OPTIONS, CONSUMER_OPTIONS
from worker.kafka_clients import all_or_none
from worker.ports import TopicPartition as Place
from worker.reading import Gap
from worker.record_batches import read_batches_here
from worker.refusals import refusal_of, unreachable
from worker.settings import KafkaSettings

CLIENT_ID: Final = "restore-projector-operator"
POLL_MS: Final = 100
"""What ends with the marker of a transaction, as outputs do, is waited for so long at its end."""
CALL_TIMEOUT_MS: Final = 15_000
"""For a question about the offsets of many partitions."""
CLOCKS_MS: Final = 10 * 60 * 1000
"""How far the clocks of two brokers, or of a broker and of whoever gave a command, may differ."""
SILENCE_S: Final = 60.0
"""How long nothing may come although there is something. A transaction that holds it up ends within 15 minutes at
most, by the broker's `transaction.max.timeout.ms`; who waits for one is told by `status`."""


@dataclass(frozen=True, slots=True)
class Part:
    """Offsets of a partition: from `start` to before `end`."""

    start: int
    end: int

    def __len__(self) -> int:
        return max(0, self.end - self.start)


class LogReader:
    """Reads parts of topics. Every call may raise KafkaUnreachable and Refused, one about offsets Unfit as well: where
    a topic has fewer partitions than it is asked about.

    `on_gap` is told of records that were deleted before they could be read.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        on_gap: Callable[[Gap], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        read_batches_here()
        self._settings = settings
        self._on_gap = on_gap
        self._parts: dict[Place, Part] = {}
        self._held: set[Place] = set()
        self._monotonic = monotonic
        self._silent_s = 0.0
        try:
            with all_or_none() as make:
                options = CONSUMER_OPTIONS | settings.client_options()
                more = {"client_id": CLIENT_ID, "fetch_max_wait_ms": settings.fetch_max_wait_ms}
                self._committed = make(KafkaConsumer, **options, **more)
                # Not asked of the consumer, whose answer lacks partitions of which it does not know the leader yet.
                self._admin = make(
                    KafkaAdminClient,
                    client_id=CLIENT_ID,
                    request_timeout_ms=CALL_TIMEOUT_MS,
                    **CONNECTION_OPTIONS,
                    **settings.client_options(),
                )
        except KafkaError as error:
            raise unreachable(settings, error) from error

    # Where parts begin and end

    def begins(self, places: Iterable[Place]) -> dict[Place, int]:
        """The first offsets that are still there."""
        return {place: offset or 0 for place, offset in self._offsets(places, OffsetSpec.EARLIEST).items()}

    def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """The next offsets to be written, records of open transactions included."""
        return {place: offset or 0 for place, offset in self._offsets(places, OffsetSpec.LATEST).items()}

    def at(self, places: Iterable[Place], time_ms: int) -> dict[Place, int | None]:
        """The first offsets whose records have this timestamp or a later one; None where there is none."""
        return self._offsets(places, max(time_ms, 0))

    def committed(self, group: str, places: Iterable[Place]) -> dict[Place, int]:
        """The offsets that a group has committed; 0 where it has none. Not those that are still pending."""
        asked = [TopicPartition(*place) for place in places]
        found = self._ask(lambda: self._admin.list_group_offsets({group: asked}))[group] if asked else {}
        answers = {(tp.topic, tp.partition): answer for tp, answer in found.items()}
        return {(tp.topic, tp.partition): _offset(answers.get((tp.topic, tp.partition))) for tp in asked}

    def _offsets(self, places: Iterable[Place], which: int) -> dict[Place, int | None]:
        asked = {TopicPartition(*place): which for place in places}
        try:
            found = self._ask(lambda: self._admin.list_partition_offsets(asked)) if asked else {}
        except KafkaUnreachable as error:
            if isinstance(error.__cause__, UnknownTopicOrPartitionError):
                self._check_partitions(asked)
            raise
        return {
            (tp.topic, tp.partition): int(answer.offset) if answer.offset >= 0 else None for tp, answer in found.items()
        }

    def _check_partitions(self, asked: Iterable[TopicPartition]) -> None:
        """Raises Unfit if a topic has fewer partitions than are asked about: how many there are another topic told."""
        expected: dict[str, int] = {}
        for tp in asked:
            expected[tp.topic] = max(expected.get(tp.topic, 0), tp.partition + 1)
        told = self._ask(lambda: self._admin.describe_topics(list(expected)))
        got = {topic["name"]: len(topic["partitions"]) for topic in told}
        problems = [
            f"{name} has {got.get(name, 0)} partitions, expected at least {count}, as another topic of ours has"
            for name, count in expected.items()
            if got.get(name, 0) < count
        ]
        if problems:
            raise Unfit(problems)

    def _ask(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except KafkaError as error:
            raise unreachable(self._settings, error) from error

    # Reading

    def read(self, parts: Mapping[Place, Part]) -> Iterator[list[Record]]:
        """The records of these parts, as they come: each part's in its order."""
        self.begin(parts)
        while not self.done:
            yield self.poll()

    def begin(self, parts: Mapping[Place, Part]) -> None:
        """Read these parts from now on."""
        self._parts = {place: part for place, part in parts.items() if len(part)}
        self._held = set()
        self._silent_s = 0.0
        self._committed.assign([TopicPartition(*place) for place in self._parts])
        for place, part in self._parts.items():
            self._committed.seek(TopicPartition(*place), part.start)

    @property
    def done(self) -> bool:
        """All parts were read to their ends."""
        return not self._parts

    def ended(self, place: Place) -> bool:
        """Nothing of this place is still to come."""
        return place not in self._parts

    def remaining(self) -> int:
        """How many offsets are still to be read."""
        return sum(map(len, self._parts.values()))

    def hold(self, places: Iterable[Place]) -> None:
        """Do not fetch from these for now, from all others."""
        self._held = set(places)

    def poll(self) -> list[Record]:
        """What has come of the parts."""
        began = self._monotonic()
        assigned = self._committed.assignment()
        held = [tp for tp in assigned if self._is_still((tp.topic, tp.partition))]
        self._committed.resume(*(tp for tp in assigned if tp not in held))
        self._committed.pause(*held)
        try:
            polled = self._committed.poll(POLL_MS)
        except KafkaConnectionError:
            polled = {}
        except OffsetOutOfRangeError as error:
            self._skip(error)
            polled = {}
        except TopicAuthorizationFailedError as error:
            raise Refused("\n".join(refusal_of("Read", "topic", name) for name in sorted(error.args[0]))) from error
        except KafkaError as error:
            raise unreachable(self._settings, error) from error
        found = [record for tp, records in polled.items() for record in self._within(tp, records)]
        if self._note_positions() or self._held:
            self._silent_s = 0.0
        else:
            self._note_silence(self._monotonic() - began)
        return found

    def _is_still(self, place: Place) -> bool:
        return place not in self._parts or place in self._held

    def _within(self, tp: TopicPartition, records: list[Any]) -> Iterator[Record]:
        part = self._parts.get((tp.topic, tp.partition))
        if part is not None:
            yield from (_record(record) for record in records if part.start <= record.offset < part.end)

    def _note_positions(self) -> bool:
        """Note how far the reader came, markers and taken back records included; whether it moved."""
        moved = False
        for place, part in list(self._parts.items()):
            reached = self._position(place)
            if reached != part.start:
                moved = True
                self._parts[place] = Part(reached, part.end)
            if reached >= part.end:
                del self._parts[place]
        return moved

    def _note_silence(self, polled_s: float) -> None:
        """Only time within polls counts: how long whoever reads takes over records is no fault of Kafka's."""
        self._silent_s += polled_s
        if self._parts and self._silent_s > SILENCE_S:
            raise unreachable(self._settings, KafkaError(self._silence()))

    def _position(self, place: Place) -> int:
        tp = TopicPartition(*place)
        return int(self._ask(lambda: self._committed.position(tp, timeout_ms=CALL_TIMEOUT_MS)))

    def _silence(self) -> str:
        (topic, number), part = next(iter(self._parts.items()))
        return (
            f"for {SILENCE_S:.0f} s it gave nothing of {topic} partition {number} from offset {part.start} to "
            f"{part.end}; an open transaction does that, and `restore-projector status` shows it"
        )

    def _skip(self, error: OffsetOutOfRangeError) -> None:
        """Go on from where the log begins, and say so."""
        lost = [(tp.topic, tp.partition) for tp in error.args[0]]
        for place, low in self.begins(lost).items():
            part = self._parts.get(place)
            if part is not None:
                self._on_gap(Gap(*place, part.start, low))
                self._parts[place] = Part(low, part.end)
        self.begin(dict(self._parts))  # it may hold records of other partitions that it will not return again

    def close(self) -> None:
        for client in (self._committed, self._admin):
            with suppress(KafkaError, OSError):
                client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _offset(answer: Any) -> int:
    return 0 if answer is None else max(0, int(answer.offset))


def _record(record: Any) -> Record:
    return Record(
        record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
    )
