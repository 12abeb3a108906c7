"""Each planted bug is found, and what finds it is the bug: the same history without it holds.

Where each is found is noted, so that this takes seconds; a bug that is not found there any more, because histories have
changed, is looked for from the first seed on. `python -m tests.simulation --planted` prints the table anew.
"""

from __future__ import annotations

import pytest

from tests.simulation.planted import BUGS, WITHIN, Bug, found_after, run_with
from tests.simulation.world import Recipe, run


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    seed = bug.found_at
    if not run_with(bug, Recipe(seed)).violations:
        found = found_after(bug)
        assert found is not None, f"{bug.name} is found in none of {WITHIN} histories"
        seed = found[0] - 1
    assert run(Recipe(seed)).violations == ()
