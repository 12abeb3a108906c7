"""Child processes that end with us, ports for them, and waiting until they serve."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from worker.servers.errors import ServerFailed, StartInterrupted

LOOPBACK: Final = "127.0.0.1"
START_TIMEOUT_S: Final = 20.0
"""Servers without Java are up within 0.2 s; this is for a machine that is very busy."""
STOP_TIMEOUT_S: Final = 5.0
"""How long a server may take to end by itself before it is killed; those that get no longer have nothing to save."""
_STANDARD_ERROR: Final = 2
_PAUSE_S: Final = 0.01
_PORTS: Final = range(15_000, 30_000)
"""Below the ephemeral ports of common systems: a server that restarts finds its port free, and a client that calls a
server which is down cannot be given the same port as its own and so reach itself."""


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
    raise ServerFailed(f"no free port on {LOOPBACK} between {_PORTS.start} and {_PORTS.stop}")


def listening(port: int) -> bool:
    """Whether somebody accepts connections on the loopback port."""
    with socket.socket() as caller:
        caller.settimeout(1.0)
        return caller.connect_ex((LOOPBACK, port)) == 0


@contextmanager
def running(
    command: Sequence[str], log: Path, port: int, name: str, stop: threading.Event | None = None
) -> Iterator[None]:
    """A server that listens on the port, for the time of the context. Raises ServerFailed, StartInterrupted."""
    server = ChildProcess(command, log)
    server.start()
    try:
        wait_until_listening(server, port, name, START_TIMEOUT_S, stop)
        yield
    finally:
        server.stop()


def wait_until_listening(
    server: ChildProcess, port: int, name: str, timeout_s: float, stop: threading.Event | None = None
) -> None:
    """Raises ServerFailed, StartInterrupted."""

    def up_or_ended() -> bool:
        if not server.alive:
            raise ServerFailed(f"{name} ended at once: {server.last_words()}")
        return listening(port)

    wait_until(up_or_ended, timeout_s, lambda: f"{name} does not listen on port {port}: {server.last_words()}", stop)


def wait_until(
    condition: Callable[[], bool], timeout_s: float, complaint: Callable[[], str], stop: threading.Event | None = None
) -> None:
    """Raises ServerFailed with the complaint after the timeout, StartInterrupted once `stop` is set."""
    deadline = time.monotonic() + timeout_s
    stop = stop or threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise ServerFailed(f"after {timeout_s:.0f} s {complaint()}")
        if stop.wait(_PAUSE_S):
            raise StartInterrupted("told to stop")


def run_to_end(
    command: Sequence[str], log: Path, timeout_s: float, what: str, stop: threading.Event | None = None
) -> None:
    """Run a program that ends by itself, its output in a file.

    Raises ServerFailed when it fails or takes longer, StartInterrupted once `stop` is set; it is gone then.
    """
    program = ChildProcess(command, log)
    program.start()
    try:
        wait_until(lambda: not program.alive, timeout_s, lambda: f"{what} has not ended: {program.last_words()}", stop)
    finally:
        program.kill()
    if program.exit_code != 0:
        raise ServerFailed(f"{what} ended with exit code {program.exit_code}: {program.last_words()}")
