"""Versions of the rules for tests: what a later release may decide otherwise.

    1  the rules as they are
    2  stricter: a run that does not say how many items succeeded is to be reviewed; a failed one names its operation
    3  laxer than 1: a cancelled operation under a completed run is not to be reviewed

`python -m tests.versions 2 run` is the command line of a release that has version 2: the tables are replaced before
anything of the product reads them. In one process `decided_by` does the same for a while.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final
from unittest.mock import patch

from projections import because, rules
from projections.attention import attention
from projections.rules import RULES, Rule
from projections.situation import Situation

Holds = Callable[[Situation], bool]


def _with(name: str, change: Callable[[Rule], Rule], table: Sequence[Rule]) -> tuple[Rule, ...]:
    assert name in {rule.name for rule in table}
    return tuple(change(rule) if rule.name == name else rule for rule in table)


def _stricter(rule: Rule) -> Rule:
    before = rule.holds
    return replace(rule, holds=lambda s: before(s) or s.run.counts.succeeded is None)


def _laxer(rule: Rule) -> Rule:
    return replace(rule, holds=lambda s: s.status == "partial" or attention(s) != "completed")


def _says_more(rule: Rule) -> Rule:
    return replace(rule, because=(*rule.because, *because.LINK))


TABLES: Final = {
    1: RULES,
    2: _with("needs_review", _stricter, _with("run_failed", _says_more, RULES)),
    3: _with("needs_review", _laxer, RULES),
}


@contextmanager
def decided_by(version: int) -> Iterator[None]:
    """What is decided meanwhile, in this process, is decided by that version."""
    table = TABLES[version]
    with patch.multiple(rules, POLICY=version, RULES=table, _TABLE=tuple((rule.holds, rule) for rule in table)):
        yield


def main() -> None:
    """The command line of a version."""
    version, *arguments = sys.argv[1:]
    sys.argv = ["restore-projector", *arguments]
    with decided_by(int(version)):
        from worker.cli import main as command_line

        command_line()


if __name__ == "__main__":
    main()
