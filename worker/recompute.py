"""Deciding everything in a partition again, after rules or wording have changed, while it goes on with live events.

The compacted topic of documents names every run; each document holds every fact that its decision used. So it is read
once from its beginning to where it ended when the partition began to run, a slice a turn: a document that this version
decides in the same way is passed over without asking the store; any other run is decided again as an operator's order
would have it, from the store's records, guarded by its position, published in a transaction with origin `recompute`.
What lies behind that end was published by this version. Reading the log and not the store's keys needs no order of keys
that a Redis may change, bounds memory by a slice, and can be gone on with from an offset.

`reached` is committed with the offsets from time to time. Whoever takes the partition over goes on there, or, of
another policy, begins anew: to decide a run twice changes nothing the second time.

A live event may come to a run that was not decided again yet. Then it would be published as a live change what is
really the new rules' doing, and alert somebody. So until all is done, whatever a batch touches is decided again first
(`worker.batch`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from contracts.decision import decode
from contracts.events import Record
from contracts.ids import split_run_key
from projections.afresh import is_decided_otherwise
from projections.record import Key
from worker.ports import LogSlice, Position

SLICE_RUNS: Final = 500
"""Runs decided again in one transaction: about 50 ms of work, for which live events wait."""
TELL_S: Final = 1.0
"""How often it is committed how far it has come."""


@dataclass(slots=True)
class Recompute:
    """How far a partition has come. `begin`, `end`: offsets of decision-state between which documents are looked at.

    `at`: where reading goes on. `pending`: runs that are to be decided again, of what was read since `safe`. `looked`,
    `published`: how many documents so far. `began_at`: monotonic seconds; `told_at`: when it was last committed how far
    it has come.
    """

    begin: int
    at: Position
    end: int
    began_at: float
    told_at: float
    safe: int = 0
    pending: deque[Key] = field(default_factory=deque)
    looked: int = 0
    published: int = 0

    @property
    def is_read(self) -> bool:
        return self.at.state >= self.end

    @property
    def reached(self) -> int:
        """The offset up to which nothing is left to do."""
        return self.safe if self.pending else min(self.at.state, self.end)

    @property
    def left(self) -> int:
        """How many records are still to be read, those that compaction has removed counted."""
        return max(0, self.end - self.at.state)

    def take(self, piece: LogSlice) -> None:
        """Go on by what was read; nothing may be pending."""
        self.safe = self.at.state
        documents = [record for record in piece.state if record.value is not None]
        self.looked += len(documents)
        self.pending.extend(dict.fromkeys(differing(documents)))
        self.at = Position(self.at.generation, piece.next_state, piece.next_internal)

    def pass_over(self, runs: Collection[Key]) -> None:
        """Leave these as they are."""
        if runs:
            self.pending = deque(run for run in self.pending if run not in runs)


def differing(documents: Iterable[Record]) -> Iterator[Key]:
    """The runs of those documents that this version would decide or word otherwise."""
    for record in documents:
        assert record.key is not None, "every record of a compacted topic has a key"
        assert record.value is not None, "a document, not a tombstone"
        if is_decided_otherwise(decode(record.value)):
            yield Key("run", *split_run_key(record.key.decode()))
