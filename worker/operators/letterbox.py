"""Dead letters in Kafka, and what the ops topic says was done about them. Nothing here writes, and no group is joined.

An order is written after the letter that it names, so the ops topic is read from the time of the oldest letter that is
asked for. How far clocks may differ is allowed for, as records of the ops topic may have their producers' times.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import TracebackType
from typing import Final, Self

from contracts.commands import CommandDecoder
from worker.operators.letters import Entry, Handled, Handling, Place, Selection, read_handling
from worker.operators.scan import Offsets, Scanner, Tell, tell_nobody
from worker.settings import Settings

CLOCKS_DIFFER_MS: Final = 3_600_000
"""How far the clock of whoever writes orders may be behind Kafka's: further than a clock is that is looked after."""


class Letterbox:
    """The dead letters as they are when it is opened. For one thread.

    Construction and all methods raise KafkaUnreachable, Refused, and Unfit if a topic is not there.
    """

    def __init__(self, settings: Settings) -> None:
        self._letters, self._ops = settings.topic_names.dead_letters, settings.topic_names.ops
        self._partitioner = settings.kafka.partitioner
        self._scanner = Scanner(settings.kafka)
        try:
            self._bounds = self._scanner.bounds(self._letters)
        except BaseException:
            self._scanner.close()
            raise

    @property
    def partitions(self) -> int:
        return len(self._bounds)

    def bounds(self, partition: int) -> tuple[int, int] | None:
        """First and next offset of a partition; None if there is no such partition."""
        return self._bounds.get(partition)

    def entry(self, place: Place) -> Entry | None:
        """The letter of this name; None if there is none, not any more, or not yet."""
        low, end = self._bounds.get(place.partition, (0, 0))
        if not low <= place.offset < end:
            return None
        number, offset = place
        found = self._scanner.firsts(self._letters, {number: offset}, {number: end}).get(number)
        return None if found is None or found.offset != place.offset else Entry.of(found)

    def entries(self, selection: Selection, tell: Tell = tell_nobody) -> Iterator[Entry]:
        """The letters that are asked for, handled or not; those of a partition in their order."""
        for record in self._scanner.scan(self._letters, self._starts(selection), self._ends(self._bounds), tell):
            entry = Entry.of(record)
            if selection.selects(entry):
                yield entry

    def to_read(self, selection: Selection) -> int:
        """How many offsets `entries` reads."""
        return sum(self._bounds[number][1] - start for number, start in self._starts(selection).items())

    def handled(self, selection: Selection, tell: Tell = tell_nobody) -> Handled:
        """Which letters are handled, of those that may be asked for at least."""
        handled = Handled(self._bounds)
        for place, _ in self._handlings(self._oldest(selection), tell):
            handled.add(place)
        return handled

    def handlings(self, entries: Collection[Entry]) -> dict[Place, list[Handling]]:
        """All that was done about each of these letters, the first thing first."""
        found: dict[Place, list[Handling]] = {entry.place: [] for entry in entries}
        since: dict[int, int] = {}
        for entry in entries:
            number, at = entry.place.partition, entry.record.timestamp
            since[number] = min(at, since.get(number, at))
        for place, handling in self._handlings(since):
            if place in found:
                found[place].append(handling)
        return found

    def ends(self) -> Offsets:
        """Where the partitions end now."""
        return self._ends(self._scanner.bounds(self._letters))

    def newer(self, than: Offsets) -> Iterator[Entry]:
        """The letters from these offsets on, up to where these partitions end now."""
        yield from map(Entry.of, self._scanner.scan(self._letters, than, self.ends()))

    def _starts(self, selection: Selection) -> dict[int, int]:
        """Where to begin to read letters, of each partition that has some."""
        low = {number: low for number, (low, end) in self._bounds.items() if low < end}
        if selection.since is None or not low:
            return low
        found = self._scanner.from_times(self._letters, dict.fromkeys(low, selection.since))
        return {number: max(low[number], at) for number, at in found.items()}

    def _oldest(self, selection: Selection) -> dict[int, int]:
        """The time (ms) of the first letter that may be asked for, of each partition that has one."""
        firsts = self._scanner.firsts(self._letters, self._starts(selection), self._ends(self._bounds))
        return {number: first.timestamp for number, first in firsts.items()}

    def _handlings(self, since: Mapping[int, int], tell: Tell = tell_nobody) -> Iterator[tuple[Place, Handling]]:
        """What was done about letters since these times (ms), in these partitions."""
        if not since:
            return
        bounds = self._scanner.bounds(self._ops)
        times = {number: at - CLOCKS_DIFFER_MS for number, at in since.items() if number in bounds}
        starts = {n: max(at, bounds[n][0]) for n, at in self._scanner.from_times(self._ops, times).items()}
        decoder = CommandDecoder(len(bounds), self._partitioner)
        for record in self._scanner.scan(self._ops, starts, self._ends(bounds), tell):
            handling = read_handling(record, decoder)
            if handling is not None:
                yield handling

    @staticmethod
    def _ends(bounds: Mapping[int, tuple[int, int]]) -> dict[int, int]:
        return {number: end for number, (_, end) in bounds.items()}

    def close(self) -> None:
        self._scanner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
