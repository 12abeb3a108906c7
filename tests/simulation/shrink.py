"""A history that fails, made smaller while it still does: fewer faults, then fewer inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tests.simulation.world import Recipe, Result, Struck, World, run

MAX_RUNS: Final = 300


class _Shrinking:
    def __init__(self, result: Result, make: Callable[[Recipe], World]) -> None:
        self.best = result
        self._make = make
        self._runs = 0

    def try_(self, recipe: Recipe) -> bool:
        """Whether it still fails; then it is the best so far."""
        if self._runs >= MAX_RUNS:
            return False
        self._runs += 1
        result = run(recipe, self._make)
        if result.violations:
            self.best = result
        return bool(result.violations)


def shrink(result: Result, make: Callable[[Recipe], World] = World) -> Result:
    """The smallest failing history that is found from this one."""
    shrinking = _Shrinking(result, make)
    if shrinking.try_(replace(result.recipe, only=result.struck)):
        _fewer_faults(shrinking)
    _fewer_inputs(shrinking)
    return shrinking.best


def _fewer_faults(shrinking: _Shrinking) -> None:
    """Leave out halves, quarters, at last one by one; what does not strike any more is left out as well."""
    size = max(1, len(shrinking.best.struck) // 2)
    while True:
        at = 0
        while at < len(shrinking.best.struck):
            faults: tuple[Struck, ...] = shrinking.best.struck
            if not shrinking.try_(replace(shrinking.best.recipe, only=faults[:at] + faults[at + size :])):
                at += size
        if size == 1:
            return
        size //= 2


def _fewer_inputs(shrinking: _Shrinking) -> None:
    for inputs in (1, 2, 3, 5, 8, 12, 18, 27, 40):
        recipe = shrinking.best.recipe
        if (recipe.inputs is None or inputs < recipe.inputs) and shrinking.try_(replace(recipe, inputs=inputs)):
            return
