"""`topics create`, `topics check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.printable import printable
from worker.cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from worker.fitness import Finding

group = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Make and check the eight topics.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="topics")


@group.command(epilog="Example: restore-projector topics create --partitions 12 --replication-factor 3")
def create(
    partitions: Annotated[int, typer.Option(min=1, max=10_000, help="Of every topic. Fixed for good: choose enough.")],
    replication_factor: Annotated[int, typer.Option(min=1, max=32, help="Brokers that keep a copy; 3 is usual.")],
    *,
    json: Json = False,
) -> None:
    """Make the topics that are missing, with the settings that are needed.

    Topics that exist are checked and never changed.
    """
    from worker.settings import load_settings
    from worker.topics import check_topics, create_topics

    settings = load_settings()
    made = create_topics(settings, partitions, replication_factor)
    findings = check_topics(settings)
    if json:
        topics = [{"topic": name, "created": created} for name, created in made.items()]
        print_json({"topics": topics, "findings": [asdict(finding) for finding in findings]})
    else:
        print_table(("topic", ""), [(name, "created" if created else "exists") for name, created in made.items()])
        _print_findings(findings)
    raise typer.Exit(1 if findings else 0)


@group.command(epilog="Example: restore-projector topics check --json")
def check(*, json: Json = False) -> None:
    """Say exactly what does not hold of the topics.

    An error would break a promise and keeps the worker from starting, a warning does not. Exit 1 for either.
    """
    from worker.settings import load_settings
    from worker.topics import check_topics

    settings = load_settings()
    findings = check_topics(settings)
    if json:
        print_json([asdict(finding) for finding in findings])
    elif findings:
        _print_findings(findings)
    else:
        print(f"All {len(settings.topic_names.all)} topics are as they should be.")
    raise typer.Exit(1 if findings else 0)


def _print_findings(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    colours = {"error": "bold red", "warning": "yellow"}
    for finding in findings:
        severity: Any = Text(finding.severity, style=colours[finding.severity])
        console.print(Text.assemble("\n", severity, f" {printable(finding.subject)}"))
        console.print(printable(f"  {finding.setting}: expected {finding.expected}, got {finding.got}"), markup=False)
        console.print(f"  {finding.why}", style="dim", markup=False)
