"""A local Redis or Valkey (`worker.servers.local_redis`) that a test may treat as it likes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.servers.hanging import pause, resume
from tests.servers.waiting import wait_until
from worker.servers.answers import redis_answers
from worker.servers.embedded import redis_options
from worker.servers.local_redis import local_redis_name, redis_binary
from worker.servers.processes import LOOPBACK, ChildProcess, free_port

START_TIMEOUT_S = 20.0


class LocalRedis:
    """A Redis of its own folder and port. Nothing survives a restart unless `appendonly`.

    `options` are settings of redis.conf by name. Raises ServerUnavailable.
    """

    def __init__(
        self,
        directory: Path,
        *,
        appendonly: bool = False,
        options: Mapping[str, str] | None = None,
        binary: str | None = None,
    ) -> None:
        server = binary or redis_binary()
        self.name = local_redis_name(server)
        self.port = free_port()
        self.data = directory / f"redis-{self.port}-data"
        self.data.mkdir()
        settings = {"appendonly": "yes", "appendfsync": "always"} if appendonly else {}
        settings |= options or {}
        command = [server, *redis_options(self.port, self.data)]
        for name, value in settings.items():
            command += [f"--{name}", value]
        self.process = ChildProcess(command, directory / f"redis-{self.port}.log")

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def start(self) -> None:
        self.process.start()
        wait_until(self._answers, START_TIMEOUT_S, lambda: f"Redis answers\n{self.process.last_words()}")

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
        shutil.rmtree(self.data, ignore_errors=True)

    def _answers(self) -> bool:
        assert self.process.alive, f"Redis ended:\n{self.process.last_words()}"
        return redis_answers(self.url)
