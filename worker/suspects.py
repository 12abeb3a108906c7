"""Which input makes a record that Kafka does not take by its size?

Kafka refuses the transaction, not the input. So the batch that was refused is tried again a partition at a time, then
in halves, until the input is alone; then it is known, and goes to the dead letters instead. All others go through on
the way.

Where no input is at work but new rules (`worker.recompute`), the same is done with the runs that were decided again.
One whose new document Kafka does not take keeps its old one, as there is nothing that could be set aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from contracts.events import Record
from projections.record import Key
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
        self._slices: dict[int, int] = {}
        """Of each partition, how many runs to decide again at once; those not named: as many as usual."""
        self.passed_over: set[Key] = set()
        """Runs whose new documents are too large."""

    def refused(self, batches: Sequence[Batch]) -> list[Key]:
        """Kafka did not take what these batches, one transaction, would have published.

        Returns runs that were found now to be those whose new documents it does not take.
        """
        alone = len(batches) == 1
        if alone and batches[0].again:
            return self._narrow(batches[0])
        for batch in batches:
            taken = len(batch.taken)
            if alone and taken == 1:
                self._culprits.add(_place(batch.taken[0]))
            if taken:
                self._suspects[batch.partition.number] = _Suspect(max(1, taken // 2) if alone else taken, taken)
        return []

    def _narrow(self, batch: Batch) -> list[Key]:
        if len(batch.again) > 1:
            self._slices[batch.partition.number] = len(batch.again) // 2
            return []
        self._slices.pop(batch.partition.number, None)
        self.passed_over.update(batch.again)
        return list(batch.again)

    def slice_runs(self, partition: int, usual: int) -> int:
        """How many runs of a partition to decide again at once."""
        return self._slices.get(partition, usual)

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
