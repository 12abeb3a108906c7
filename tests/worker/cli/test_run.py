"""`run` as a process: signals, exit codes, health."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.plugin import MakesRedis, Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from worker.settings import PREFIX, KafkaSettings, Settings, TopicsSettings
from worker.topics import create_topics

COMMAND = str(Path(sys.executable).with_name("restore-projector"))
WAIT_S = 30.0


class Run:
    """A `restore-projector run` and its log."""

    def __init__(self, log: Path, directory: Path, **settings: str) -> None:
        self._log = log
        variables = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        variables |= {f"{PREFIX}{name}": value for name, value in settings.items()}
        with log.open("wb") as stream:
            self.process = subprocess.Popen([COMMAND, "run"], env=variables, stderr=stream, cwd=directory)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def wait_for(self, event: str) -> dict[str, Any]:
        found = wait_until(lambda: [e for e in self.events() if e["event"] == event], WAIT_S, self._log.read_text)
        return found[0]

    def ends(self) -> int:
        return self.process.wait(WAIT_S)


@pytest.fixture
def settings(kafka: KafkaServer, redis_server: RedisServer, space: Space) -> dict[str, str]:
    """An installation of the test's own, topics and all."""
    create_topics(
        Settings(
            kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap_servers), topics=TopicsSettings(prefix=space.prefix)
        ),
        partitions=2,
        replication_factor=1,
    )
    return {
        "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA__GROUP_ID": space.group,
        "KAFKA__SESSION_TIMEOUT_MS": "6000",
        "TOPICS__PREFIX": space.prefix,
        "REDIS__URL": redis_server.url,
        "REDIS__NAMESPACE": space.namespace,
    }


@contextmanager
def running(directory: Path, **settings: str) -> Iterator[Run]:
    run = Run(directory / "run.log", directory, **settings)
    try:
        yield run
    finally:
        run.process.kill()
        run.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_ends_with_exit_code_0_within_10_seconds(
    settings: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    with running(tmp_path, **settings) as run:
        run.wait_for("partition_taken_over")
        told = time.monotonic()
        run.process.send_signal(number)

        assert run.ends() == 0
        assert time.monotonic() - told < 10
        assert [e["event"] for e in run.events() if "logger" not in e][-2:] == ["stopping", "stopped"]
        assert run.wait_for("stopping")["signal"] == number.name


def test_the_same_signal_twice_at_once_is_one(settings: dict[str, str], tmp_path: Path) -> None:
    with running(tmp_path, **settings) as run:
        run.wait_for("partition_taken_over")
        run.process.send_signal(signal.SIGTERM)
        run.process.send_signal(signal.SIGTERM)

        assert run.ends() == 0


def test_it_serves_health_and_metrics_while_it_runs(settings: dict[str, str], tmp_path: Path) -> None:
    with running(tmp_path, **settings, HTTP__PORT="0") as run:
        run.wait_for("partition_taken_over")
        address = f"http://127.0.0.1:{run.wait_for('http_listening')['port']}"

        wait_until(lambda: _running_partitions(address) == 2, WAIT_S, "both partitions run")
        for path in ("/livez", "/readyz"):
            with urllib.request.urlopen(address + path, timeout=5) as answer:
                assert answer.status == 200


def _running_partitions(address: str) -> int:
    with urllib.request.urlopen(f"{address}/metrics", timeout=5) as answer:
        found = re.search(rb'restore_projector_partitions\{state="running"\} (\d+)', answer.read())
    assert found is not None
    return int(found[1])


def test_topics_that_are_not_there_stop_the_start_with_exit_code_2(settings: dict[str, str], tmp_path: Path) -> None:
    with running(tmp_path, **settings | {"TOPICS__PREFIX": "nowhere"}) as run:
        assert run.ends() == 2

    findings = [e for e in run.events() if e["event"] == "finding"]
    assert {e["setting"] for e in findings} == {"topic"}
    assert len(findings) == 8
    assert run.events()[-1]["event"] == "failed"


def test_a_redis_that_drops_keys_stops_the_start_with_exit_code_2(
    settings: dict[str, str], tmp_path: Path, private_redis: MakesRedis
) -> None:
    evicting = private_redis(maxmemory="100mb", maxmemory_policy="allkeys-lru")
    with running(tmp_path, **settings | {"REDIS__URL": evicting.url}) as run:
        assert run.ends() == 2

    (finding,) = [e for e in run.events() if e["event"] == "finding"]
    assert (finding["level"], finding["setting"], finding["got"]) == ("error", "maxmemory-policy", "allkeys-lru")


def test_servers_that_are_away_are_said_once_and_waited_for(tmp_path: Path) -> None:
    with running(tmp_path, KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1") as run:
        run.wait_for("server_unreachable")
        run.process.send_signal(signal.SIGTERM)

        assert run.ends() == 0
        assert len([e for e in run.events() if e["event"] == "server_unreachable"]) == 1


def test_an_address_for_health_that_is_taken_is_exit_code_2(tmp_path: Path, redis_server: RedisServer) -> None:
    taken = redis_server.url.rpartition(":")[2].partition("/")[0]
    with running(tmp_path, HTTP__PORT=taken) as run:
        assert run.ends() == 2
