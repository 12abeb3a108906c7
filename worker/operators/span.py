"""A span of time in the inputs: which parts of their partitions it is, and its records in merged order.

Time is the records' timestamps. Where a topic stamps records as they are appended, a span is from offset to offset;
where producers stamp them, a record of the span may lie anywhere behind its beginning, so all from there on are looked
at. What retention has removed cannot be fed again: it is said where the log of an input begins within the span, for
records before that may have been in it. A log that is empty by now tells no time; there it is said only if the span
goes back farther than records are kept. (By size a log never loses its last records, so age alone empties it.)

What the workers have not taken yet is left to them: a span ends at what their group has committed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from contracts.events import Record
from worker.merge import Merge
from worker.operators.log import CLOCKS_MS, LogReader, Part
from worker.ports import TopicPartition as Place
from worker.topics import TopicState

HOLD_BYTES: Final = 4 << 20
"""What of one input waits in memory at most for records of the others that may come before it."""
TAKE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` to before `until`, in ms, of these inputs (in the order in which equal timestamps are merged)."""

    since: int
    until: int
    topics: Sequence[str]

    def holds(self, timestamp: int) -> bool:
        return self.since <= timestamp < self.until


@dataclass(frozen=True, slots=True)
class Removed:
    """An input's log begins at `offset`, within the span: what was before that was removed."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the span lies, by input and partition, and what of it may have been removed."""

    parts: Mapping[Place, Part]
    removed: Sequence[Removed]

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    def of(self, partition: int) -> dict[Place, Part]:
        """The parts of one partition."""
        return {place: part for place, part in self.parts.items() if place[1] == partition}


def find(
    reader: LogReader, span: Span, partitions: Sequence[int], topics: Mapping[str, TopicState], group: str
) -> Extent:
    """Where the span lies in these partitions, as far as the workers' `group` has come.

    `topics`: as Kafka describes them. Raises KafkaUnreachable and Refused.
    """
    places = [(topic, number) for topic in span.topics for number in partitions]
    lows, ends = reader.begins(places), reader.committed(group, places)
    now = time.time_ns() // 1_000_000
    first, behind = reader.at(places, span.since), reader.at(places, span.until)
    parts, removed = {}, []
    for place in places:
        start = _or(first[place], ends[place])
        configs = topics[place[0]].configs
        appended = configs.get("message.timestamp.type") == "LogAppendTime"
        end = _or(behind[place], ends[place]) if appended else ends[place]
        parts[place] = Part(start, min(end, ends[place]))
        if start == lows[place] > 0 and (first[place] is not None or _may_be_too_old(span.since, now, configs)):
            removed.append(Removed(*place, lows[place]))
    return Extent(parts, removed)


def _may_be_too_old(since: int, now: int, configs: Mapping[str, str]) -> bool:
    """Whether retention by age may have removed records of this time. What is not told may be anything."""
    kept = int(configs.get("retention.ms", "0"))
    return kept >= 0 and since < now - kept + CLOCKS_MS


def _or(offset: int | None, otherwise: int) -> int:
    return otherwise if offset is None else offset


def merged(reader: LogReader, span: Span, parts: Mapping[Place, Part]) -> Iterator[Record]:
    """The records of the span in one partition's parts, in the order in which the worker merges them."""
    merge = Merge(span.topics)
    place_of = {topic: (topic, number) for topic, number in parts}
    reader.begin(parts)
    while True:
        ended = [topic for topic in span.topics if topic not in place_of or reader.ended(place_of[topic])]
        taken = merge.take(TAKE, ended)
        yield from (record for record in taken if span.holds(record.timestamp))
        if taken:
            continue
        if reader.done:
            return
        reader.hold(place for topic, place in place_of.items() if merge.buffered_bytes(topic) >= HOLD_BYTES)
        for record in reader.poll():
            merge.add(record)
