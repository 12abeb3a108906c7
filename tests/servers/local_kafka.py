"""Apache Kafka itself as child processes: KRaft, no ZooKeeper, no container; a node is up in two seconds, three in six.

Its jars come from Maven into a cache folder, once. Each node is broker and controller, on loopback. The settings are
those of a production cluster except where a test needs speed or quiet (`kafka_test_settings`).
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.servers.hanging import pause, resume
from tests.servers.java import Jars, version_in
from tests.servers.kafka_answers import kafka_answers
from tests.servers.ports import ServerUnavailable
from tests.servers.waiting import wait_until
from worker.embedded import LOOPBACK, ChildProcess, free_port, listening

_FILES = Path(__file__).parent / "apache_kafka"
_POM = _FILES / "pom.xml"
KAFKA_VERSION = version_in(_POM, "kafka_2.13")
JARS = Jars(f"Kafka {KAFKA_VERSION}", f"kafka-{KAFKA_VERSION}", _POM)
START_TIMEOUT_S = 60.0
"""Start-up takes three seconds on an idle machine of two cores; three nodes on a busy one were seen to take twenty."""
STOP_TIMEOUT_S = 30.0


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
            JARS.command(
                "-Xmx512m", f"-Dlog4j2.configurationFile={_FILES / 'log4j2.xml'}", "kafka.Kafka", self.properties
            ),
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
            JARS.command(
                "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", cluster, "-c", node.properties
            ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}"


def local_kafka_unavailable() -> str | None:
    """Why Kafka can't be run as a local process, or None if it can."""
    return JARS.unavailable()


def local_kafka_name() -> str:
    """Product and version of what `LocalKafka` runs."""
    return f"Apache Kafka {KAFKA_VERSION} (local process)"
