"""Trying a replay: the pure fold over stored records, in memory, with nothing published and nothing stored.

Records are read from Redis in slices, as the worker reads them for a batch, and only while the store stays where it
was: what a slice is decided from is what was there at one moment. What a slice changes is kept for the next ones, in a
temporary database of this process that grows onto disk, so a replay of everything needs no more memory than another.

Beside live traffic the store goes on meanwhile. Where what was kept and what is there no longer fit together, what was
kept of that tenant is dropped: the figures are those of a moving picture then, and right where nothing moves.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from contracts.decision import encode
from contracts.events import Record, Rejected
from projections.advance import Effects, Input, Outcome, advance, advance_time, current_document
from projections.closure import read_closure, starting_keys
from projections.record import Key, RunRecord, decode_record, encode_internal
from projections.record import Record as StoredRecord
from projections.workspace import Workspace
from worker.batch import MAX_LOADED, check_links
from worker.errors import PositionMoved, StoreDamaged
from worker.operators.log import LogReader
from worker.operators.outcome import FIRST_SEEN, REMOVED
from worker.operators.selection import Selection
from worker.operators.set_aside import letters_of
from worker.operators.span import Extent, Span, merged
from worker.operators.stored import NotYet, readable
from worker.reading import StoreReader
from worker.settings import Settings

SLICE: Final = 500
"""Records decided at once."""
TRIES: Final = 50
"""Times that a slice is begun anew as the store has moved, each time with half as many records."""


@dataclass(slots=True)
class Rehearsed:
    """What a replay would do.

    `outcomes`: of the records. `runs`: those that would have another document, `decisions` those with another state.
    `changes`: of state on the way there, by former and new one.
    """

    records: int = 0
    letters_already: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    runs: int = 0
    decisions: int = 0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)


class Rehearsal:
    """Takes records as a replay would feed them. Every call may raise RedisUnreachable, NotYet and StoreDamaged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = StoreReader(settings.redis)
        self._kept = _Kept()
        self._found = Rehearsed()
        self._present = time.time_ns() // 1_000_000

    def take(self, reader: LogReader, span: Span, extent: Extent, selection: Selection, tell: Any) -> None:
        """Decide all that is meant of a span. `tell` hears how many offsets were looked at."""
        looked_at = 0
        for number in sorted({number for _, number in extent.parts}):
            parts = extent.of(number)
            letters = letters_of(reader, self._settings.topic_names.dead_letters, number, span.since)
            records: list[Record] = []
            for record in merged(reader, span, parts):
                looked_at += 1
                if selection.wants(record):
                    letter = letters.get((record.topic, number), {}).get(record.offset)
                    if letter is not None and isinstance(selection.decode(record), Rejected):
                        self._found.letters_already += 1
                    else:
                        records.append(record)
                if len(records) == SLICE:
                    self._decide(number, records, selection)
                    records = []
                    tell(looked_at)
            self._decide(number, records, selection)
            tell(looked_at)

    def found(self) -> Rehearsed:
        """What it would come to."""
        self._found.runs, self._found.decisions = self._kept.runs()
        return self._found

    def _decide(self, number: int, records: Sequence[Record], selection: Selection) -> None:
        """Decide records of one partition, as many at once as the store stays still for."""
        inputs = [Input(selection.decode(record), self._present, record, "replay") for record in records]
        self._found.records += len(inputs)
        size, moved = max(1, len(inputs)), 0
        while inputs:
            try:
                self._decide_slice(number, inputs[:size])
            except PositionMoved as error:
                moved += 1
                if moved > TRIES:
                    raise NotYet(
                        f"partition {number}: the store moves on faster than it can be read: {error}"
                    ) from error
                size = max(1, size // 2)
                continue
            inputs, moved = inputs[size:], 0

    def _decide_slice(self, number: int, inputs: Sequence[Input]) -> None:
        try:
            workspace = self._load(number, inputs)
        except StoreDamaged:
            if not self._kept.drop(number, {key.tenant for i in inputs for key in starting_keys(i.event)}):
                raise
            workspace = self._load(number, inputs)
        advance_time(workspace, Effects(), self._present)  # what is due anyway is not this replay's doing
        before = {key: _standing(workspace.find(key)) for key in workspace.existing() if key.kind == "run"}
        effects = Effects()
        for input in inputs:
            self._found.outcomes[advance(workspace, effects, input, self._present)] += 1
        for change in effects.changes:
            states = change.body["from_state"] or FIRST_SEEN, change.body["to_state"] or REMOVED
            self._found.changes[states] += 1
        self._kept.keep(number, _changed(workspace, before))

    def _load(self, number: int, inputs: Sequence[Input]) -> Workspace:
        workspace = Workspace(self._present)
        keys = [key for input in inputs for key in starting_keys(input.event)]
        view = _View(self._settings, self._store, self._kept, number)
        if not read_closure(workspace, keys, view.read, MAX_LOADED):
            assert len(inputs) > 1, "what one input needs is bounded by MAX_LINKS"
            raise PositionMoved(number, "fewer records", "more than are read at once")
        check_links(number, workspace, [])
        return workspace

    def close(self) -> None:
        self._store.close()
        self._kept.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _standing(record: StoredRecord | None) -> tuple[str | None, int]:
    """A run's state and revision; none and 0 if there is no such run."""
    return (record.state, record.revision) if isinstance(record, RunRecord) else (None, 0)


@dataclass(frozen=True, slots=True)
class _Row:
    """A record that was changed. `decided`: a run that was, and not by time alone; its state before and now."""

    key: Key
    value: bytes | None
    decided: bool
    before: str | None
    after: str | None


def _changed(workspace: Workspace, before: dict[Key, tuple[str | None, int]]) -> Iterator[_Row]:
    for key, record in workspace.changes():
        if isinstance(record, RunRecord):
            value: bytes | None = encode(current_document(workspace, record))
        else:
            value = None if record is None else encode_internal(record)
        was, now = before.get(key, (None, 0)), _standing(record)
        yield _Row(key, value, key.kind == "run" and was[1] != now[1], was[0], now[0])


class _View:
    """A partition's records as they are in Redis now, under what was kept. Each slice has one of its own."""

    def __init__(self, settings: Settings, store: StoreReader, kept: _Kept, number: int) -> None:
        self._place = f"{settings.redis.namespace}:{{{number}}}"
        self._store = store
        self._kept = kept
        self._number = number
        self._position: list[bytes | None] | None = None

    def read(self, keys: list[Key]) -> Iterable[StoredRecord | None]:
        """Raises PositionMoved when the store is not where it was for an earlier read of the slice."""
        values: Any = self._store.ask(lambda nodes: self._ask(nodes, keys))
        position, *stored = values
        if position[3] != b"ready":
            raise NotYet(f"partition {self._number}: expected the store ready; it is being restored from Kafka")
        if self._position not in (None, position):
            raise PositionMoved(self._number, str(self._position), str(position))
        self._position = position
        for key, value in zip(keys, stored, strict=True):
            found, kept = self._kept.find(self._number, key)
            data = kept if found else value
            with readable(key):
                record = None if data is None else decode_record(key, data)
            yield record

    def _ask(self, nodes: Any, keys: list[Key]) -> Any:
        with nodes.of(self._number).pipeline(transaction=True) as step:
            step.hmget(f"{self._place}:position", "generation", "state", "internal", "status")
            for key in keys:
                step.get(f"{self._place}:{key.kind}:{key.tenant}/{key.id}")
            return step.execute()


class _Kept:
    """Records that were changed, by partition and key; a removed one is kept as NULL."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # on disk, in a file of its own that nobody else sees
        self._database.execute(
            "CREATE TABLE kept (partition INT, tenant TEXT, key TEXT, value BLOB, decided INT, before TEXT, "
            "after TEXT, PRIMARY KEY (partition, key)) WITHOUT ROWID"
        )

    def find(self, partition: int, key: Key) -> tuple[bool, bytes | None]:
        """Whether it was kept, and its bytes."""
        asked = (partition, _name(key))
        row = self._database.execute("SELECT value FROM kept WHERE partition = ? AND key = ?", asked).fetchone()
        return (False, None) if row is None else (True, row[0])

    def keep(self, partition: int, changed: Iterable[_Row]) -> None:
        """Keep these; the state that a run had at first stays that."""
        rows = (
            (partition, row.key.tenant, _name(row.key), row.value, row.decided, row.before, row.after)
            for row in changed
        )
        self._database.executemany(
            "INSERT INTO kept VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "value = excluded.value, decided = max(decided, excluded.decided), after = excluded.after",
            rows,
        )

    def drop(self, partition: int, tenants: Iterable[str]) -> bool:
        """Forget what was kept of tenants; whether there was anything."""
        named = [(partition, tenant) for tenant in tenants]
        return self._database.executemany("DELETE FROM kept WHERE partition = ? AND tenant = ?", named).rowcount > 0

    def runs(self) -> tuple[int, int]:
        """How many runs were decided anew, and how many of them have another state now."""
        count, otherwise = self._database.execute(
            "SELECT count(*), count(CASE WHEN before IS NOT after THEN 1 END) FROM kept WHERE decided"
        ).fetchone()
        return int(count), int(otherwise)

    def close(self) -> None:
        self._database.close()


def _name(key: Key) -> str:
    return f"{key.kind}:{key.tenant}/{key.id}"
