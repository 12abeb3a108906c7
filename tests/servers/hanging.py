"""Making a server hang, as a long garbage collection or a stuck disk would, and letting it go on."""

from __future__ import annotations

import os
import signal

from worker.servers.processes import ChildProcess


def pause(server: ChildProcess) -> None:
    """Stop it where it is; its connections stay open. Returns when the last of its threads stands still."""
    os.kill(server.pid, signal.SIGSTOP)
    # A signal is not a state: without this a busy server would answer for some more milliseconds.
    os.waitid(os.P_PID, server.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def resume(server: ChildProcess) -> None:
    os.kill(server.pid, signal.SIGCONT)
