"""`watch` as it is used: its lines, its filters, and as a process beside a Kafka that is killed."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.decision import encode
from tests.changes import CHANGED_AT, Changes, a_change, changes_of
from tests.processes import environment, install
from tests.servers.plugin import MakesKafka, Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from tests.worker.cli.conftest import Command
from tests.worker.cli.terminal import on_a_terminal, without_colours
from worker.cli.moments import moment
from worker.durations import span
from worker.settings import Settings

COMMAND = str(Path(sys.executable).with_name("restore-projector"))
WAIT_S = 60.0
PARTITIONS = 3

FAILED = a_change("rr-1", "failed", "in_progress", revision=3)
DONE = a_change("rr-2", "completed_with_evidence", "completed_proof_incomplete", tenant="t-2", revision=9)
REVIEW = a_change("rr-3", "needs_review", "completed_with_evidence", origin="replay", revision=4)
STARTED = a_change("rr-4", "in_progress")
REMOVED = a_change("rr-4", None, "in_progress", revision=2)
STORY = (FAILED, DONE, REVIEW, STARTED, REMOVED)


@pytest.fixture
def settings(
    command: Command, kafka: KafkaServer, redis_server: RedisServer, space: Space, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """An installation with nothing in it; `watch` is told where it is."""
    _ = command  # forgets all settings first
    settings = install(kafka, redis_server, space.prefix, PARTITIONS)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def story(settings: Settings) -> Iterator[Changes]:
    with changes_of(settings) as changes:
        for number, change in enumerate(STORY):
            changes.publish(change, partition=number % PARTITIONS)
        yield changes


def watched(command: Command, *options: str) -> str:
    result = command("watch", "--since", "1h", "--no-follow", *options)
    assert (result.code, result.err) == (0, "")
    return result.out


@pytest.mark.usefixtures("story")
def test_lines_of_json_are_the_changes_byte_for_byte(command: Command) -> None:
    assert watched(command, "--json") == "".join(f"{encode(change).decode()}\n" for change in STORY)


@pytest.mark.usefixtures("story")
def test_a_line_says_when_how_severe_of_whom_what_and_what_was_before(command: Command) -> None:
    at = "2026-11-01T10:01:00.000Z"
    in_progress, with_evidence = "(was: Execution in progress)", "(was: Completed with evidence available)"
    without_evidence = "(was: Completed, recovery proof incomplete)"

    assert watched(command).splitlines() == [
        f"{at} critical ▲ t-1      rr-1     Restore failed                       {in_progress}",
        f"{at} info     ▲ t-2      rr-2     Completed with evidence available    {without_evidence}",
        f"{at} warning  ▼ t-1      rr-3     Completed with items needing review  [replay] {with_evidence}",
        f"{at} info     ● t-1      rr-4     Execution in progress",
        f"{at} info     ✕ t-1      rr-4     Removed                              {in_progress}",
    ]


FILTERS: dict[tuple[str, ...], list[dict[str, Any]]] = {
    ("--tenant", "t-2"): [DONE],
    ("--tenant", "t-2", "--tenant", "t-1"): list(STORY),
    ("--run", "rr-3", "--run", "rr-4"): [REVIEW, STARTED, REMOVED],
    ("--state", "failed", "--state", "removed"): [FAILED, REMOVED],
    ("--severity", "critical"): [FAILED],
    ("--severity", "critical", "--severity", "warning"): [FAILED, REVIEW],
    ("--at-least", "warning"): [FAILED, REVIEW],
    ("--at-least", "warning", "--severity", "info"): [],
    ("--tenant", "t-1", "--severity", "info", "--state", "in_progress"): [STARTED],
    ("--max", "2"): [FAILED, DONE],
}


@pytest.mark.usefixtures("story")
def test_filters_widen_within_a_kind_and_narrow_between_kinds(command: Command) -> None:
    for options, wanted in FILTERS.items():
        assert [json.loads(line) for line in watched(command, "--json", *options).splitlines()] == wanted, options


@pytest.mark.parametrize(
    "options", [("--severity", "bad"), ("--at-least", "bad"), ("--state", "bad"), ("--since", "yesterday")]
)
def test_what_is_no_value_of_an_option_is_exit_code_2(command: Command, options: Sequence[str]) -> None:
    result = command("watch", *options)

    assert result.code == 2
    assert options[0] in result.err


def test_without_kafka_it_is_exit_code_3(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_PROJECTOR_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")

    assert command("watch").code == 3


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90s", CHANGED_AT - 90_000),
        ("15m", CHANGED_AT - 900_000),
        ("2h", CHANGED_AT - 7_200_000),
        ("3d", CHANGED_AT - 3 * 86_400_000),
        ("2026-11-01T11:01:00+01:00", CHANGED_AT),
    ],
)
def test_since_is_a_duration_or_a_time(text: str, at: int) -> None:
    assert moment("--since", text, CHANGED_AT) == at


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (40, "40 ms"),
        (2_540, "2.5 s"),
        (59_999, "59 s"),
        (600_000, "10 min"),
        (3_661_000, "1 h 1 min"),
        (86_400_000, "1 d"),
        (90_061_000, "1 d 1 h"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(ms: int, text: str) -> None:
    assert span(ms) == text


class Watch:
    """A `restore-projector watch --json` of its own, and the runs that it has shown."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self._out, self._err = directory / "watch.out", directory / "watch.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [COMMAND, "watch", "--since", "1h", "--json"],
                env={**os.environ, **environment(settings)}, stdout=out, stderr=err, cwd=directory,
            )  # fmt: skip

    def runs(self) -> list[str]:
        return [json.loads(line)["restore_run_id"] for line in self._out.read_text().splitlines()]

    def wait_for(self, count: int) -> None:
        wait_until(lambda: len(self.runs()) >= count, WAIT_S, lambda: f"{count} changes, not {self.runs()}")

    def messages(self) -> str:
        return self._err.read_text()


@contextmanager
def watching(settings: Settings, directory: Path) -> Iterator[Watch]:
    watch = Watch(settings, directory)
    try:
        yield watch
    finally:
        watch.process.kill()
        watch.process.wait()


def test_it_goes_on_until_ctrl_c_which_is_exit_code_0(settings: Settings, story: Changes, tmp_path: Path) -> None:
    with watching(settings, tmp_path) as watch:
        watch.wait_for(len(STORY))
        story.publish(a_change("rr-5"))
        watch.wait_for(len(STORY) + 1)
        watch.process.send_signal(signal.SIGINT)

        assert watch.process.wait(WAIT_S) == 0
        assert watch.messages() == ""


@pytest.mark.outage
def test_nothing_is_missed_and_nothing_shown_twice_while_kafka_is_killed(
    private_kafka: MakesKafka, redis_server: RedisServer, tmp_path: Path
) -> None:
    kafka = private_kafka()
    settings = install(kafka, redis_server, f"test-{secrets.token_hex(5)}", PARTITIONS)
    published: list[str] = []

    def publish(count: int) -> None:
        with changes_of(settings) as changes:
            for number in range(count):
                changes.publish(a_change(f"rr-{len(published)}"), partition=number % PARTITIONS)
                published.append(f"rr-{len(published)}")
                changes.take_back(a_change("taken-back"), partition=number % PARTITIONS)

    with watching(settings, tmp_path) as watch:
        publish(20)
        watch.wait_for(10)
        kafka.kill()
        wait_until(lambda: "does not answer" in watch.messages(), WAIT_S, "it says that Kafka does not answer")
        kafka.start()
        publish(20)
        kafka.kill()
        kafka.start()
        publish(20)
        watch.wait_for(60)
        watch.process.send_signal(signal.SIGINT)

        assert watch.process.wait(WAIT_S) == 0
        assert sorted(watch.runs()) == sorted(published)
        assert "is back" in watch.messages()


def test_on_a_terminal_a_change_is_one_coloured_line_however_long_its_names(settings: Settings) -> None:
    long = a_change("r" * 128, "completed_proof_incomplete", "completed_with_evidence", tenant="t" * 128)
    with changes_of(settings) as changes:
        changes.publish(FAILED, long, REVIEW)

    day, *lines = on_a_terminal(80, environment(settings), "watch", "--since", "1h", "--no-follow").lines

    plain = [without_colours(line) for line in lines]
    assert "2026-11-01" in day
    assert plain[0] == "10:01:00 ▲ t-1      rr-1     Restore failed (was: Execution in progress)"
    assert plain[1] == f"10:01:00 ▼ …{'t' * 14} …{'r' * 15} Completed, recovery proof incomplete"
    assert plain[2].startswith("10:01:00 ▼ t-1             rr-3             Completed with items needing review")
    assert [len(line) <= 80 for line in plain] == [True] * 3
    assert ["\x1b[1;31m" in lines[0], "\x1b[36m" in lines[1], "\x1b[33m" in lines[2]] == [True] * 3
