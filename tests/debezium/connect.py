"""Kafka Connect with the Debezium connector as a child process: one worker of distributed mode, on loopback.

Distributed, because that is what runs in production: connectors are made through its REST interface, their
configurations and positions are in Kafka, and a worker that was killed goes on by itself when it comes back.
"""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from tests.servers.waiting import wait_until
from worker.servers.errors import ServerUnavailable
from worker.servers.java import Jars, version_in
from worker.servers.processes import LOOPBACK, ChildProcess, free_port

_FILES: Final = Path(__file__).parent / "kafka_connect"
_POM: Final = _FILES / "pom.xml"
DEBEZIUM_VERSION: Final = version_in(_POM, "debezium-connector-postgres")
JARS: Final = Jars(f"Debezium {DEBEZIUM_VERSION}", f"debezium-{DEBEZIUM_VERSION}", _POM)

START_TIMEOUT_S: Final = 90.0
"""Connect is up in six seconds; this is for a machine that is very busy."""
RUNNING_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0

Configuration = dict[str, str]
"""A connector's, as in the body of `PUT /connectors/<name>/config`."""


class Connect:
    """A Connect worker. Connectors survive its end, as they are in Kafka."""

    def __init__(self, bootstrap_servers: str, directory: Path) -> None:
        why_not = JARS.unavailable()
        if why_not:
            raise ServerUnavailable(why_not)
        self.name = f"Debezium {DEBEZIUM_VERSION} (local process)"
        self.port = free_port()
        properties = directory / "connect.properties"
        properties.write_text(_properties(bootstrap_servers, self.port))
        self.process = ChildProcess(
            JARS.command(
                "-Xmx512m",
                f"-Dlog4j2.configurationFile={_FILES / 'log4j2.xml'}",
                "org.apache.kafka.connect.cli.ConnectDistributed",
                properties,
            ),
            directory / "connect.log",
            directory=directory,
        )

    def start(self) -> None:
        self.process.start()
        wait_until(self._answers, START_TIMEOUT_S, lambda: f"Connect answers\n{self.process.last_words(30)}")

    def stop(self) -> None:
        self.process.stop(STOP_TIMEOUT_S)

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        self.process.kill()

    def make(self, name: str, configuration: Configuration) -> None:
        """Make a connector and wait until it runs. Raises AssertionError with the reason when it does not."""
        self.put(name, configuration)
        self.wait_until_running(name)

    def put(self, name: str, configuration: Configuration) -> None:
        """Make a connector; it runs a little later."""
        self._call("PUT", f"/connectors/{name}/config", configuration)

    def wait_until_running(self, name: str) -> None:
        wait_until(lambda: self._runs(name), RUNNING_TIMEOUT_S, lambda: f"{name} runs: {self.status(name)}")

    def configuration(self, name: str) -> dict[str, str]:
        """What Connect says that the connector runs with."""
        found: dict[str, str] = self._call("GET", f"/connectors/{name}/config")
        return found

    def remove(self, name: str) -> None:
        """Remove a connector and wait until its task is gone; its slot in the database stays."""
        self._call("DELETE", f"/connectors/{name}")
        wait_until(lambda: name not in self._call("GET", "/connectors"), RUNNING_TIMEOUT_S, f"{name} is gone")

    def status(self, name: str) -> dict[str, Any]:
        """Of the connector and its tasks; empty while Connect does not know it."""
        try:
            found: dict[str, Any] = self._call("GET", f"/connectors/{name}/status")
        except NotAnswered:
            return {}
        return found

    def _runs(self, name: str) -> bool:
        status = self.status(name)
        parts = [status["connector"], *status["tasks"]] if status else []
        traces = [part["trace"] for part in parts if part["state"] == "FAILED"]
        assert not traces, f"{name} failed:\n{traces[0]}"
        return len(parts) > 1 and all(part["state"] == "RUNNING" for part in parts)

    def _answers(self) -> bool:
        assert self.process.alive, f"Connect ended:\n{self.process.last_words(30)}"
        try:
            self._call("GET", "/connectors")
        except NotAnswered:
            return False
        return True

    def _call(self, method: str, path: str, body: object = None) -> Any:
        """Raises NotAnswered."""
        request = urllib.request.Request(
            f"http://{LOOPBACK}:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                said = response.read()
        except urllib.error.HTTPError as error:
            with error:
                raise NotAnswered(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from None
        except OSError as error:
            raise NotAnswered(f"{method} {path}: {error}") from None
        return json.loads(said) if said else None


class NotAnswered(Exception):
    """Connect is not there yet, or refuses; the message says what it said."""


def _properties(bootstrap_servers: str, port: int) -> str:
    group = f"connect-{secrets.token_hex(4)}"
    lines = {
        "bootstrap.servers": bootstrap_servers,
        "group.id": group,
        "config.storage.topic": f"{group}-configs",
        "offset.storage.topic": f"{group}-offsets",
        "status.storage.topic": f"{group}-status",
        **{f"{name}.storage.replication.factor": 1 for name in ("config", "offset", "status")},
        **{f"{name}.storage.partitions": 1 for name in ("offset", "status")},
        "key.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "listeners": f"http://{LOOPBACK}:{port}",
        "plugin.discovery": "service_load",
        # A missing topic is an error, not a new one with a number of partitions of its own.
        "topic.creation.enable": "false",
        # Where a connector's configuration gets its secrets from.
        "config.providers": "file",
        "config.providers.file.class": "org.apache.kafka.common.config.provider.FileConfigProvider",
        # Positions are written, and confirmed to the database, each second and not each minute.
        "offset.flush.interval.ms": 1_000,
        # A killed worker's connectors go on when it is back, not five minutes later, and soon.
        "scheduled.rebalance.max.delay.ms": 0,
        "session.timeout.ms": 6_000,
        "heartbeat.interval.ms": 500,
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())
