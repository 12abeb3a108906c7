"""`config`: the settings in force."""

from __future__ import annotations

from dataclasses import asdict

import typer

from worker.cli.output import Json, print_json, print_table


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: RESTORE_PROJECTOR_TOPICS__PREFIX=staging restore-projector config")(config)


def config(*, json: Json = False) -> None:
    """Show every setting, its value, and where that comes from; secrets are masked.

    With --json also the defaults and what each setting is for.
    """
    from worker.settings import describe_settings, load_settings

    rows = describe_settings(load_settings())
    if json:
        print_json([asdict(row) for row in rows])
    else:
        shown = [(row.variable, "-" if row.value is None else row.value, row.origin) for row in rows]
        print_table(("setting", "value", "from"), shown)
