"""How results are shown: JSON for programs, tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from contracts.printable import printable, printable_json

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(value: object) -> None:
    """Indented, and coloured on a terminal."""
    import json

    from rich.console import Console

    console = Console(soft_wrap=True)
    text = printable_json(json.dumps(value, indent=2, ensure_ascii=False))
    if console.is_terminal:
        console.print_json(text, indent=2)
    else:
        print(text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A plain table as wide as it has to be; folded only on a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(printable(str(cell))) for cell in row))
    console = Console()
    if console.is_terminal:
        console.print(table)
        return
    wide = Console(width=1000)
    with wide.capture() as captured:
        wide.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())
