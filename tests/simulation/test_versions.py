"""Histories in which newer versions of the rules are rolled out: a fixed set, and some that are new each time."""

from __future__ import annotations

import random
from collections import Counter
from typing import Final

import pytest

from tests.simulation.planted import WITHIN, Bug, found_after, run_with
from tests.simulation.planted_versions import BUGS
from tests.simulation.versions import VersionedWorld
from tests.simulation.world import Recipe, run

FIXED: Final = 24
"""Histories that are the same each time, from seed 0 on."""
NEW: Final = 12


def hold(seeds: range) -> Counter[tuple[str, ...]]:
    """Run histories; returns what was met in them."""
    met: Counter[tuple[str, ...]] = Counter()
    for seed in seeds:
        result = run(Recipe(seed), VersionedWorld)
        if result.violations:
            told = "\n".join(violation[:600] for violation in result.violations[:5])
            pytest.fail(f"run(Recipe({seed}), VersionedWorld) of tests.simulation\n{told}")
        met += result.counters.counts
    return met


def test_versions_follow_one_another_without_going_back_and_forth() -> None:
    met = hold(range(FIXED))
    assert met["situation", "recompute begun"] > met["situation", "recompute finished"] > FIXED
    assert met["situation", "an older version refused a partition"]


def test_versions_follow_one_another_in_new_histories() -> None:
    """pytest-randomly prints what seeds `random`; the seed is in what a failure prints."""
    first = random.randrange(10**6, 10**9)
    hold(range(first, first + NEW))


def test_the_same_seed_is_the_same_history_of_versions() -> None:
    first, second = (run(Recipe(3), VersionedWorld) for _ in range(2))
    assert first.checksum == second.checksum


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    """And what finds it is the bug: the same history without it holds."""
    seed = bug.found_at
    if not run_with(bug, Recipe(seed)).violations:
        found = found_after(bug)
        assert found is not None, f"{bug.name} is found in none of {WITHIN} histories"
        seed = found[0] - 1
    assert run(Recipe(seed), VersionedWorld).violations == ()
