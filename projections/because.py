"""`diagnostics.because`: which facts made a rule hold, in short sentences made from one table.

A sentence holds identifiers, counts and words of the input vocabulary, nothing else: free text from events never
gets here. A rule names its sentences (`projections.rules`); of those the ones that apply are said, in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from projections.attention import totals_differ
from projections.evidence import Cause, Evidence
from projections.situation import Situation
from projections.summary import shortfalls


class Sentence(NamedTuple):
    """A sentence with {blanks}, and when it is worth saying."""

    template: str
    applies: Callable[[Situation, Evidence], bool] = lambda *_: True


def _outcome_tells(s: Situation, _: Evidence) -> bool:
    return s.outcome not in (None, "pending", "succeeded")


def _ages_known(s: Situation, e: Evidence) -> bool:
    generated_at = None if e.current is None else e.current.generated_at
    completed_at = None if s.operation is None else s.operation.completed_at
    return generated_at is not None and completed_at is not None


def _caused_by(cause: Cause) -> Callable[[Situation, Evidence], bool]:
    return lambda _, e: e.cause == cause


SENTENCES: Final[dict[str, Sentence]] = {
    "dry run": Sentence("The restore run is a dry run."),
    "status": Sentence("The restore run's status is {status}."),
    "status beside a cancelled outcome": Sentence(
        "The restore run's status is {status}.",
        lambda s, _: s.outcome == "cancelled",
    ),
    "operation status": Sentence("The status of operation {operation} is {operation_status}."),
    "outcome": Sentence("The outcome of operation {operation} is {outcome}.", _outcome_tells),
    "outcome outlives deletion": Sentence(
        "That operation was deleted; its last outcome still counts.",
        lambda s, e: _outcome_tells(s, e) and s.operation is not None and s.operation.deleted,
    ),
    "linked": Sentence(
        "It names operation {operation}.",
        lambda s, _: s.linked and s.operation is not None,
    ),
    "linked, unseen": Sentence(
        "It names operation {operation}, of which nothing was seen yet.",
        lambda s, _: s.linked and s.operation is None,
    ),
    "deleted": Sentence(
        "It names operation {operation}, which was deleted.",
        lambda s, _: s.operation is not None and s.operation.deleted,
    ),
    "names none": Sentence(
        "It names no operation.",
        lambda s, _: s.run.operation_run_id is None,
    ),
    "shortfalls": Sentence(
        "The run's counts say: {shortfalls}.",
        lambda s, _: bool(shortfalls(s.run.counts)),
    ),
    "totals differ": Sentence(
        "The run's counts say: {total} in total, {succeeded} succeeded.",
        lambda s, _: totals_differ(s.run.counts),
    ),
    "attention": Sentence(
        "The given result attention is {attention}.",
        lambda s, _: s.run.attention not in (None, "completed"),
    ),
    "unreadable": Sentence("The newest event of {unreadable} could not be read."),
    "evidence": Sentence(
        "Evidence snapshot {current} is active, of the same operation, and not older than its completion.",
        _ages_known,
    ),
    "evidence, age unknown": Sentence(
        "Evidence snapshot {current} is active, of the same operation, and not known to be older than its completion.",
        lambda s, e: not _ages_known(s, e),
    ),
    "none": Sentence("No evidence snapshot of that operation is stored.", _caused_by("none")),
    "pending": Sentence("The newest evidence snapshot, {newest}, is not finished.", _caused_by("pending")),
    "expired": Sentence("The newest evidence snapshot, {newest}, has expired.", _caused_by("expired")),
    "superseded": Sentence("The newest evidence snapshot, {newest}, was superseded.", _caused_by("superseded")),
    "failed": Sentence("The newest evidence snapshot, {newest}, failed.", _caused_by("failed")),
    "predates_completion": Sentence(
        "The newest evidence snapshot, {newest}, was generated before the operation completed.",
        _caused_by("predates_completion"),
    ),
}

LINK: Final = ("linked", "linked, unseen", "deleted", "names none")
"""Exactly one of these applies to every run."""
CURRENT_EVIDENCE: Final = ("evidence", "evidence, age unknown")
"""Exactly one of these applies where there is current evidence."""
NO_CURRENT_EVIDENCE: Final = ("none", "pending", "expired", "superseded", "failed", "predates_completion")
"""Exactly one of these applies to a linked run without current evidence."""

BLANKS: Final[dict[str, Callable[[Situation, Evidence], object]]] = {
    "status": lambda s, _: s.status,
    "operation": lambda s, _: s.run.operation_run_id,
    "operation_status": lambda s, _: s.operation_status,
    "outcome": lambda s, _: s.outcome,
    "shortfalls": lambda s, _: ", ".join(shortfalls(s.run.counts)),
    "total": lambda s, _: s.run.counts.total,
    "succeeded": lambda s, _: s.run.counts.succeeded,
    "attention": lambda s, _: s.run.attention,
    "unreadable": lambda s, _: ", ".join(s.facts.unreadable),
    "current": lambda _, e: e.current and e.current.id,
    "newest": lambda _, e: e.newest and e.newest.id,
}
"""What each blank of a template is filled with."""


class _Filling(dict[str, object]):
    """Fills only the blanks that a template asks for."""

    def __init__(self, situation: Situation, evidence: Evidence) -> None:
        self._given = (situation, evidence)

    def __missing__(self, blank: str) -> object:
        return BLANKS[blank](*self._given)


def because(situation: Situation, evidence: Evidence, names: Iterable[str]) -> list[str]:
    """The sentences of these names that apply, filled in."""
    filling = _Filling(situation, evidence)
    return [
        sentence.template.format_map(filling)
        for sentence in map(SENTENCES.__getitem__, names)
        if sentence.applies(situation, evidence)
    ]
