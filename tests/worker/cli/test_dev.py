"""`dev` as a process: what it starts, what it says, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.processes import environment, install
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from tests.worker.cli.dev_process import COMMAND, Dev, dev, runs
from worker.cli.dev import CAUTION
from worker.servers.embedded import embedded_unavailable
from worker.servers.local_kafka import JARS, KAFKA_VERSION, local_kafka_unavailable
from worker.settings import PREFIX, Settings, TopicsSettings
from worker.topics import read_topics

EMBEDDED = "Embedded servers, all in memory:"
LOCAL = "Servers as processes of this machine, gone at the end with their data:"
NO_ENGINE = {"DOCKER_HOST": "unix:///there/is/none"}


@pytest.fixture
def _wheels() -> None:
    why_not = embedded_unavailable()
    if why_not is not None:
        pytest.skip(why_not)


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
    with dev(tmp_path, "--servers", "embedded", "--traffic", "30", "--watch") as running:
        running.wait_until_ready()
        running.wait_for("Execution in progress")

        assert EMBEDDED in running.out
        assert CAUTION in running.out
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
    with dev(tmp_path, "--servers", "embedded") as running:
        running.wait_until_ready()
        running.worker().kill()

        assert running.ends() == 1
        assert "the worker ended with exit code -9" in running.err


@pytest.fixture
def _local() -> None:
    """Apache Kafka and Redis as processes; where they cannot be had the test is skipped, or fails in CI."""
    why_not = local_kafka_unavailable()
    if why_not is not None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why_not)
    JARS.fetch()


@pytest.mark.usefixtures("_local")
def test_local_servers_are_an_apache_kafka_and_a_redis_on_loopback(tmp_path: Path) -> None:
    with dev(tmp_path, "--servers", "local") as running:
        running.wait_until_ready()

        exports = running.exports()
        address = exports[f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS"]
        assert re.search(
            rf"^{LOCAL}\n  Apache Kafka {KAFKA_VERSION}, a process of its own \(Java \d+\), at {address}\n"
            rf"  (Redis|Valkey) [\d.]+, a process of its own, at {exports[f'{PREFIX}REDIS__URL']}\n",
            running.out,
            re.MULTILINE,
        )
        assert "for trying things" not in running.out
        listening = [
            connection.laddr.ip.removeprefix("::ffff:")
            for process in running.process.children(recursive=True)
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        assert len(listening) >= 4, "Kafka's two, Redis's, the worker's"
        assert set(listening) == {"127.0.0.1"}
        assert running.ends(signal.SIGINT) == 0


@pytest.mark.usefixtures("_local")
def test_auto_takes_local_servers_where_no_engine_answers(tmp_path: Path) -> None:
    with dev(tmp_path, **NO_ENGINE) as running:
        running.wait_for(LOCAL)

        assert running.out.startswith("No more real servers here (docker: no Docker engine answers).\n")
        assert running.ends(signal.SIGINT) == 0


@pytest.mark.usefixtures("_wheels")
def test_auto_takes_embedded_servers_where_there_is_no_java_either(tmp_path: Path) -> None:
    with dev(tmp_path, **NO_ENGINE, **only(tmp_path)) as running:
        running.wait_for(CAUTION)

        why = f"docker: no Docker engine answers; local: no java ({NEEDS_JAVA})"
        assert running.out.startswith(f"No more real servers here ({why}).\n{EMBEDDED}\n")
        assert running.ends(signal.SIGINT) == 0


@pytest.mark.usefixtures("_local")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_nothing_outlives_a_dev_that_is_killed(tmp_path: Path) -> None:
    with dev(tmp_path, "--servers", "local") as running:
        running.wait_until_ready()
        started = running.process.children(recursive=True)
        assert len(started) >= 3
        running.process.kill()

        wait_until(lambda: not any(runs(p) for p in started), 10, lambda: f"{started} end")


@pytest.mark.usefixtures("_local")
@pytest.mark.parametrize("program", ["kafka.tools.StorageTool", "kafka.Kafka"])
def test_ctrl_c_while_local_servers_start_ends_them(program: str, tmp_path: Path) -> None:
    with dev(tmp_path, "--servers", "local") as running:
        running.wait_for_process(program)

        assert running.ends(signal.SIGINT) == 0
        assert running.out == "Stopped.\n"
        assert running.err == ""


JAVA_17 = """echo 'openjdk version "17.0.1"' >&2"""
JAVA_11 = """echo 'openjdk version "11.0.2"' >&2"""
NEEDS_JAVA = f"Apache Kafka {KAFKA_VERSION} needs Java 17 or later"
NO_NETWORK = "echo 'Could not resolve host'; exit 1"


def only(directory: Path, **programs: str) -> dict[str, str]:
    """A machine that has these programs, shell scripts each, and no jars in its cache."""
    place = directory / "bin"
    place.mkdir()
    for name, script in programs.items():
        (place / name).write_text(f"#!/bin/sh\n{script}\n")
        (place / name).chmod(0o755)
    return {"PATH": str(place), "JAVA_HOME": "", "XDG_CACHE_HOME": str(directory / "cache")}


@pytest.mark.parametrize(
    ("kind", "programs", "why"),
    [
        ("docker", {}, ["no Docker engine answers"]),
        ("local", {}, [f"no java ({NEEDS_JAVA})"]),
        ("local", {"java": JAVA_11}, [f"java is 11 ({NEEDS_JAVA})"]),
        ("local", {"java": JAVA_17}, [f"no mvn to fetch Apache Kafka {KAFKA_VERSION}"]),
        (
            "local",
            {"java": JAVA_17, "mvn": NO_NETWORK},
            [
                f"mvn could not fetch Apache Kafka {KAFKA_VERSION}",
                "mvn ended with exit code 1: Could not resolve host",
            ],
        ),
    ],
)
def test_servers_that_are_chosen_and_cannot_be_had_are_exit_code_2(
    kind: str, programs: dict[str, str], why: list[str], tmp_path: Path
) -> None:
    with dev(tmp_path, "--servers", kind, **NO_ENGINE, **only(tmp_path, **programs)) as running:
        assert running.ends() == 2
        first, *others = why
        said = [f"--servers {kind} cannot be had here: {first}", *others]
        assert running.err.splitlines() == [f"restore-projector: {line}" for line in said]


@pytest.mark.usefixtures("_wheels")
def test_ctrl_c_while_maven_fetches_ends_it(tmp_path: Path) -> None:
    machine = only(tmp_path, java=JAVA_17, mvn="exec /bin/sleep 600")
    with dev(tmp_path, "--servers", "local", **machine) as running:
        running.wait_for_process("600")

        assert running.out.startswith(f"Maven fetches Apache Kafka {KAFKA_VERSION}, once, into {tmp_path}/cache/")
        assert running.ends(signal.SIGINT) == 0
        assert running.out.endswith("…\nStopped.\n")
        assert [file.suffix for file in (tmp_path / "cache" / "restore-projector").iterdir()] == [".lock"]


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
