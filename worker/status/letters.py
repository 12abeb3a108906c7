"""How many dead letters are open, counted cheaply: the newest of each partition, less what the ops topic says of them.

A letter is open until a record of the ops topic names it (`worker.operators.letters`). Where there are no letters, the
ops topic is not read at all; where there are, it is read from the time of the oldest that is counted. Who looks again
reads only what came since. What a look has no time for is left to the next one, and the count says that it is inexact.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import TopicAuthorizationFailedError

from contracts.commands import CommandDecoder
from contracts.events import Record
from contracts.ids import Partitioner
from contracts.topics import Topics
from worker.operators.letters import read_handling
from worker.operators.log import CLOCKS_MS
from worker.status.facts import Letters

LETTERS_LOOKED_AT: Final = 5_000
"""Offsets of each partition, the newest: enough to say that there are many, and some MB to read."""
READ_TIMEOUT_S: Final = 5.0
"""For the letters, and for the orders, of one look: half a million orders."""
ORDERS_LOOKED_AT: Final = 2 * LETTERS_LOOKED_AT
"""Of each partition, the newest, before all of them since the oldest letter are."""
POLL_MS: Final = 100

Offsets = Mapping[TopicPartition, int]


class AsksOffsets(Protocol):
    """The first and the next offset of each of these partitions, of committed records."""

    def __call__(self, partitions: list[TopicPartition]) -> Mapping[TopicPartition, tuple[int, int]]: ...


@dataclass(slots=True)
class Window:
    """The letters of a partition that are counted: those from `start` on, as far as `next`.

    `times`: when each was set aside, by offset, in ms. `orders`: the next offset of the ops topic; None before any.
    """

    start: int
    next: int
    times: dict[int, int] = field(default_factory=dict)
    handled: set[int] = field(default_factory=set)
    orders: int | None = None

    def forget_before(self, low: int) -> None:
        """Letters below are not kept any more."""
        for offset in [offset for offset in self.times if offset < low]:
            del self.times[offset]
        self.handled &= self.times.keys()

    @property
    def open(self) -> int:
        return len(self.times) - len(self.handled)


class LetterCount:
    """Counts, again and again over the same windows."""

    def __init__(self, topics: Topics, partitioner: Partitioner) -> None:
        self._letters, self._ops = topics.dead_letters, topics.ops
        self._decoder = CommandDecoder(1, partitioner)
        self._windows: dict[int, Window] = {}

    def count(
        self, reader: KafkaConsumer, offsets: AsksOffsets, numbers: Iterable[int]
    ) -> Mapping[int, Letters] | None:
        """Of each partition; None without the right to read them."""
        every = [TopicPartition(self._letters, number) for number in numbers]
        try:
            bounds = offsets(every)
            for tp, (low, end) in bounds.items():
                self._go_on(tp.partition, low, end)
            self._read_letters(reader, bounds)
            behind = self._read_orders(reader, offsets)
        except TopicAuthorizationFailedError:
            return None
        return {
            tp.partition: Letters(
                self._windows[tp.partition].open,
                more=self._windows[tp.partition].start > low or self._windows[tp.partition].next < end,
                settled=tp.partition not in behind,
            )
            for tp, (low, end) in bounds.items()
        }

    def _go_on(self, number: int, low: int, end: int) -> None:
        """Where it was left; from the newest where nothing was read yet, or the topic was made anew."""
        window = self._windows.get(number)
        if window is None or not low <= window.next <= end:
            newest = max(low, end - LETTERS_LOOKED_AT)
            self._windows[number] = Window(newest, newest)
        else:
            window.forget_before(low)

    def _read_letters(self, reader: KafkaConsumer, bounds: Mapping[TopicPartition, tuple[int, int]]) -> None:
        begin = {tp: self._windows[tp.partition].next for tp in bounds}
        reading = _Reading(reader, begin, {tp: end for tp, (_, end) in bounds.items()})
        for record in reading.records():
            self._windows[record.partition].times[record.offset] = record.timestamp
        for tp, reached in reading.reached.items():
            self._windows[tp.partition].next = reached

    def _read_orders(self, reader: KafkaConsumer, offsets: AsksOffsets) -> set[int]:
        """Partitions of which it was not read to the end, so that some letters may be handled nevertheless."""
        asked = {number: window for number, window in self._windows.items() if window.open}
        if not asked:
            return set()
        bounds = offsets([TopicPartition(self._ops, number) for number in asked])
        begin = self._begin(reader, bounds)
        if self._newest_orders_do(reader, begin, bounds):
            return set()
        reading = _Reading(reader, begin, {tp: end for tp, (_, end) in bounds.items()})
        self._note(reading)
        for tp, reached in reading.reached.items():
            asked[tp.partition].orders = reached
        return {tp.partition for tp, (_, end) in bounds.items() if reading.reached[tp] < end}

    def _newest_orders_do(
        self, reader: KafkaConsumer, begin: Offsets, bounds: Mapping[TopicPartition, tuple[int, int]]
    ) -> bool:
        """Whether the newest orders handle all letters that are counted, as after a redrive of very many."""
        newest = {tp: max(at, bounds[tp][1] - ORDERS_LOOKED_AT) for tp, at in begin.items()}
        if newest == begin:
            return False
        reading = _Reading(reader, newest, {tp: end for tp, (_, end) in bounds.items()})
        self._note(reading)
        if any(self._windows[tp.partition].open for tp in bounds):
            return False
        for tp, reached in reading.reached.items():
            self._windows[tp.partition].orders = reached
        return True

    def _note(self, reading: _Reading) -> None:
        """Which of the letters that are counted these orders handle."""
        for record in reading.records():
            handling = read_handling(_record(record), self._decoder) if _names_a_letter(record) else None
            if handling is not None and handling[0].offset in self._windows[record.partition].times:
                self._windows[record.partition].handled.add(handling[0].offset)

    def _begin(
        self, reader: KafkaConsumer, bounds: Mapping[TopicPartition, tuple[int, int]]
    ) -> dict[TopicPartition, int]:
        """Where orders were left; at first, and if their topic was made anew, from the time of the oldest letter."""
        begin: dict[TopicPartition, int] = {}
        times: dict[TopicPartition, int] = {}
        for tp, (low, end) in bounds.items():
            window = self._windows[tp.partition]
            if window.orders is not None and window.orders <= end:
                begin[tp] = max(low, window.orders)
            else:
                times[tp] = max(0, min(window.times.values()) - CLOCKS_MS)
        found = reader.offsets_for_times(times) if times else {}
        return begin | {
            tp: bounds[tp][1] if answer is None else max(bounds[tp][0], int(answer.offset))
            for tp, answer in found.items()
        }


class _Reading:
    """Records from offsets to offsets, as far as there is time for. `reached`: the next offsets to read."""

    def __init__(self, reader: KafkaConsumer, begin: Offsets, ends: Offsets) -> None:
        self._reader = reader
        self._ends = ends
        self.reached = dict(begin)

    def records(self) -> Iterator[Any]:
        left = {tp for tp, at in self.reached.items() if at < self._ends[tp]}
        self._reader.assign(sorted(left))
        for tp in left:
            self._reader.seek(tp, self.reached[tp])
        until = time.monotonic() + READ_TIMEOUT_S
        while left and time.monotonic() < until:
            for records in self._reader.poll(POLL_MS).values():
                yield from records
            self.reached |= {tp: int(self._reader.position(tp)) for tp in left}
            left = {tp for tp in left if self.reached[tp] < self._ends[tp]}


def _names_a_letter(record: Any) -> bool:
    return any(name == "letter" for name, _ in record.headers)


def _record(record: Any) -> Record:
    return Record(
        record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
    )
