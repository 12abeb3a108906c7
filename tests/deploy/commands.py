"""Command lines of ours in files that others run: would they be understood?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from worker.cli.app import app


def options(words: Sequence[str]) -> dict[str, Any]:
    """The options of a command line of restore-projector, which is not carried out.

    Raises what typer raises for a command line that it does not understand.
    """
    command: Any = typer.main.get_command(app)
    context = command.make_context("restore-projector", list(words))
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return dict(context.params)
