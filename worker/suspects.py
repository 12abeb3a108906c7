"""Which input makes a record that Kafka does not take by its size?

Kafka refuses the transaction, not the input. So the batch that was refused is tried again a partition at a time, then
in halves, until the input is alone; then it is known, and goes to the dead letters instead. All others go through on
the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from contracts.events import Record
from worker.batch import Batch

Place: TypeAlias = tuple[str, int, int]
"""Topic, partition and offset of an input."""


@dataclass(slots=True)
class _Suspect:
    """A partition that has the culprit among its next `left` records; they are tried `limit` at a time."""

    limit: int
    left: int


class Suspects:
    """What is known of refused batches. It outlives take-overs: the records come again in the same order."""

    def __init__(self) -> None:
        self._suspects: dict[int, _Suspect] = {}
        self._culprits: set[Place] = set()

    def refused(self, batches: Sequence[Batch]) -> None:
        """Kafka did not take what these batches, one transaction, would have published."""
        alone = len(batches) == 1
        for batch in batches:
            taken = len(batch.taken)
            if alone and taken == 1:
                self._culprits.add(_place(batch.taken[0]))
            if taken:
                self._suspects[batch.partition.number] = _Suspect(max(1, taken // 2) if alone else taken, taken)

    def went_through(self, batch: Batch) -> None:
        """Nothing is wrong with these records, or what was wrong has been set aside."""
        if not self._suspects:
            return
        found = self._culprits & set(map(_place, batch.taken))
        suspect = self._suspects.get(batch.partition.number)
        if suspect is not None:
            suspect.left -= len(batch.taken)
            if found or suspect.left <= 0:
                del self._suspects[batch.partition.number]
        self._culprits -= found

    def limit(self, partition: int) -> int | None:
        """How many records of a suspect partition to try next, in a transaction of their own; None if it is none."""
        suspect = self._suspects.get(partition)
        return None if suspect is None else min(suspect.limit, suspect.left)

    def is_culprit(self, record: Record) -> bool:
        """Whether this is the input that was found."""
        return bool(self._culprits) and _place(record) in self._culprits


def _place(record: Record) -> Place:
    return record.topic, record.partition, record.offset
