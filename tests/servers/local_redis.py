"""Redis or Valkey as a child process, from what is installed, else from the wheel of `demo`."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from tests.servers.hanging import pause, resume
from tests.servers.ports import ServerUnavailable
from tests.servers.waiting import wait_until
from worker.embedded import LOOPBACK, ChildProcess, EmbeddedServerMissing, free_port, redis_options, valkey_command

START_TIMEOUT_S = 20.0


class LocalRedis:
    """A Redis of its own folder and port. Nothing survives a restart unless `appendonly`.

    `options` are settings of redis.conf by name.
    """

    def __init__(
        self,
        directory: Path,
        *,
        appendonly: bool = False,
        options: Mapping[str, str] | None = None,
        binary: str | None = None,
    ) -> None:
        why_not = local_redis_unavailable()
        if why_not:
            raise ServerUnavailable(why_not)
        server = binary or _binary()
        self.name = f"{_version(server)} (local process)"
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


def redis_answers(url: str) -> bool:
    """Whether it serves, its data loaded."""
    with Redis.from_url(url, socket_timeout=2.0, retry=None) as client:
        try:
            return bool(client.ping())
        except RedisError:
            return False


@functools.cache
def local_redis_unavailable() -> str | None:
    """Why Redis can't be run as a local process, or None if it can."""
    try:
        _binary()
    except ServerUnavailable as error:
        return str(error)
    return None


def local_redis_name() -> str:
    """Product and version of what `LocalRedis` would run."""
    return f"{_version(_binary())} (local process)"


@functools.cache
def _binary() -> str:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    try:
        return valkey_command(0, Path())[0]
    except EmbeddedServerMissing as error:
        raise ServerUnavailable(f"no redis-server, no valkey-server, and {error}") from error


@functools.cache
def _version(binary: str) -> str:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"v=([\d.]+)", said)
    product = "Valkey" if said.startswith("Valkey") else "Redis"
    return f"{product} {number[1] if number else 'of unknown version'}"
