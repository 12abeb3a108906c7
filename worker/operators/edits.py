"""Records of dead letters, edited before they are taken again. Where a record lay stays as it is.

What can be mended without an edit is what was wrong here: a limit, a partitioner, a version that did not know a field.
What was wrong at the source needs an edit, if the source cannot send it again: of one record by hand, of many by a
program. Each edit is a function of the letter and of what earlier edits made of its record.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from contracts.events import Record
from contracts.printable import printable
from worker.errors import ProjectorError
from worker.operators.letters import Entry

PROGRAM_TIMEOUT_S: Final = 60.0
"""For one record; a program that edits some KB takes milliseconds."""
MAX_COMPLAINT: Final = 500
"""Characters of a program's complaint that are repeated."""

Edit = Callable[[Entry, Record], Record]


class EditFailed(ProjectorError):
    """A program did not give an edited value."""

    exit_code = 2


def edited(entry: Entry, edits: Sequence[Edit]) -> Record:
    """The letter's record after all edits. Raises EditFailed."""
    record = entry.source
    for edit in edits:
        record = edit(entry, record)
    return record


def with_value(value: bytes) -> Edit:
    """Give it another value."""
    return lambda _, record: replace(record, value=value)


def with_header(name: str, value: str) -> Edit:
    """Set a header, instead of all of its name whatever the case: two of one name may contradict each other."""

    def edit(_: Entry, record: Record) -> Record:
        others = (header for header in record.headers if header[0].lower() != name.lower())
        return replace(record, headers=(*others, (name, value.encode())))

    return edit


def through(command: str) -> Edit:
    """What a program writes when it is given the value: a program and its arguments, no shell.

    The program knows the letter by the variables LETTER, TOPIC, KEY, REASON and DETAIL. Raises EditFailed at once where
    the command names none, and later for each record that the program fails with.
    """
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise EditFailed(f"expected a program and its arguments, got {command[:80]!r}: {error}") from error
    if not arguments:
        raise EditFailed("expected a program and its arguments, got nothing")

    def edit(entry: Entry, record: Record) -> Record:
        return replace(record, value=_run(arguments, entry, record))

    return edit


def _run(arguments: list[str], entry: Entry, record: Record) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603  it is the caller's own program
            arguments,
            input=record.value or b"",
            capture_output=True,
            timeout=PROGRAM_TIMEOUT_S,
            check=False,
            env={**os.environ, **_variables(entry, record)},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EditFailed(f"{entry.place}: {shlex.join(arguments)}: {error}") from error
    if done.returncode:
        said = printable(done.stderr.decode(errors="replace").strip())[-MAX_COMPLAINT:]
        raise EditFailed(f"{entry.place}: {shlex.join(arguments)}: exit code {done.returncode}: {said}")
    return done.stdout


def _variables(entry: Entry, record: Record) -> dict[str, str]:
    told = {
        "LETTER": str(entry.place),
        "TOPIC": record.topic,
        "KEY": (record.key or b"").decode(errors="replace"),
        "REASON": entry.reason,
        "DETAIL": entry.detail,
    }
    return {name: text.replace("\0", "") for name, text in told.items()}
