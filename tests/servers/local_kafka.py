"""Apache Kafka itself as child processes: KRaft, no ZooKeeper, no container; a node is up in two seconds, three in six.

Its jars come from Maven into a cache folder, once. Each node is broker and controller, on loopback. The settings are
those of a production cluster except where a test needs speed or quiet (`kafka_test_settings`).
"""

from __future__ import annotations

import base64
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.servers.hanging import pause, resume
from tests.servers.kafka_answers import kafka_answers
from tests.servers.ports import ServerUnavailable
from tests.servers.waiting import wait_until
from worker.embedded import LOOPBACK, ChildProcess, free_port, listening

_FILES = Path(__file__).parent / "apache_kafka"
_POM = _FILES / "pom.xml"
KAFKA_VERSION = re.findall(r"<artifactId>kafka_2.13</artifactId>\s*<version>([^<]+)", _POM.read_text())[0]
NEEDED_JAVA = 17
START_TIMEOUT_S = 60.0
"""Start-up takes three seconds on an idle machine of two cores; three nodes on a busy one were seen to take twenty."""
STOP_TIMEOUT_S = 30.0
DOWNLOAD_TIMEOUT_S = 600.0


class LocalKafka:
    """A cluster of one or three nodes; `nodes` are there to be killed one at a time.

    `settings` are lines of server.properties that replace or add to those below.
    """

    def __init__(self, directory: Path, nodes: int = 1, settings: Mapping[str, str] | None = None) -> None:
        why_not = local_kafka_unavailable()
        if why_not:
            raise ServerUnavailable(why_not)
        self.name = local_kafka_name()
        voters = {number: free_port() for number in range(1, nodes + 1)}
        self.nodes = [LocalKafkaNode(number, voters, directory, settings or {}) for number in voters]
        _format(self.nodes)

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(node.address for node in self.nodes)

    def start(self) -> None:
        for node in self.nodes:
            node.launch()
        self._wait()

    def stop(self) -> None:
        for node in self.nodes:
            node.process.terminate()
        for node in self.nodes:
            node.process.stop(STOP_TIMEOUT_S)

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        for node in self.nodes:
            node.resume()

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def _wait(self) -> None:
        for node in self.nodes:
            node.wait_until_listening()
        wait_until(
            lambda: kafka_answers(self.bootstrap_servers, brokers=len(self.nodes)),
            START_TIMEOUT_S,
            lambda: f"Kafka serves at {self.bootstrap_servers}\n{self.nodes[0].process.last_words(30)}",
        )


class LocalKafkaNode:
    """One broker and controller, with its own data folder, ports and log."""

    def __init__(
        self, number: int, controller_ports: Mapping[int, int], directory: Path, settings: Mapping[str, str]
    ) -> None:
        self.number = number
        self.port = free_port()
        self.data = directory / f"kafka-{number}-data"
        self.properties = directory / f"kafka-{number}.properties"
        self.properties.write_text(_properties(self, controller_ports, settings))
        self.process = ChildProcess(
            _java("-Xmx512m", f"-Dlog4j2.configurationFile={_FILES / 'log4j2.xml'}", "kafka.Kafka", self.properties),
            directory / f"kafka-{number}.log",
            directory=directory,
        )

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def launch(self) -> None:
        """Start the process; it serves a few seconds later."""
        self.process.start()

    def start(self) -> None:
        self.launch()
        self.wait_until_listening()

    def stop(self) -> None:
        self.process.stop(STOP_TIMEOUT_S)

    def kill(self) -> None:
        self.process.kill()

    def pause(self) -> None:
        pause(self.process)

    def resume(self) -> None:
        resume(self.process)

    def close(self) -> None:
        self.process.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def wait_until_listening(self) -> None:
        def up_or_ended() -> bool:
            assert self.process.alive, f"Kafka node {self.number} ended:\n{self.process.last_words(30)}"
            return listening(self.port)

        wait_until(up_or_ended, START_TIMEOUT_S, lambda: f"Kafka listens on {self.port}\n{self.process.last_words(30)}")


def _properties(node: LocalKafkaNode, controller_ports: Mapping[int, int], settings: Mapping[str, str]) -> str:
    lines = {
        "node.id": node.number,
        "process.roles": "broker,controller",
        "controller.quorum.voters": ",".join(f"{n}@{LOOPBACK}:{port}" for n, port in controller_ports.items()),
        "listeners": f"PLAINTEXT://{node.address},CONTROLLER://{LOOPBACK}:{controller_ports[node.number]}",
        "advertised.listeners": f"PLAINTEXT://{node.address}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": node.data,
        **kafka_test_settings(replicas=len(controller_ports)),
        **settings,
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def kafka_test_settings(replicas: int) -> dict[str, str | int]:
    """Where a Kafka for tests differs from a new one, however it runs."""
    in_sync = min(2, replicas)
    return {
        # A mistyped topic is an error, as in production.
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        # 50 each would be most of the start-up time.
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.num.partitions": 1,
        # Groups of tests need not wait for members that do not come.
        "group.initial.rebalance.delay.ms": 0,
        # How soon an overdue transaction is looked for; 10 s by default, which a test would wait.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        # How soon a killed broker's leadership moves, and how soon it may come back; 9 s by default.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # Nothing is cleaned away behind a test's back, whatever timestamps it writes.
        "log.retention.ms": -1,
        "log.cleaner.min.compaction.lag.ms": 86_400_000,
        # Hundreds of topics of a few records each: 10 MiB of index for each partition would be out of proportion.
        "log.index.size.max.bytes": 1_048_576,
    }


def _format(nodes: list[LocalKafkaNode]) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    for node in nodes:
        done = subprocess.run(
            _java("-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", cluster, "-c", node.properties),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}"


def _java(*arguments: str | Path) -> list[str]:
    # The serial collector has the fewest threads, and the heap is small.
    command = [_java_binary(), "-XX:+UseSerialGC", "-Xshare:auto", "-cp", f"{_jars()}/*", *arguments]
    return [str(word) for word in command]


def _java_binary() -> str:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else "java"


@functools.cache
def local_kafka_unavailable() -> str | None:
    """Why Kafka can't be run as a local process, or None if it can."""
    java = shutil.which(_java_binary())
    if java is None:
        return f"no java (Kafka {KAFKA_VERSION} needs {NEEDED_JAVA} or later)"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < NEEDED_JAVA:
        return f"Kafka {KAFKA_VERSION} needs Java {NEEDED_JAVA} or later, not {said.splitlines()[:1]}"
    if not _cached_jars().exists() and shutil.which("mvn") is None:
        return f"no mvn to fetch Kafka {KAFKA_VERSION}"
    return None


def local_kafka_name() -> str:
    """Product and version of what `LocalKafka` runs."""
    return f"Apache Kafka {KAFKA_VERSION} (local process)"


def _cached_jars() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(_POM.read_bytes()).hexdigest()[:8]
    return cache / "restore-projector" / f"kafka-{KAFKA_VERSION}-{digest}"


@functools.cache
def _jars() -> Path:
    """The folder of Kafka's jars, fetched if need be: whole or not at all, and by one process only."""
    jars = _cached_jars()
    if jars.exists():
        return jars
    jars.parent.mkdir(parents=True, exist_ok=True)
    with (jars.parent / f"{jars.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.exists():
            with tempfile.TemporaryDirectory(dir=jars.parent) as scratch:
                _download(Path(scratch) / "jars")
                (Path(scratch) / "jars").rename(jars)
    return jars


def _download(into: Path) -> None:
    done = subprocess.run(
        [
            "mvn", "--quiet", "--batch-mode", "--file", str(_POM), "dependency:copy-dependencies",
            f"-DoutputDirectory={into}", "-DincludeScope=runtime",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_TIMEOUT_S,
        check=False,
    )  # fmt: skip
    if done.returncode != 0 or not into.exists():
        raise ServerUnavailable(f"mvn could not fetch Kafka {KAFKA_VERSION}: {(done.stdout + done.stderr)[-2000:]}")
