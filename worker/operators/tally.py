"""What a list of dead letters says: how many of each reason, and the newest of them. Pure, and of a fixed size."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from worker.operators.letters import Entry, Place


@dataclass(slots=True)
class Count:
    """Of one reason: how many letters are open and handled; when the first and the last were set aside, in ms."""

    open: int = 0
    handled: int = 0
    oldest: int = 0
    newest: int = 0

    def add(self, at: int, *, handled: bool) -> None:
        self.oldest = min(self.oldest, at) if self.open or self.handled else at
        self.newest = max(self.newest, at)
        if handled:
            self.handled += 1
        else:
            self.open += 1


@dataclass(frozen=True, slots=True)
class Listed:
    """A letter without its value, which may be large; `bytes`: the value's size, None where it is null."""

    entry: Entry
    bytes: int | None


@dataclass(slots=True)
class Tally:
    """Counts all letters that it is given and keeps the newest `limit` of them."""

    limit: int
    counts: dict[str, Count] = field(default_factory=dict)
    _newest: list[tuple[int, Place, Listed]] = field(default_factory=list)

    def add(self, entry: Entry, *, handled: bool = False) -> None:
        record = entry.record
        self.counts.setdefault(entry.reason, Count()).add(record.timestamp, handled=handled)
        key = (record.timestamp, entry.place)
        full = len(self._newest) >= self.limit
        if full and (not self.limit or key < self._newest[0][:2]):
            return
        size = None if record.value is None else len(record.value)
        listed = Listed(replace(entry, record=record._replace(value=None)), size)
        push = heapq.heapreplace if full else heapq.heappush
        push(self._newest, (*key, listed))

    @property
    def open(self) -> int:
        return sum(count.open for count in self.counts.values())

    @property
    def handled(self) -> int:
        return sum(count.handled for count in self.counts.values())

    @property
    def newest(self) -> list[Listed]:
        """The newest first."""
        return [listed for _, _, listed in sorted(self._newest, key=lambda kept: kept[:2], reverse=True)]

    def by_reason(self) -> Iterator[tuple[str, Count]]:
        """The most frequent first."""
        yield from sorted(self.counts.items(), key=lambda row: (-row[1].open - row[1].handled, row[0]))
