"""The one checker that all tests on real servers share: is what is there what the input asks for, and nothing else?

`check` waits until the installation is at rest, looks at everything from outside, folds the whole input with the
pure code and compares: invariants 1 to 6 of the promises about reliability, and 7 for what was `watching` meanwhile. It
trusts nothing that the worker says of itself.
"""

from __future__ import annotations

from tests.consistency.checking import Inconsistent, Summary, check, judge, wait_for_rest
from tests.consistency.fold import Folded, fold
from tests.consistency.observation import Observation, kcat_unavailable, observe
from tests.consistency.watching import Watched, watching

__all__ = [
    "Folded",
    "Inconsistent",
    "Observation",
    "Summary",
    "Watched",
    "check",
    "fold",
    "judge",
    "kcat_unavailable",
    "observe",
    "wait_for_rest",
    "watching",
]
