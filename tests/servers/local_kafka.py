"""A local Apache Kafka (`worker.servers.local_kafka`) of one or three nodes that a test may treat as it likes.

The settings are those of a production cluster except where a test needs speed or quiet.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.servers.hanging import pause, resume
from worker.servers.errors import ServerUnavailable
from worker.servers.local_kafka import (
    KafkaNode,
    format_storage,
    local_kafka_name,
    local_kafka_unavailable,
    wait_until_serving,
)
from worker.servers.processes import free_port

STOP_TIMEOUT_S: Final = 30.0
TEST_SETTINGS: Final[Mapping[str, str | int]] = {
    # How soon a killed broker's leadership moves, and how soon it may come back; 9 s by default.
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
    # Nothing is cleaned away behind a test's back, whatever timestamps it writes.
    "log.retention.ms": -1,
    "log.cleaner.min.compaction.lag.ms": 86_400_000,
}
"""Where a Kafka for tests differs from that of `dev`, however it runs."""


class LocalKafka:
    """A cluster of one or three nodes; `nodes` are there to be killed one at a time.

    `settings` are lines of server.properties that replace or add to the others.
    """

    def __init__(self, directory: Path, nodes: int = 1, settings: Mapping[str, str] | None = None) -> None:
        why_not = local_kafka_unavailable()
        if why_not:
            raise ServerUnavailable(why_not)
        self.name = local_kafka_name()
        voters = {number: free_port() for number in range(1, nodes + 1)}
        lines = {**TEST_SETTINGS, **(settings or {})}
        self.nodes = [LocalKafkaNode(number, voters, directory, lines) for number in voters]
        format_storage(self.nodes)

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(node.address for node in self.nodes)

    def start(self) -> None:
        for node in self.nodes:
            node.launch()
        wait_until_serving(self.nodes)

    def stop(self) -> None:
        for node in self.nodes:
            node.process.terminate()
        for node in self.nodes:
            node.stop()

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


class LocalKafkaNode(KafkaNode):
    """One node, and what may happen to it."""

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
