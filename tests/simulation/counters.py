"""What must happen now and then: a fault that is never met proves nothing.

Three kinds are counted: each fault in each phase of a partition's life that the table of faults names, each kind of
input, and situations that only come about when things meet. After enough histories each must have been met.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

SITUATIONS: Final[tuple[str, ...]] = (
    "a late commit was refused",
    "a late commit was taken",
    "a late produce was refused",
    "a late produce was taken",
    "a process was fenced",
    "a zombie went on",
    "compaction removed records",
    "full restore: a full restore was not finished with removing what was there",
    "full restore: the position is so old that the log may have forgotten deletions behind it",
    "full restore: the store has no position",
    "full restore: the store contradicts itself",
    "input transaction aborted",
    "input transaction committed",
    "merge waited",
    "refused: PositionMoved",
    "refused: ProducerFencedError",
    "refused: RecordTooLarge",
    "refused: UnknownMemberIdError",
    "restored from a tail",
    "stopped for an offset that went back",
    "took over under an open transaction",
    "waited for pending offsets",
)


ENOUGH: Final = 3_000
"""Histories after which whatever must happen has happened: the rarest of all is met about once in 400."""


class Counters:
    """How often what was met."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()

    def met(self, *what: str) -> None:
        self.counts[what] += 1

    def add(self, other: Counters) -> None:
        self.counts.update(other.counts)

    def never(self, wanted: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
        """What was never met of what must be."""
        return (what for what in wanted if not self.counts[what])
