"""How much attention a result needs: the worse of what the source says and what follows from the facts.

The contract (state 5) trusts the source's own judgement, `RestoreSafetyResolver::resultAttentionForRun`. That one may
be absent, or older than the counts beside it. So it can only make a result look worse than the facts do, never better.
Interfaces, section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from contracts.facts import ATTENTION_STATES, AttentionState, Counts
from projections.situation import Situation


class Ground(NamedTuple):
    """One row of the table below: this attention follows when this holds."""

    attention: AttentionState
    when: str
    holds: Callable[[Situation], bool]


def totals_differ(counts: Counts) -> bool:
    """It is known how many items there are and how many succeeded, and it is not the same."""
    return counts.total is not None and counts.succeeded is not None and counts.total != counts.succeeded


# A count that is not known is None and one that is known is never negative: `if count` reads "known and above 0".
GROUNDS: Final = (
    Ground(
        "partial",
        "The run's status is partial, or its operation's outcome is partially_succeeded, "
        "or the counts say that items failed or were partially applied.",
        lambda s: bool(
            s.status == "partial" or s.outcome == "partially_succeeded" or s.run.counts.failed or s.run.counts.partial
        ),
    ),
    Ground(
        "completed_with_follow_up",
        "The run's status is completed_with_errors, or the counts say that items were skipped or not applied, "
        "or the counts of all items and of succeeded items are both known and differ.",
        lambda s: bool(
            s.status == "completed_with_errors"
            or s.run.counts.skipped
            or s.run.counts.non_applied
            or totals_differ(s.run.counts)
        ),
    ),
    Ground("completed", "Otherwise.", lambda _: True),
)
"""The first row that holds gives the attention that follows from the facts."""

BADNESS: Final[dict[AttentionState, int]] = {state: index for index, state in enumerate(ATTENTION_STATES)}
"""From good to bad: completed, completed_with_follow_up, partial, failed, not_executed."""


def derived(situation: Situation) -> AttentionState:
    """The attention that follows from the facts, whatever the source says."""
    for ground in GROUNDS:
        if ground.holds(situation):
            return ground.attention
    raise AssertionError("the last ground always holds")


def attention(situation: Situation) -> AttentionState:
    """The worse of the given attention and the derived one."""
    given = situation.run.attention
    found = derived(situation)
    return found if given is None or BADNESS[given] < BADNESS[found] else given
