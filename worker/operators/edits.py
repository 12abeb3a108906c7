"""Records of dead letters, edited before they are taken again. Where a record lay stays as it is.

What can be mended without an edit is what was wrong here: a limit, a partitioner, a version that did not know a field.
What was wrong at the source needs an edit, if the source cannot send it again: of one record by hand, of many by a
program. A program is a filter of lines of JSON, and is run once for a batch of letters: a process for each would take
hours for what a filter does in seconds.
"""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from contracts.events import Record
from contracts.printable import printable
from worker.errors import ProjectorError
from worker.operators.letters import Entry

BATCH_LETTERS: Final = 1_000
BATCH_BYTES: Final = 16 << 20
"""Of the values of a batch: what bounds memory, a few times over."""
PROGRAM_TIMEOUT_S: Final = 300.0
"""For one batch, which a filter is done with in a second."""
MAX_COMPLAINT: Final = 500
"""Characters of a program's complaint that are repeated."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A letter, and what edits have made of its record so far."""

    entry: Entry
    record: Record


Edit = Callable[[Sequence[Draft]], list[Record]]
"""The records of a batch of letters, edited, in their order."""


class EditFailed(ProjectorError):
    """A program did not give the edited values."""

    exit_code = 2


def batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Letters that are edited together: at most so many, and of so many bytes unless one alone has more."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        more = len(entry.record.value or b"")
        if batch and (len(batch) >= BATCH_LETTERS or size + more > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += more
    if batch:
        yield batch


def edited(entries: Sequence[Entry], edits: Sequence[Edit]) -> list[Record]:
    """The letters' records after all edits. Raises EditFailed."""
    records = [entry.source for entry in entries]
    for edit in edits:
        records = edit([Draft(entry, record) for entry, record in zip(entries, records, strict=True)])
    return records


def with_value(value: bytes) -> Edit:
    """Give it another value."""
    return lambda drafts: [draft.record._replace(value=value) for draft in drafts]


def with_header(name: str, value: str) -> Edit:
    """Set a header, instead of all of its name whatever the case: two of one name may contradict each other."""

    def edit(draft: Draft) -> Record:
        others = (header for header in draft.record.headers if header[0].lower() != name.lower())
        return draft.record._replace(headers=(*others, (name, value.encode())))

    return lambda drafts: [edit(draft) for draft in drafts]


def through(command: str) -> Edit:
    """What a program writes when it is given the letters: a program and its arguments, no shell.

    It is given a line of JSON for each letter, {"letter", "topic", "key", "reason", "detail", "value"}, and writes a
    line for each, in this order, of which `letter` and `value` count. A value that is no text is `base64` instead.

    Raises EditFailed at once where the command names none, and later for a batch that the program fails with.
    """
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise EditFailed(f"expected a program and its arguments, got {command[:80]!r}: {error}") from error
    if not arguments:
        raise EditFailed("expected a program and its arguments, got nothing")
    return lambda drafts: _filtered(arguments, drafts)


def _filtered(arguments: list[str], drafts: Sequence[Draft]) -> list[Record]:
    named = f"{shlex.join(arguments)}, given {drafts[0].entry.place} to {drafts[-1].entry.place}"
    given = "".join(json.dumps(_line(draft)) + "\n" for draft in drafts)
    lines = _run(arguments, given.encode(), named).splitlines()
    if len(lines) != len(drafts):
        raise EditFailed(f"{named}: expected a line for each of {len(drafts)} letters, got {len(lines)}")
    return [_read(draft, line, named) for draft, line in zip(drafts, lines, strict=True)]


def _run(arguments: list[str], given: bytes, named: str) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603  it is the caller's own program
            arguments, input=given, capture_output=True, timeout=PROGRAM_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EditFailed(f"{named}: {error}") from error
    if done.returncode:
        said = printable(done.stderr.decode(errors="replace").strip())[-MAX_COMPLAINT:]
        raise EditFailed(f"{named}: exit code {done.returncode}: {said}")
    return done.stdout


def _line(draft: Draft) -> dict[str, Any]:
    entry, record = draft.entry, draft.record
    told = {
        "letter": str(entry.place),
        "topic": record.topic,
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "reason": entry.reason,
        "detail": entry.detail,
    }
    try:
        return told | {"value": None if record.value is None else record.value.decode()}
    except UnicodeDecodeError:
        return told | {"base64": base64.b64encode(record.value or b"").decode()}


def _read(draft: Draft, line: bytes, named: str) -> Record:
    """The record with the value that a line gives."""
    name, shown = str(draft.entry.place), printable(line[:80].decode(errors="replace"))
    try:
        return draft.record._replace(value=_value(json.loads(line), name))
    except (ValueError, KeyError, TypeError) as error:
        expected = f'an object with "letter": "{name}" and a "value"'
        raise EditFailed(f"{named}: expected {expected}, got {shown}") from error


def _value(told: Any, name: str) -> bytes | None:
    """The value that a line gives the letter of this name. Raises ValueError, KeyError, TypeError."""
    if told["letter"] != name:
        raise ValueError("expected the same letter")
    if "base64" in told:
        return base64.b64decode(told["base64"], validate=True)
    value = told["value"]
    if value is not None and not isinstance(value, str):
        raise TypeError("expected a text or null")
    return None if value is None else value.encode()
