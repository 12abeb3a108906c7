"""`dev` as a process: what it starts, what it says, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.processes import environment, install
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from worker.servers.embedded import embedded_unavailable
from worker.settings import PREFIX, Settings, TopicsSettings
from worker.topics import read_topics

COMMAND = str(Path(sys.executable).with_name("restore-projector"))
WAIT_S = 40.0
READY = "Ctrl-C ends all of it."


@pytest.fixture
def _wheels() -> None:
    why_not = embedded_unavailable()
    if why_not is not None:
        pytest.skip(why_not)


class Dev:
    """A `restore-projector dev`, its temporary files in a folder of the test's own."""

    def __init__(self, directory: Path, *options: str, **settings: str) -> None:
        self._out, self._err, self.temporary = directory / "out", directory / "err", directory / "temporary"
        self.temporary.mkdir()
        others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = psutil.Popen(
                [COMMAND, "dev", *options],
                env={**others, "TMPDIR": str(self.temporary), **settings}, stdout=out, stderr=err, cwd=directory,
            )  # fmt: skip
        self._started: list[psutil.Process] = []

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_until_ready(self) -> None:
        self.wait_for(READY)
        self._started = self.process.children(recursive=True)

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.out or self.process.poll() is not None, WAIT_S, lambda: self.out + self.err)
        assert text in self.out, self.out + self.err

    def worker(self) -> psutil.Process:
        found = re.search(r"The worker runs, process (\d+)", self.out)
        assert found is not None
        return psutil.Process(int(found[1]))

    def health(self, path: str) -> bytes:
        address = re.search(r"(http://127\.0\.0\.1:\d+)/readyz", self.out)
        assert address is not None
        with urllib.request.urlopen(address[1] + path, timeout=5) as answer:
            body: bytes = answer.read()
        return body

    def exports(self) -> dict[str, str]:
        return dict(re.findall(r"export (\w+)=(\S+)", self.out))

    def ends(self, number: signal.Signals | None = None) -> int:
        """Its exit code, after a signal if one is given. Nothing that it started may be left."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(WAIT_S)
        assert [p for p in self._started if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
        assert list(self.temporary.iterdir()) == []
        return int(code)

    def kill(self) -> None:
        """End it and what it started, whatever state it is in."""
        if self.process.poll() is None:
            for process in [*self.process.children(recursive=True), self.process]:
                process.kill()
            self.process.wait()


@contextmanager
def dev(directory: Path, *options: str, **settings: str) -> Iterator[Dev]:
    started = Dev(directory, *options, **settings)
    try:
        yield started
    finally:
        started.kill()


def other_terminal(dev: Dev, *arguments: str) -> str:
    """What a command prints that was given what `dev` says is to be exported, and no more."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    done = subprocess.run(
        [COMMAND, *arguments],
        env={**others, **dev.exports()}, cwd=dev.temporary.parent, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.usefixtures("_wheels")
def test_it_is_an_installation_that_other_terminals_can_use_and_that_leaves_nothing(tmp_path: Path) -> None:
    with dev(tmp_path, "--traffic", "30", "--watch") as running:
        running.wait_until_ready()
        running.wait_for("Execution in progress")

        assert "Embedded servers, all in memory" in running.out
        assert json.loads(running.health("/readyz"))["ready"] is True
        assert b'restore_projector_partitions{state="running"} 3' in running.health("/metrics")
        change = json.loads(other_terminal(running, "watch", "--since", "1h", "--no-follow", "--max", "1", "--json"))
        explained = other_terminal(running, "explain", change["tenant_id"], change["restore_run_id"])
        assert change["restore_run_id"] in explained

        assert running.ends(signal.SIGINT) == 0
        assert running.out.endswith("Stopping …\nStopped.\n")
        assert running.err == ""


@pytest.mark.usefixtures("_wheels")
def test_a_worker_that_is_killed_ends_all_of_it_with_exit_code_1(tmp_path: Path) -> None:
    with dev(tmp_path) as running:
        running.wait_until_ready()
        running.worker().kill()

        assert running.ends() == 1
        assert "the worker ended with exit code -9" in running.err


@pytest.fixture
def settings(kafka: KafkaServer, redis_server: RedisServer, space: Space) -> Settings:
    """An installation with two partitions on servers that are there already."""
    return install(kafka, redis_server, space.prefix, partitions=2)


def test_servers_that_the_settings_name_are_taken_and_stay(settings: Settings, tmp_path: Path) -> None:
    with dev(tmp_path, **environment(settings)) as running:
        running.wait_until_ready()

        assert (
            f"External servers, as the settings name them:\n  Kafka at {settings.kafka.bootstrap_servers}\n"
            in running.out
        )
        assert f"0 topics {settings.topics.prefix}.… made, 8 were there: 2 partitions each" in running.out
        assert "partition_taken_over" in running.err
        assert running.ends(signal.SIGTERM) == 0
    assert len(read_topics(settings)) == 8


def test_topics_that_are_missing_are_made(settings: Settings, tmp_path: Path) -> None:
    missing = settings.model_copy(update={"topics": TopicsSettings(prefix=f"{settings.topics.prefix}-2")})
    with dev(tmp_path, "--servers", "external", "--partitions", "4", **environment(missing)) as running:
        running.wait_for(f"8 topics {missing.topics.prefix}.… made, 0 were there")

        assert running.ends(signal.SIGTERM) == 0
    assert {topic.partitions for topic in read_topics(missing).values()} == {4}


def test_external_servers_that_are_away_are_exit_code_3(tmp_path: Path) -> None:
    with dev(tmp_path, **{f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}) as running:
        assert running.ends() == 3
        assert "Kafka at 127.0.0.1:1 cannot be reached" in running.err
