"""`python -m tests.simulation`: many histories, or one told in full. Exit 1 when anything did not hold."""
# ruff: noqa: T201  a command prints

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from tests.simulation.counters import ENOUGH, SITUATIONS, Counters
from tests.simulation.faults import BY_NAME, wanted
from tests.simulation.inputs import KINDS
from tests.simulation.shrink import shrink
from tests.simulation.world import Recipe, Result, Struck, run

CHUNK: Final = 50
SHOWN: Final = 3
"""Failures that are shrunk and told."""


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    if asked.planted:
        return _tell_planted(asked.start or 0)
    if asked.seed is not None:
        return _tell_one(_recipe(asked, asked.seed))
    first = random.SystemRandom().randrange(10**9) if asked.start is None else asked.start
    print(f"{asked.seeds} histories, seeds {first} to {first + asked.seeds - 1}")
    began, counters, failed, faults = time.monotonic(), Counters(), 0, 0
    for result in _results([_recipe(asked, seed) for seed in range(first, first + asked.seeds)], asked.jobs):
        counters.add(result.counters)
        faults += len(result.struck)
        if result.violations:
            failed += 1
            if failed <= SHOWN:
                _tell_failure(shrink(result))
    minutes = (time.monotonic() - began) / 60
    print(f"{asked.seeds} histories, {faults} faults, {failed} failed; {asked.seeds / minutes:.0f} histories a minute")
    never = _tell_counters(counters) if asked.counters or asked.seeds >= ENOUGH else []
    return 1 if failed or (never and asked.seeds >= ENOUGH and asked.faults is None) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many histories")
    parser.add_argument("--from", dest="start", type=int, help="the first seed; a random one if not given")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, help="one history only")
    parser.add_argument("--trace", action="store_true", help="tell it step by step")
    parser.add_argument("--only", help="of its faults only these: CALL:NAME,...")
    parser.add_argument("--inputs", type=int, help="at most so many input records")
    parser.add_argument("--faults", help=f"only these may strike, comma-separated: {', '.join(BY_NAME)}")
    parser.add_argument("--counters", action="store_true", help="what was met how often")
    parser.add_argument("--planted", action="store_true", help="in how many histories each planted bug is found")
    return parser


def _tell_planted(first: int) -> int:
    from tests.simulation.planted import BUGS, found_after

    missed = 0
    for bug in BUGS:
        found = found_after(bug, first)
        missed += found is None
        times, how = ("never", "") if found is None else (str(found[0]), found[1])
        print(f"{bug.name:50} {times:>5}  {how[:100]}", flush=True)
    return 1 if missed else 0


def _recipe(asked: argparse.Namespace, seed: int) -> Recipe:
    only = None if asked.only is None else tuple(_struck(text) for text in asked.only.split(",") if text)
    faults = None if asked.faults is None else frozenset(asked.faults.split(","))
    return Recipe(seed, only, asked.inputs, faults, asked.trace)


def _struck(text: str) -> Struck:
    call, _, fault = text.partition(":")
    return Struck(int(call), fault)


def _results(recipes: Sequence[Recipe], jobs: int) -> Iterator[Result]:
    if jobs <= 1:
        yield from map(run, recipes)
        return
    with ProcessPoolExecutor(min(jobs, os.cpu_count() or 1)) as pool:
        yield from pool.map(run, recipes, chunksize=CHUNK)


def command(recipe: Recipe) -> str:
    """What repeats a history."""
    words = ["python -m tests.simulation --seed", str(recipe.seed)]
    if recipe.only is not None:
        words.append(f'--only "{",".join(f"{struck.call}:{struck.fault}" for struck in recipe.only)}"')
    if recipe.inputs is not None:
        words.append(f"--inputs {recipe.inputs}")
    if recipe.faults is not None:
        words.append(f'--faults "{",".join(sorted(recipe.faults))}"')
    return " ".join([*words, "--trace"])


def _tell_failure(result: Result) -> None:
    print(f"seed {result.recipe.seed}: {len(result.violations)} violations; {command(result.recipe)}")
    for violation in result.violations[:5]:
        print(f"    {violation[:600]}")


def _tell_one(recipe: Recipe) -> int:
    result = run(recipe)
    for line in result.trace:
        print(line)
    struck = ", ".join(f"{struck.call}:{struck.fault}" for struck in result.struck)
    print(f"{'loose' if result.loose else 'strict'}, trace {result.checksum:08x}, faults: {struck or 'none'}")
    for violation in result.violations:
        print(f"    {violation}")
    return 1 if result.violations else 0


def must_be_met() -> list[tuple[str, ...]]:
    """Everything that a long run must have met."""
    return [*wanted(), *(("situation", name) for name in SITUATIONS), *(("input", kind) for kind in KINDS)]


def _tell_counters(counters: Counters) -> list[tuple[str, ...]]:
    for what, times in sorted(counters.counts.items()):
        print(f"{times:9} {': '.join(what)}")
    never = list(counters.never(must_be_met()))
    for what in never:
        print(f"    never {': '.join(what)}")
    return never


if __name__ == "__main__":
    sys.exit(main())
