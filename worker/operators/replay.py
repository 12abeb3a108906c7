"""Feeding source records again: those of a span of time, in merged order, each as it was and from where it was.

What the worker does with such a record is what it does with any: if it is not newer than what is known, it is stale and
changes nothing; if it was lost, it is made good. So a replay may cover too much, and may be repeated.

Three kinds of records are not fed again as they are. One that is a dead letter already and that this version cannot
read either would only be a dead letter once more: it is left out, and counted. One that is a dead letter and can be
read now (by a newer version, or under other limits) is fed again *as that letter*, which is then no longer open. And
one that the ops topic does not take, as it would be too large with the headers of an order, is named.

An invocation that was interrupted is gone on with by its request. Each input's records are ordered by offset within
their partition, also in the ops topic; so the largest offset that the request's orders name says how far it came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from contracts.events import Decoder, Record, Rejected
from contracts.letters import Letter
from contracts.orders import Trail, replay_order
from contracts.topics import Topics
from worker.errors import RecordTooLarge
from worker.operators.log import LogReader, Part
from worker.operators.orders import OrderWriter, Waiting, wait_until_taken
from worker.operators.outcome import Outcome, Published, Replayed
from worker.operators.pace import Pace
from worker.operators.selection import Selection
from worker.operators.set_aside import letters_of
from worker.operators.span import Extent, Span, merged
from worker.operators.trail import Written, written
from worker.ports import TopicPartition as Place
from worker.settings import Settings

Tell = Callable[[int], None]
SHOWN: Final = 10
"""Of the records that are not fed again, so many are named; all are counted."""


@dataclass(slots=True)
class Fed:
    """What became of the records of a span. `before`: orders of an earlier part of the same invocation."""

    looked_at: int = 0
    before: int = 0
    replayed: int = 0
    redriven: int = 0
    """Of those replayed: as dead letters that can be read now."""
    letters_already: int = 0
    too_large: int = 0
    named: list[str] = field(default_factory=list)
    """The first of those that are too large, with their places and sizes."""


def decoder(settings: Settings, partitions: int) -> Decoder:
    """Reads source records as the workers with these settings do."""
    return Decoder(settings.topic_names, partitions, settings.kafka.partitioner, settings.limits.value_bytes)


class Replay:
    """One invocation: `send`, then `wait`, then `outcome`. Each may raise KafkaUnreachable and Refused.

    `fed` says what became of the records so far, whatever happens.
    """

    def __init__(
        self, settings: Settings, reader: LogReader, span: Span, extent: Extent, selection: Selection, trail: Trail
    ) -> None:
        self._settings = settings
        self._topics: Topics = settings.topic_names
        self._reader = reader
        self._span = span
        self._extent = extent
        self._selection = selection
        self._trail = trail
        self._written = Written()
        self._partitions: Sequence[int] = sorted({number for _, number in extent.parts})
        self.fed = Fed()

    def resume(self) -> int:
        """Take note of what the same request has written already, and how many orders that is."""
        self._written = written(self._reader, self._topics.ops, self._partitions, self._trail.request)
        self.fed.before = self._written.orders
        return self.fed.before

    def send(self, rate: float | None, tell: Tell) -> Published:
        """Write an order for each record that is meant; returns where to look for what comes of them.

        `tell` hears how many offsets of the span were looked at.
        """
        published = Published(self._settings, self._reader, self._partitions)
        if self._written.first_ms is not None:
            published.since(self._written.first_ms)
        pace = Pace(rate)
        with OrderWriter(self._settings, self._trail) as writer:
            try:
                for number in self._partitions:
                    self._send_partition(writer, number, pace, tell)
            finally:
                self._settle(writer)
        return published

    def _settle(self, writer: OrderWriter) -> None:
        try:
            writer.flush()
        finally:
            self.fed.replayed = writer.written.total()
            self._written.ends |= writer.ends
            for number, times in writer.times.items():
                self._written.times[number] |= times

    def _send_partition(self, writer: OrderWriter, number: int, pace: Pace, tell: Tell) -> None:
        parts = {place: self._rest(place, part) for place, part in self._extent.of(number).items()}
        if not any(map(len, parts.values())):
            return
        letters = letters_of(self._reader, self._topics.dead_letters, number, self._span.since)
        looked_at = self.fed.looked_at
        for record in merged(self._reader, self._span, parts):
            self.fed.looked_at += 1
            if self._selection.wants(record):
                self._send(writer, record, letters, pace)
            if self.fed.looked_at % 100 == 0:
                tell(self.fed.looked_at)
        tell(max(self.fed.looked_at, looked_at + sum(map(len, parts.values()))))

    def _rest(self, place: Place, part: Part) -> Part:
        """What of a part the request has not replayed yet."""
        last = self._written.last.get(place)
        return part if last is None else Part(max(part.start, last + 1), part.end)

    def _send(
        self, writer: OrderWriter, record: Record, letters: Mapping[Place, Mapping[int, int]], pace: Pace
    ) -> None:
        place = (record.topic, record.partition)
        letter = letters.get(place, {}).get(record.offset)
        if letter is not None and isinstance(self._selection.decode(record), Rejected):
            self.fed.letters_already += 1
            return
        pace.wait()
        try:
            writer.send(replay_order(record, letter))
        except RecordTooLarge as error:
            self._note_too_large(record, error)
            return
        self.fed.redriven += letter is not None
        self._written.last[place] = record.offset
        self._written.first.setdefault(place, record.offset)

    def _note_too_large(self, record: Record, error: RecordTooLarge) -> None:
        self.fed.too_large += 1
        if len(self.fed.named) < SHOWN:
            self.fed.named.append(f"{record.topic} partition {record.partition} offset {record.offset}: {error}")

    def wait(self, tell: Callable[[Waiting], None]) -> None:
        """Wait until the workers have taken all orders, those of an earlier part of the invocation too."""
        wait_until_taken(self._settings, self._written.ends, tell)

    def outcome(self, published: Published) -> Outcome:
        """What has come of it."""
        return published.outcome(Replayed(self._written.times, self._was_replayed))

    def _was_replayed(self, letter: Letter) -> bool:
        place = (letter.topic, letter.partition)
        first, last = self._written.first.get(place), self._written.last.get(place)
        return first is not None and last is not None and first <= letter.offset <= last
