"""Apache Kafka itself as child processes: KRaft, no ZooKeeper, no container; a node is up in two seconds, three in six.

Its jars come from Maven into a cache folder, once. Each node is broker and controller, on loopback.
"""

from __future__ import annotations

import base64
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from worker.servers.answers import kafka_answers
from worker.servers.java import Jars, java_version, version_in
from worker.servers.processes import LOOPBACK, ChildProcess, free_port, run_to_end, wait_until, wait_until_listening

_FILES: Final = Path(__file__).parent / "apache_kafka"
_POM: Final = _FILES / "pom.xml"
KAFKA_VERSION: Final = version_in(_POM, "kafka_2.13")
JARS: Final = Jars(f"Apache Kafka {KAFKA_VERSION}", f"kafka-{KAFKA_VERSION}", _POM)
START_TIMEOUT_S: Final = 60.0
"""Start-up takes three seconds on an idle machine of two cores; three nodes on a busy one were seen to take twenty."""


class KafkaNode:
    """One broker and controller, with its own data folder, ports and log.

    `settings` are lines of server.properties that replace or add to ours. Raises ServerUnavailable.
    """

    def __init__(
        self, number: int, controller_ports: Mapping[int, int], directory: Path, settings: Mapping[str, str | int]
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

    def wait_until_listening(self, stop: threading.Event | None = None) -> None:
        """Raises ServerFailed, StartInterrupted."""
        wait_until_listening(self.process, self.port, f"Kafka node {self.number}", START_TIMEOUT_S, stop)


@contextmanager
def local_kafka(directory: Path, stop: threading.Event | None = None) -> Iterator[str]:
    """One node. Yields its bootstrap servers. Raises ServerUnavailable, ServerFailed, StartInterrupted.

    At the end it is killed: a Kafka that ends in order takes a second, and its data go with the directory.
    """
    node = KafkaNode(1, {1: free_port()}, directory, {})
    with ExitStack() as stack:
        stack.callback(node.process.kill)
        format_storage([node], stop)
        node.launch()
        wait_until_serving([node], stop)
        yield node.address


def format_storage(nodes: Sequence[KafkaNode], stop: threading.Event | None = None) -> None:
    """Make the nodes one new, empty cluster. Raises ServerFailed, StartInterrupted."""
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    for node in nodes:
        command = JARS.command(
            "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", cluster, "-c", node.properties
        )
        log = node.properties.with_name(f"kafka-{node.number}-format.log")
        run_to_end(command, log, START_TIMEOUT_S, "formatting Kafka's storage", stop)


def wait_until_serving(nodes: Sequence[KafkaNode], stop: threading.Event | None = None) -> None:
    """Raises ServerFailed, StartInterrupted."""
    for node in nodes:
        node.wait_until_listening(stop)
    servers = ",".join(node.address for node in nodes)
    wait_until(
        lambda: kafka_answers(servers, brokers=len(nodes)),
        START_TIMEOUT_S,
        lambda: f"Kafka does not serve at {servers}: {nodes[0].process.last_words(30)}",
        stop,
    )


def _properties(node: KafkaNode, controller_ports: Mapping[int, int], settings: Mapping[str, str | int]) -> str:
    lines = {
        "node.id": node.number,
        "process.roles": "broker,controller",
        "controller.quorum.voters": ",".join(f"{n}@{LOOPBACK}:{port}" for n, port in controller_ports.items()),
        "listeners": f"PLAINTEXT://{node.address},CONTROLLER://{LOOPBACK}:{controller_ports[node.number]}",
        "advertised.listeners": f"PLAINTEXT://{node.address}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": node.data,
        **small_kafka_settings(replicas=len(controller_ports)),
        **settings,
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def small_kafka_settings(replicas: int) -> dict[str, str | int]:
    """Where a Kafka that starts fast on a small machine differs from a production cluster, however it runs."""
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
        # A first worker need not wait for others that may come.
        "group.initial.rebalance.delay.ms": 0,
        # How soon an overdue transaction is looked for; 10 s by default, which a killed worker's next one would wait.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        # 10 MiB of index for each of many small partitions would be out of proportion.
        "log.index.size.max.bytes": 1_048_576,
    }


def local_kafka_unavailable() -> str | None:
    """Why Kafka can't be run as a local process, or None if it can."""
    return JARS.unavailable()


def local_kafka_name() -> str:
    """Product, version and how it runs."""
    return f"{JARS.product}, a process of its own (Java {java_version()})"
