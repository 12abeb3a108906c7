"""Histories by seed: a fixed set, and some that are new each time; and that a seed says everything."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from typing import Final

import pytest

from tests.simulation.__main__ import command
from tests.simulation.shrink import shrink
from tests.simulation.world import Recipe, Struck, run

FIXED: Final = 100
"""Histories that are the same each time, from seed 0 on."""
NEW: Final = 100
CHUNK: Final = 50


def hold(seeds: range) -> None:
    """Run histories; the first that fails is shrunk and told, with the command that repeats it."""
    for seed in seeds:
        result = run(Recipe(seed))
        if result.violations:
            small = shrink(result)
            told = "\n".join(violation[:600] for violation in small.violations[:5])
            pytest.fail(f"{command(small.recipe)}\n{told}")


@pytest.mark.parametrize("first", range(0, FIXED, CHUNK))
def test_every_promise_holds_in_histories_known_before(first: int) -> None:
    hold(range(first, first + CHUNK))


def test_every_promise_holds_in_new_histories() -> None:
    """pytest-randomly prints what seeds `random`; the first seed is in what a failure prints."""
    first = random.randrange(10**6, 10**9)
    print(f"seeds {first} to {first + NEW - 1}")  # noqa: T201  for who looks into a failure
    hold(range(first, first + NEW))


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_the_same_seed_is_the_same_history(seed: int) -> None:
    assert run(Recipe(seed)).checksum == run(Recipe(seed)).checksum


def test_a_seed_is_the_same_history_in_every_process() -> None:
    """Python's hashes differ from process to process, and so does the order in sets."""
    program = "from tests.simulation.world import *; print([run(Recipe(seed)).checksum for seed in range(20)])"
    told = {subprocess.check_output([sys.executable, "-c", program], text=True) for _ in range(2)}
    assert len(told) == 1


def test_a_history_with_all_its_faults_named_is_the_same_history() -> None:
    first = next(r for r in map(run, map(Recipe, range(100))) if len(r.struck) > 4)
    again = run(replace(first.recipe, only=first.struck))
    assert (again.struck, again.checksum) == (first.struck, first.checksum)


def test_a_fault_can_be_left_out() -> None:
    assert run(Recipe(7, only=())).struck == ()
    assert run(Recipe(7, only=(Struck(100, "crash"),))).struck == (Struck(100, "crash"),)
