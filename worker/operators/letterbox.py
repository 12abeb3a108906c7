"""Dead letters in Kafka, and what the ops topic says was done about them. Nothing here writes, and no group is joined.

An order is written after the letter that it names, so the ops topic is read from the time of the oldest letter that is
asked for. How far clocks may differ is allowed for, as records of the ops topic may have their producers' times.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType
from typing import Self

from contracts.commands import CommandDecoder
from contracts.events import Record
from contracts.orders import request_began_ms
from worker.operators.letters import Entry, Handled, Handling, Place, Selection, read_handling
from worker.operators.log import CLOCKS_MS, LogReader, Part
from worker.reading import partition_count
from worker.settings import Settings

Offsets = Mapping[int, int]
"""By partition."""
Tell = Callable[[int], None]
"""Hears how many offsets were read."""


def _tell_nobody(_: int) -> None:
    pass


class Letterbox:
    """The dead letters as they are when it is opened. For one thread, and of what iterates one thing at a time.

    Construction and all methods raise KafkaUnreachable, Refused, and Unfit if the topics are not there.
    """

    def __init__(self, settings: Settings) -> None:
        self._letters, self._ops = settings.topic_names.dead_letters, settings.topic_names.ops
        self.partitions = partition_count(settings)
        self._decoder = CommandDecoder(self.partitions, settings.kafka.partitioner)
        self._reader = LogReader(settings.kafka)
        try:
            self._bounds = self._bounds_of(self._letters, range(self.partitions))
        except BaseException:
            self._reader.close()
            raise

    def bounds(self, partition: int) -> tuple[int, int] | None:
        """First and next offset of a partition; None if there is no such partition."""
        part = self._bounds.get(partition)
        return None if part is None else (part.start, part.end)

    def entry(self, place: Place) -> Entry | None:
        """The letter of this name; None if there is none, not any more, or not yet."""
        number, offset = place
        part = self._bounds.get(number)
        if part is None or not part.start <= offset < part.end:
            return None
        record = next(self._read(self._letters, {number: Part(offset, offset + 1)}), None)
        return None if record is None else Entry.of(record)

    def entries(self, selection: Selection, tell: Tell = _tell_nobody) -> Iterator[Entry]:
        """The letters that are asked for, handled or not; those of a partition in their order."""
        for record in self._read(self._letters, self._parts(selection), tell):
            entry = Entry.of(record)
            if selection.selects(entry):
                yield entry

    def to_read(self, selection: Selection) -> int:
        """How many offsets `entries` reads."""
        return sum(map(len, self._parts(selection).values()))

    def handled(self, selection: Selection) -> Handled:
        """Which letters are handled, of those that may be asked for at least."""
        handled = Handled({number: (part.start, part.end) for number, part in self._bounds.items()})
        for place, _ in self._handlings(self._parts(selection), self._oldest(selection)):
            handled.add(place)
        return handled

    def handlings(self, entries: Collection[Entry]) -> dict[Place, list[Handling]]:
        """All that was done about each of these letters, the first thing first."""
        found: dict[Place, list[Handling]] = {entry.place: [] for entry in entries}
        oldest = min((entry.record.timestamp for entry in entries), default=None)
        for place, handling in self._handlings({place.partition for place in found}, oldest):
            if place in found:
                found[place].append(handling)
        return found

    def handled_by(self, request: str) -> Handled:
        """Which letters an invocation of a command has handled so far. Raises ValueError for what is no request."""
        handled = Handled({number: (part.start, part.end) for number, part in self._bounds.items()})
        for place, handling in self._handlings(self._bounds, request_began_ms(request)):
            if handling.request == request:
                handled.add(place)
        return handled

    def ends(self) -> dict[int, int]:
        """Where the partitions end now."""
        return {number: part.end for number, part in self._bounds_of(self._letters, self._bounds).items()}

    def newer(self, than: Offsets) -> Iterator[Entry]:
        """The letters from these offsets on, up to where these partitions end now."""
        ends = self.ends()
        yield from map(
            Entry.of, self._read(self._letters, {number: Part(at, ends[number]) for number, at in than.items()})
        )

    def _parts(self, selection: Selection) -> dict[int, Part]:
        """What of each partition has to be read."""
        if selection.since is None:
            return self._bounds
        found = self._from_time(self._letters, self._bounds, selection.since)
        return {number: Part(max(part.start, found[number]), part.end) for number, part in self._bounds.items()}

    def _oldest(self, selection: Selection) -> int | None:
        """The time (ms) of the first letter that may be asked for; None if there is none."""
        parts = {number: part for number, part in self._parts(selection).items() if len(part)}
        firsts: dict[int, int] = {}
        for record in self._read(self._letters, parts):
            firsts.setdefault(record.partition, record.timestamp)
            if len(firsts) == len(parts):
                break
        return min(firsts.values(), default=None)

    def _handlings(self, numbers: Collection[int], oldest: int | None) -> Iterator[tuple[Place, Handling]]:
        """What was done about letters of these partitions since that time (ms)."""
        if oldest is None:
            return
        bounds = self._bounds_of(self._ops, numbers)
        found = self._from_time(self._ops, bounds, oldest - CLOCKS_MS)
        parts = {number: Part(max(part.start, found[number]), part.end) for number, part in bounds.items()}
        for record in self._read(self._ops, parts):
            handling = read_handling(record, self._decoder)
            if handling is not None:
                yield handling

    def _bounds_of(self, topic: str, numbers: Collection[int]) -> dict[int, Part]:
        places = [(topic, number) for number in numbers]
        begins, ends = self._reader.begins(places), self._reader.ends(places)
        return {number: Part(begins[topic, number], ends[topic, number]) for number in numbers}

    def _from_time(self, topic: str, bounds: Mapping[int, Part], at: int) -> dict[int, int]:
        """The first offsets that are not older than this time (ms); the end where there is none."""
        found = self._reader.at([(topic, number) for number in bounds], at)
        return {
            number: part.end if offset is None else offset
            for number, part in bounds.items()
            for offset in [found[topic, number]]
        }

    def _read(self, topic: str, parts: Mapping[int, Part], tell: Tell = _tell_nobody) -> Iterator[Record]:
        total = sum(map(len, parts.values()))
        for records in self._reader.read({(topic, number): part for number, part in parts.items()}):
            yield from records
            tell(total - self._reader.remaining())

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
