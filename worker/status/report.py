"""All of it in one: how each partition is, what else is to be said, and the one sentence above it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from worker.settings import Settings
from worker.status.condition import CONDITIONS, Verdict, View, judge
from worker.status.facts import PartitionFacts, Survey
from worker.status.motion import Motion

LIST_OVERDUE: Final = "restore-projector status --overdue"
LIST_LETTERS: Final = "restore-projector deadletters list"


@dataclass(frozen=True, slots=True)
class Row:
    """A partition, and how it is."""

    facts: PartitionFacts
    motion: Motion
    verdict: Verdict

    @property
    def well(self) -> bool:
        return self.verdict.condition.well

    @property
    def undecided(self) -> bool:
        """Whether another look would tell more: it was not seen to move, and ought to."""
        return self.verdict.condition.name in {"stuck", "slow", "restoring"} and self.motion.moved_at is None


@dataclass(frozen=True, slots=True)
class Note:
    """Something that is no partition's condition, and the command that shows it."""

    text: str
    next: str


@dataclass(frozen=True, slots=True)
class Report:
    """An installation at one moment."""

    survey: Survey
    rows: tuple[Row, ...]

    @property
    def letters(self) -> int:
        """Open dead letters, as far as they were looked at."""
        return sum(row.facts.letters.open for row in self.rows if row.facts.letters is not None)

    @property
    def more_letters(self) -> bool:
        return any(row.facts.letters is not None and row.facts.letters.more for row in self.rows)

    @property
    def settled_letters(self) -> bool:
        """Whether none of them may be handled already."""
        return all(row.facts.letters is None or row.facts.letters.settled for row in self.rows)

    @property
    def well(self) -> bool:
        """Nobody has to do anything about the projection. Overdue restores are the platform's."""
        return self.survey.store_error is None and all(row.well for row in self.rows) and not self.letters

    @property
    def sentence(self) -> str:
        """Whether all is well."""
        if self.survey.store_error is not None:
            return f"Something is wrong: {self.survey.store_error}."
        partitions = _count(len(self.rows), "partition")
        ill = [row for row in self.rows if not row.well]
        if ill:
            return f"Something is wrong with {len(ill)} of {partitions}: {_conditions(ill)}."
        if self.letters:
            return f"All partitions are well, and {self._letters} to be seen to."
        workers = "" if self.survey.group_state is None else f" on {_count(len(self.survey.members), 'worker')}"
        return f"All is well: {partitions}{workers}, {_conditions(self.rows)}."

    @property
    def notes(self) -> list[Note]:
        notes = []
        if self.letters:
            text = "Dead letters are records that could not be taken. This says which, and why:"
            notes.append(Note(text, LIST_LETTERS))
        overdue = sum((self.survey.overdue or {}).values())
        if overdue:
            are = "restore is" if overdue == 1 else "restores are"
            notes.append(Note(f"{overdue:,} {are} overdue, unfinished for too long:", LIST_OVERDUE))
        return notes

    @property
    def _letters(self) -> str:
        most = "" if self.settled_letters else "up to "
        if self.letters == 1 and not self.more_letters:
            return f"{most}1 dead letter is"
        return f"{most}{self.letters:,}{' and more' if self.more_letters else ''} dead letters are"


def report(survey: Survey, motions: Mapping[int, Motion], settings: Settings) -> Report:
    """Judge each partition of a survey."""
    kafka = settings.kafka
    rows = (
        Row(facts, motion, judge(View(facts, motion, survey, kafka.group_id, kafka.bootstrap_servers)))
        for facts in survey.partitions
        for motion in [motions[facts.number]]
    )
    return Report(survey, tuple(rows))


def _conditions(rows: tuple[Row, ...] | list[Row]) -> str:
    counts = Counter(row.verdict.condition.name for row in rows)
    if len(counts) == 1:
        words = rows[0].verdict.condition.words
        return words if len(rows) == 1 else f"all {words}"
    return ", ".join(f"{counts[c.name]} {c.words}" for c in CONDITIONS if c.name in counts)


def _count(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"
