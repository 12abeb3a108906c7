"""docs/for-alerting.md: its consumers do what it says, in both languages, and its tables are the program's."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
from kafka import TopicPartition

from contracts.decision import SEVERITY, STATES, Direction, Origin, Severity, encode
from contracts.documents import change_headers
from tests.changes import Changes, a_change, changes_of
from tests.processes import install
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from worker.servers.local_kafka import JARS
from worker.servers.processes import ChildProcess
from worker.settings import Settings
from worker.topics import kafka_admin

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "for-alerting.md").read_text()
(PYTHON,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(JAVA,) = re.findall(r"```java\n(.*?)```", PAGE, re.DOTALL)
WAIT_S = 60.0
"""Java takes two seconds to compile and start on an idle machine."""
PARTITIONS = 3

FAILED = a_change("rr-1", "failed", "in_progress", revision=3)
REVIEW = a_change("rr-2", "needs_review", "completed_with_evidence", origin="deadline", revision=5)
BLOCKED = a_change("rr-3", "blocked_or_cancelled", "in_progress", tenant="t-2", revision=2)
TAKEN_BACK = a_change("rr-9", "failed", "in_progress", revision=2)
OF_NO_INTEREST = (
    a_change("rr-4", "in_progress"),
    a_change("rr-4", "completed_proof_incomplete", "in_progress", revision=2),
    a_change("rr-4", None, "completed_proof_incomplete", revision=3),
    a_change("rr-5", "failed", "in_progress", origin="replay", revision=2),
    a_change("rr-6", "needs_review", "failed", origin="recompute", revision=9),
)
LATER = a_change("rr-7", "failed", "in_progress", revision=4)


def python(code: str, folder: Path) -> list[str]:
    file = folder / "alerts.py"
    file.write_text(code)
    return [sys.executable, str(file)]


def java(code: str, folder: Path) -> list[str]:
    why_not = JARS.unavailable()
    if why_not is not None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why_not)
    file = folder / "Alerts.java"
    file.write_text(code)
    return JARS.command(file)


Compile = Callable[[str, Path], list[str]]
LANGUAGES: dict[str, tuple[str, Compile, str]] = {
    "python": (PYTHON, python, ", session_timeout_ms=6000"),
    "java": (JAVA, java, ', "session.timeout.ms", 6000'),
}
"""The page's program, what runs it, and a shorter session than the default's 45 s: a killed consumer's partitions are
free only then."""


@pytest.fixture
def settings(real_kafka: KafkaServer, redis_server: RedisServer, space: Space) -> Settings:
    return install(real_kafka, redis_server, space.prefix, PARTITIONS)


@pytest.fixture
def changes(settings: Settings) -> Iterator[Changes]:
    with changes_of(settings) as changes:
        yield changes


class Consumer:
    """One of the page's programs, with the topic and the group of a test; `alerts` are its lines so far."""

    def __init__(self, language: str, settings: Settings, folder: Path) -> None:
        code, command, short_session = LANGUAGES[language]
        group = f"{settings.kafka.group_id}-alerts"
        topic = settings.topic_names.decision_changes
        ours = {'"restore.decision-changes.v1"': f'"{topic}"', '"restore-alerts"': f'"{group}"{short_session}'}
        for of_the_page, of_the_test in ours.items():
            assert code.count(of_the_page) == 1
            code = code.replace(of_the_page, of_the_test)
        self._settings, self._group, self._topic = settings, group, topic
        self._output = folder / "output"
        self._process = ChildProcess([*command(code, folder), settings.kafka.bootstrap_servers], self._output)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._process.start()
        try:
            yield
        finally:
            self._process.kill()

    @property
    def alerts(self) -> list[str]:
        """Whole lines of alerts; what libraries log goes to the same file and is none."""
        lines = self._output.read_text().splitlines(keepends=True) if self._output.exists() else []
        return [line.rstrip("\n") for line in lines if re.match(r"t-\d/.*\n", line)]

    def committed(self, partition: int) -> int:
        """The next offset that the group would read; -1 while it has committed none."""
        with kafka_admin(self._settings.kafka) as admin:
            offsets = admin.list_group_offsets({self._group: None})[self._group]
        at = offsets.get(TopicPartition(self._topic, partition))
        return -1 if at is None else int(at.offset)

    def wait_for(self, *expected: dict[str, Any]) -> None:
        """Until the consumer has alerted on as many changes; then on these and no others, in whatever order."""
        wait_until(
            lambda: len(self.alerts) >= len(expected),
            WAIT_S,
            lambda: f"{len(expected)} alerts, got {self._process.last_words()}",
        )
        assert sorted(self.alerts) == sorted(map(line, expected))


def line(change: dict[str, Any]) -> str:
    return f"{change['tenant_id']}/{change['restore_run_id']}/{change['revision']} {encode(change).decode()}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_change_that_matters_is_alerted_once_and_nothing_else_is(
    language: str, settings: Settings, changes: Changes, tmp_path: Path
) -> None:
    consumer = Consumer(language, settings, tmp_path)
    changes.publish(BLOCKED, partition=2)
    changes.publish(FAILED, *OF_NO_INTEREST, partition=1)
    changes.take_back(TAKEN_BACK, partition=1)
    changes.publish(FAILED, REVIEW, partition=1)
    changes.publish(LATER, partition=1)
    with consumer.running():
        consumer.wait_for(FAILED, REVIEW, BLOCKED, LATER)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_consumer_that_is_started_again_goes_on_where_it_was(
    language: str, settings: Settings, changes: Changes, tmp_path: Path
) -> None:
    consumer = Consumer(language, settings, tmp_path)
    (offset,) = changes.publish(FAILED, partition=1)
    with consumer.running():
        consumer.wait_for(FAILED)
        wait_until(lambda: consumer.committed(1) > offset, WAIT_S, "the offset is committed")
    changes.publish(LATER, partition=1)
    with consumer.running():
        consumer.wait_for(FAILED, LATER)


def test_the_consumers_wish_for_what_the_page_says_is_to_be_alerted() -> None:
    ((severities, origins),) = re.findall(r"an alert is: `severity` is (.+), and `origin` is (.+)\. It is over", PAGE)
    for code in (PYTHON, JAVA):
        for names in (severities, origins):
            assert ", ".join(f'"{name}"' for name in re.findall(r"`(\w+)`", names)) in code


def test_the_headers_are_those_that_changes_have() -> None:
    written = {name for change in (FAILED, LATER) for name, _ in change_headers(change, "restore", "00-0-0-00")}
    assert set(re.findall(r"`([\w-]+)`", " ".join(first_cells("| header |")))) == written


def test_the_table_of_severities_is_the_programs() -> None:
    rows = re.findall(r"^\| `(critical|warning|notice|info)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert [severity for severity, _ in rows] == list(reversed(get_args(Severity)))
    told = {state: severity for severity, states in rows for state in re.findall(r"`(\w+)`", states)}
    assert told == SEVERITY
    assert told.keys() == set(STATES)


def test_every_origin_and_direction_is_explained() -> None:
    assert set(first_cells("| `origin` |")) == {f"`{origin}`" for origin in get_args(Origin)}
    for direction in get_args(Direction):
        assert f"`{direction}`" in PAGE


def test_files_that_are_named_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
    for name in re.findall(r"`([\w./-]+\.json)`", PAGE):
        assert (ROOT / "contracts" / "schemas" / name).is_file(), name


def first_cells(head: str) -> Sequence[str]:
    """The first column of the table that begins so, without its head."""
    table = PAGE.partition(head)[2].partition("\n\n")[0]
    return [row.split(" | ")[0].removeprefix("| ") for row in table.splitlines()[2:]]
