"""What moved between one survey and a later one: a single one cannot tell slow from stuck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from worker.status.facts import PartitionFacts, Survey

WINDOW: Final = 20
"""Surveys over which a speed is measured."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Of a partition. `moved_at` (ms): when it was last seen to move, None if it never was.

    `taken`, `arrived`, `restored`: records a second; None before there are two looks.
    """

    moved_at: int | None = None
    taken: float | None = None
    arrived: float | None = None
    restored: float | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """What moves: sums of offsets, by which a partition goes on."""

    at: int
    taken: int
    end: int
    stored: tuple[str, int]


class Tracker:
    """Remembers the last surveys. Give it each one, once, in order."""

    def __init__(self) -> None:
        self._looks: dict[int, list[_Look]] = {}
        self._moved_at: dict[int, int] = {}

    def track(self, survey: Survey) -> dict[int, Motion]:
        """The motion of each partition up to this survey."""
        return {facts.number: self._track(facts, survey.at) for facts in survey.partitions}

    def _track(self, facts: PartitionFacts, at: int) -> Motion:
        looks = self._looks.setdefault(facts.number, [])
        look = _look(facts, at)
        if looks and (looks[-1].taken, looks[-1].stored) != (look.taken, look.stored):
            self._moved_at[facts.number] = at
        looks.append(look)
        del looks[:-WINDOW]
        first = looks[0]
        seconds = (at - first.at) / 1000
        moved_at = self._moved_at.get(facts.number)
        if seconds <= 0:
            return Motion(moved_at)
        restored = look.stored[1] - first.stored[1] if look.stored[0] == first.stored[0] else look.stored[1]
        return Motion(
            moved_at, (look.taken - first.taken) / seconds, (look.end - first.end) / seconds, restored / seconds
        )


def _look(facts: PartitionFacts, at: int) -> _Look:
    store = facts.store
    return _Look(
        at,
        sum(row.next for row in facts.inputs),
        sum(row.readable for row in facts.inputs),
        ("", 0) if store is None else (store.generation, store.state + store.internal),
    )
