"""A quick look at some runs: those of records at random places in `decision-state`.

Only these records are read of Kafka, so it is not known whether later ones of the same runs follow. But revisions only
grow: a document in Redis must have the record's revision, and then its bytes, or a greater one. What it names, its
places in indexes and its decision are looked at as `worker.operators.verify` does. Whatever seems wrong is no more than
a suspicion; then all of the suspected tenants is verified, those of a partition together, which is exact, and only
what that finds is told.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Final

from contracts.decision import decode
from contracts.events import Record
from contracts.ids import split_run_key
from projections.record import Key
from projections.rules import POLICY
from worker.operators.comparing import compare_record
from worker.operators.decisions import compare_decisions
from worker.operators.ledger import Expected, Ledger, name_of
from worker.operators.redo_log import RedoLog
from worker.operators.sights import Sight, Standpoint
from worker.operators.verify import Found, Verifier, is_of_newer_format, is_unread, only, whole
from worker.ports import Ends

TOGETHER: Final = 10
"""Records from one place: to go to a place in the log costs more than to read what follows."""
SPAN: Final = 40
"""Offsets from a place on in which these are looked for: transactions' markers take offsets too."""


class Sampler:
    """Looks at random runs of partitions. Every call may raise as those of `Verifier`."""

    def __init__(self, log: RedoLog, verifier: Verifier, numbers: Sequence[int], choose: random.Random) -> None:
        self._log = log
        self._verifier = verifier
        self._ends = log.ends(numbers)
        self._choose = choose

    def sample(self, count: int) -> tuple[Found, dict[int, set[str]]]:
        """Look at about so many runs: what was looked at, and by partition the tenants that seem to have it wrong."""
        found = Found()
        suspects: defaultdict[int, set[str]] = defaultdict(set)
        for done, record in enumerate(self._records(count)):
            self._verifier.tell("looking at some", done, count)
            assert record.key is not None, "every record of a compacted topic has a key"
            key = Key("run", *split_run_key(record.key.decode()))
            found.runs += 1
            found.keys += 1
            of_partition = suspects[record.partition]
            if key.tenant not in of_partition and self._is_suspicious(record, key):
                of_partition.add(key.tenant)
        return found, {number: tenants for number, tenants in suspects.items() if tenants}

    def _records(self, count: int) -> Iterator[Record]:
        """Records from random offsets on, fewer where the log is shorter than that."""
        numbers = [number for number, ends in self._ends.items() if ends.high_state > ends.low_state]
        sizes = list(accumulate(self._ends[n].high_state - self._ends[n].low_state for n in numbers))
        if not sizes:
            return
        places = sorted({self._choose.randrange(sizes[-1]) for _ in range(-(-count // TOGETHER))})
        for place in places:
            at = next(i for i, size in enumerate(sizes) if place < size)
            ends = self._ends[numbers[at]]
            offset = ends.low_state + place - (sizes[at - 1] if at else 0)
            yield from self._first(numbers[at], offset, ends)

    def _first(self, number: int, offset: int, ends: Ends) -> Iterator[Record]:
        """The first records from this offset on, of those that are near."""
        until = min(offset + SPAN, ends.high_state)
        tail = self._log.tail(number, offset, ends.high_internal)
        yield from list(tail.below(until, ends.high_internal))[:TOGETHER]

    def _is_suspicious(self, record: Record, key: Key) -> bool:
        together = self._verifier.together(record.partition, [name_of(key)])
        assert together is not None, "a single run is never too much"
        at, sights, workspace = together
        if not (at.readable and at.ready):
            return True
        if at.offsets[0] <= record.offset:
            return False  # the store has not come to it yet
        expected = {sight.key: self._expected(record, sight, key) for sight in sights}
        if any(_differs(record.partition, expected[sight.key], sight) for sight in sights):
            return True
        if any(is_unread(workspace, sight) and not is_of_newer_format(sight) for sight in sights):
            return True
        complete = whole(workspace, {sight.key for sight in sights if not is_unread(workspace, sight)})
        newer = _is_newer(at) or self._verifier.take(Ledger(), record)
        return any(compare_decisions(record.partition, only(workspace, complete), decide=not newer))

    def _expected(self, record: Record, sight: Sight, key: Key) -> Expected | None:
        """What is to be there: what the record says, or, where something later may be, what there is."""
        value = sight.value
        if sight.key == key and record.value is not None:
            there = revision_of(value)
            if value is None or there is None or there <= (revision_of(record.value) or 0):
                value = record.value
        if value is None:
            return None
        topic = self._log.state_topic if sight.key.kind == "run" else ""
        ledger = Ledger()
        as_record = Record(topic, record.partition, record.offset, 0, str(sight.key).encode(), value, ())
        self._verifier.take(ledger, as_record)
        return ledger.expected(name_of(sight.key))


def revision_of(value: bytes | None) -> int | None:
    """A document's revision; None if it has none that can be read."""
    if value is None:
        return None
    with suppress(KeyError, TypeError, ValueError):
        return int(decode(value)["revision"])
    return None


def _differs(number: int, expected: Expected | None, sight: Sight) -> bool:
    return any(compare_record(number, expected, sight))


def _is_newer(at: Standpoint) -> bool:
    return (at.number("policy") or 0) > POLICY
