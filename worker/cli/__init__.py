"""The command `restore-projector`.

One module for each group of commands; what a command needs is imported when it is called, so that `--help` is fast.
Results go to standard output, everything else to standard error. Exit codes (interfaces, section 9): 0 fine, 1 the
check found something, 2 wrong use or configuration, 3 a server cannot be reached.
"""

from __future__ import annotations

import os
import sys

from contracts.printable import printable
from worker.cli.app import app
from worker.errors import ProjectorError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line of this process; the entry point of the distribution."""
    try:
        app()
    except ProjectorError as error:
        _say("\n".join([str(error), *getattr(error, "__notes__", ())]))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has enough of it (`| head`); Python would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _say(message: str) -> None:
    for line in message.split("\n"):
        sys.stderr.write(f"restore-projector: {printable(line)}\n")
