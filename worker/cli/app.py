"""The tree of commands, and `--version`."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli import (
    config,
    contracts,
    deadletters,
    decide,
    demo,
    dev,
    explain,
    forget,
    incident,
    preview,
    rebuild,
    recompute,
    replay,
    run,
    simulate,
    status,
    topics,
    verify,
    watch,
)

app = typer.Typer(
    name="restore-projector",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Settings are environment variables RESTORE_PROJECTOR_…: see restore-projector config.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"restore-projector {version('restore-projector')}")
        raise typer.Exit


@app.callback()
def restore_projector(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Derives, for each tenant restore, one decision that is safe to show.

    It reads what restore runs, their operations and their evidence report (Kafka), and says for each restore what
    happened, what it means, what to do next, and what may not be claimed (Kafka and Redis).
    """


MODULES = (
    run,
    topics,
    decide,
    explain,
    status,
    watch,
    preview,
    recompute,
    deadletters,
    replay,
    verify,
    rebuild,
    forget,
    incident,
    simulate,
    demo,
    dev,
    contracts,
    config,
)
"""In the order in which `--help` lists them."""

for module in MODULES:
    module.add_to(app)
