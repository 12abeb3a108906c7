"""`incident`: all that is known of one restore run, in one file."""

from __future__ import annotations

import hashlib
import json as jsons
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from worker.cli.orders import interrupted, say
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from worker.operators.incident import Tell

STANDARD_OUTPUT: Final = Path("-")
PRIVATE: Final = 0o600
"""The file holds a tenant's data: only who made it may read it."""


LONGEST_NAME: Final = 200
"""Characters of the file's name if none is given: file systems take 255 bytes, and the file beside it has more."""


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: restore-projector incident t-1 rr-1 --output rr-1.json")(incident)


def incident(
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    run: Annotated[str, typer.Argument(help="The restore run's id.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Else incident-TENANT-RUN.json; - is standard output.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write one file with all that is known of a restore run, for somebody who has no access.

    The state document and the records in Redis; every record in Kafka that bears on the run: what came in, orders of
    operators, dead letters, what was published; how its partition is; versions, topics, settings with secrets masked.
    It holds the tenant's data as it came.

    `decide FILE` decides from it on any machine, `decide --explain FILE` says why, `decide --history FILE` tells what
    each record did. Nothing is written but the file. The tenant's partition of each topic is read once.

    Exit 1 if nothing is known of such a run: then no file is written.
    """
    from contracts.incident import RECORDS_OF
    from worker.cli.explain import check_identifier
    from worker.operators.incident import Gatherer
    from worker.settings import load_settings

    for name, id in (("TENANT", tenant), ("RUN", run)):
        check_identifier(name, id)
    file = output or Path(default_name(tenant, run))
    if file != STANDARD_OUTPUT and _is_there(file) and not force:
        raise typer.BadParameter(f"{file} is there already: --force replaces it", param_hint="--output")
    gatherer = Gatherer(load_settings(), tenant, run, time.time_ns() // 1_000_000)
    with interrupted(lambda: "no file was written"), _progress() as tell:
        found = gatherer.gather(tell)
    known = bool(found["store"]["records"]) or any(found[what] for what in RECORDS_OF)
    if known or file == STANDARD_OUTPUT:
        _write(file, jsons.dumps(found, indent=1, default=str))
    unknown = f"nothing is known of restore run {run} of tenant {tenant}"
    if not known and file != STANDARD_OUTPUT:
        unknown += f": {file} is not written"
    say(_words(file, found) if known else unknown)
    raise typer.Exit(0 if known else 1)


def default_name(tenant: str, run: str) -> str:
    """The file's name if none is given: ids that are too long for one are cut, and told apart by a hash of both."""
    name = f"incident-{tenant}-{run}.json"
    if len(name) <= LONGEST_NAME:
        return name
    both = hashlib.sha256(f"{tenant}/{run}".encode()).hexdigest()
    return f"incident-{tenant[:64]}-{run[:64]}-{both[:16]}.json"


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from error


def _write(file: Path, text: str) -> None:
    """All of it or nothing."""
    if file == STANDARD_OUTPUT:
        sys.stdout.write(text + "\n")
        return
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "w") as stream:
            stream.write(text + "\n")
        beside.replace(file)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}") from error


def _words(file: Path, found: dict[str, Any]) -> str:
    from contracts.incident import RECORDS_OF

    counts = ", ".join(f"{len(found[what])} {what.replace('_', ' ')}" for what in RECORDS_OF)
    return f"{counts}; written to {'standard output' if file == STANDARD_OUTPUT else file}"


@contextmanager
def _progress() -> Iterator[Tell]:
    """On standard error, if that is a terminal: what is left to be looked at."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("looking for what bears on it") as shown:
        yield lambda left: shown.update(f"{left:,} records to look at")
