"""`contracts export`: JSON Schemas of every topic, examples, TypeScript types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import Json, print_json
from worker.errors import ConfigurationError

group = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="What other programs may rely on.")

DIRECTORY = Path("contracts/schemas")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="contracts")


@group.callback()
def contracts() -> None:
    """What other programs may rely on."""


@group.command(epilog="Example: restore-projector contracts export ./schemas")
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Made if it is not there.")] = DIRECTORY,
    *,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a file differs.")] = False,
    json: Json = False,
) -> None:
    """Write JSON Schemas of every topic, examples, and TypeScript types.

    topics.json says what lies in which topic and where it is described. Examples are whole records. types.ts has the
    state document, the state change, and the explanation of a decision.
    """
    files = exported()
    differing = _differing(directory, files)
    if not check:
        _write(directory, files)
    if json:
        print_json({"directory": str(directory), "files": list(files), "differing": differing})
    elif not check:
        print(f"{len(files)} files in {directory}")
    elif differing:
        print(f"out of date: run restore-projector contracts export {directory}")
        for name in differing:
            print(f"  {name}")
    else:
        print(f"All {len(files)} files in {directory} are up to date.")
    raise typer.Exit(1 if check and differing else 0)


def exported() -> dict[str, str]:
    """Every file's text, by its path in the directory."""
    from contracts.export import export as shapes
    from projections.samples import files as samples

    return {**shapes(), **samples()}


def _differing(directory: Path, files: dict[str, str]) -> list[str]:
    """The files that are missing in the directory or have another content there."""
    try:
        return [
            name
            for name, text in files.items()
            if not (directory / name).exists() or (directory / name).read_bytes() != text.encode()
        ]
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be read: {error.strerror}") from error


def _write(directory: Path, files: dict[str, str]) -> None:
    try:
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be written: {error.strerror}") from error
