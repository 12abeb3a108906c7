"""A command on a terminal of its own, as a person sees it."""

from __future__ import annotations

import os
import pty
import re
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

COMMAND = str(Path(sys.executable).with_name("restore-projector"))
WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown, colours and all, and the exit code."""

    lines: list[str]
    code: int


def on_a_terminal(columns: int, variables: Mapping[str, str], *arguments: str) -> Shown:
    """Run a command to its end on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    others = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}}
    process = subprocess.Popen(
        [COMMAND, *arguments], env={**others, **variables, "TERM": "xterm-256color"}, stdout=theirs, stdin=theirs
    )
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 4096):
            output += chunk
    except OSError:
        pass  # how Linux says that nobody has the terminal's other end any more
    finally:
        os.close(ours)
        code = process.wait(WAIT_S)
    return Shown(output.decode().splitlines(), code)


def without_colours(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", line)
