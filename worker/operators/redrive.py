"""Redriving and dismissing dead letters: orders that name them, in the letters' order, each letter once.

An order to take a letter's record again is what closes the letter, so what was interrupted needs no memory: run again,
the same selection is what is left of it. Two people who do the same at the same time may order a record twice; the
second time it is stale. What this version cannot read would only be set aside again, as a letter of its own, so it is
not sent unless that is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from contracts.events import Decoder, Record, Rejected
from contracts.orders import dismiss_order, replay_order
from worker.errors import RecordTooLarge
from worker.operators.edits import Edit, batches, edited
from worker.operators.letters import Entry
from worker.operators.orders import OrderWriter
from worker.settings import Settings

SHOWN: Final = 10
"""Letters of a kind that are named; all are counted."""


@dataclass(slots=True)
class Kept:
    """Letters that something holds of: how many by reason, and the first few with the detail."""

    reasons: Counter[str] = field(default_factory=Counter)
    first: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, reason: str, detail: str) -> None:
        self.reasons[reason] += 1
        if len(self.first) < SHOWN:
            self.first.append((name, detail))

    def __len__(self) -> int:
        return self.reasons.total()


class Judge:
    """Says whether a record can be taken: by the contract of this version and by these settings."""

    def __init__(self, settings: Settings, partitions: int) -> None:
        self._ops = settings.topic_names.ops
        self._decoder = Decoder(
            settings.topic_names, partitions, settings.kafka.partitioner, settings.limits.value_bytes
        )

    def obstacle(self, entry: Entry) -> str | None:
        """Why a letter cannot be redriven at all; None if it can be."""
        letter = entry.letter
        if letter is None:
            return "it does not say where its record lay"
        if letter.topic == self._ops:
            return "it was a command of the ops topic: give the command again, and dismiss this"
        if letter.partition != entry.place.partition:
            return f"expected a record of partition {entry.place.partition}, where it is, got one of {letter.partition}"
        return None

    def complaint(self, record: Record) -> tuple[str, str] | None:
        """Reason and detail for which the record would be set aside again; None if it would be taken."""
        event = self._decoder.decode(record)
        return (event.reason, event.detail) if isinstance(event, Rejected) else None


@dataclass(slots=True)
class Redriven:
    """What was done: how many were sent (or would be); those that cannot be; those that would be set aside again."""

    sent: Counter[str] = field(default_factory=Counter)
    impossible: Kept = field(default_factory=Kept)
    unreadable: Kept = field(default_factory=Kept)

    @property
    def left(self) -> int:
        """Letters that stay open."""
        return len(self.impossible) + len(self.unreadable)


def redrive(
    entries: Iterable[Entry],
    judge: Judge,
    edits: Sequence[Edit],
    writer: OrderWriter | None,
    redriven: Redriven,
    *,
    anyway: bool = False,
    wait: Callable[[], None] = lambda: None,
) -> None:
    """Order that the records of these letters be taken again; without a writer only find out how that would go.

    `redriven` is kept up to date, for who interrupts it. `anyway`: also what would be set aside again; `wait` is called
    before each. Raises EditFailed and what the writer raises.
    """
    for batch in batches(_possible(entries, judge, redriven)):
        for entry, record in zip(batch, edited(batch, edits), strict=True):
            complaint = None if anyway else judge.complaint(record)
            if complaint is not None:
                redriven.unreadable.add(str(entry.place), *complaint)
            elif _sent(entry, record, writer, redriven, wait):
                redriven.sent[entry.reason] += 1


def _possible(entries: Iterable[Entry], judge: Judge, redriven: Redriven) -> Iterator[Entry]:
    for entry in entries:
        if (obstacle := judge.obstacle(entry)) is None:
            yield entry
        else:
            redriven.impossible.add(str(entry.place), entry.reason, obstacle)


def _sent(
    entry: Entry, record: Record, writer: OrderWriter | None, redriven: Redriven, wait: Callable[[], None]
) -> bool:
    """Whether the order could be handed over; without a writer it could be."""
    if writer is None:
        return True
    wait()
    try:
        writer.send(replay_order(record, entry.place.offset))
    except RecordTooLarge as error:
        redriven.impossible.add(str(entry.place), entry.reason, str(error))
        return False
    return True


def dismiss(entries: Iterable[Entry], writer: OrderWriter | None, dismissed: Counter[str]) -> None:
    """Have it noted that these letters stay as they are. `dismissed`, by reason, is kept up to date."""
    for entry in entries:
        if writer is not None:
            writer.send(dismiss_order(entry.place.partition, entry.record.key, entry.place.offset))
        dismissed[entry.reason] += 1


def set_aside_again(entries: Iterable[Entry]) -> Kept:
    """Of letters that are newer than the orders those whose records were redriven: they say so themselves."""
    again = Kept()
    for entry in entries:
        if entry.before:
            again.add(str(entry.place), entry.reason, entry.detail)
    return again
