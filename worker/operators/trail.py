"""How far an invocation came: the ops topic itself says it, by the orders that have its request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from contracts.events import Record
from contracts.orders import headers_of_order, request_began_ms
from worker.operators.log import CLOCKS_MS, LogReader, Part
from worker.ports import TopicPartition as Place


@dataclass(slots=True)
class Written:
    """The orders of an invocation that are in the ops topic.

    `last`: of each input and partition, the largest offset of a record that was replayed. `ends` and `times` are as of
    `worker.operators.orders.OrderWriter`; `first_ms`: the timestamp of the earliest, None without any.
    """

    orders: int = 0
    last: dict[Place, int] = field(default_factory=dict)
    first: dict[Place, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    times: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    first_ms: int | None = None

    def note(self, record: Record) -> None:
        """One of its orders."""
        self.orders += 1
        self.ends[record.partition] = record.offset + 1
        self.times[record.partition].add(record.timestamp)
        self.first_ms = min(record.timestamp, self.first_ms or record.timestamp)
        headers = headers_of_order(record)
        if headers.get("op") == b"replay":
            place = headers["rp_topic"].decode(), int(headers["rp_partition"])
            offset = int(headers["rp_offset"])
            self.last[place] = max(offset, self.last.get(place, offset))
            self.first[place] = min(offset, self.first.get(place, offset))


def written(reader: LogReader, ops: str, partitions: Iterable[int], request: str) -> Written:
    """What an invocation has written into the ops topic. Raises ValueError for what is no request."""
    places = [(ops, number) for number in partitions]
    starts = reader.at(places, request_began_ms(request) - CLOCKS_MS)
    ends = reader.ends(places)
    parts = {place: Part(start, ends[place]) for place, start in starts.items() if start is not None}
    found = Written()
    name = request.encode()
    for records in reader.read(parts):
        for record in records:
            if headers_of_order(record).get("request") == name:
                found.note(record)
    return found
