"""What an installation must have made of its input: the pure code folded over the whole history.

All inputs of a partition are merged by timestamp, equal ones in the order of the topics' table, and applied one by
one to records that are all in memory: no batches, no store, no transactions. Between two records fall the
deadlines that lie between them, after the last record those up to `until`.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from contracts.decision import encode
from contracts.documents import change_headers
from contracts.events import Record, Rejected
from contracts.letters import letter_headers
from contracts.topics import Topics
from projections.advance import Effects, Input, Outcome, advance, advance_time, current_document
from projections.inputs import InputDecoder
from projections.record import DeletedRun, Key, RunRecord, encode_internal
from projections.workspace import Workspace
from tests.consistency.observation import Log, Place

Headers = tuple[tuple[str, bytes], ...]
Source = tuple[str, int, int]
"""Topic, partition and offset of an input record."""


UNFINISHED = ("not_executed", "in_progress", "completed_proof_incomplete")
"""States in which something is still awaited, unless of a dry run: said here once more, and not as the rules say it."""

REFUSAL = Rejected("too_large", "expected an event whose outputs Kafka takes, got one that makes a larger record")


@dataclass(frozen=True, slots=True)
class Published:
    """A record of an output; a `value` of None is a tombstone."""

    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class Version:
    """What could have been published of a run at a revision; a `value` of None is a tombstone."""

    revision: int
    published: Published


@dataclass(frozen=True, slots=True)
class Indexed:
    """What the store's indexes say of a run; `changed_at` in ms. `unfinished`: something is still awaited of it."""

    tenant: str
    run: str
    state: str
    changed_at: int
    unfinished: bool


@dataclass(slots=True)
class Folded:
    """What one partition must hold.

    `documents`: of each run key, what could have been published one after the other; a batch shows only its last.
    Revisions grow, but that a run which operators had forgotten begins again at 1.
    `internal`: the records there are at the end, and `deadlines` theirs. `letters`: by the dead letter's own source;
    `outcomes`: of every input record. `next_deadline`: the first that is not due yet, in ms.
    """

    documents: dict[str, list[Version]] = field(default_factory=lambda: defaultdict(list))
    internal: dict[str, bytes] = field(default_factory=dict)
    deadlines: dict[str, int] = field(default_factory=dict)
    changes: dict[str, list[Published]] = field(default_factory=lambda: defaultdict(list))
    letters: dict[Source, list[tuple[Record, Headers]]] = field(default_factory=lambda: defaultdict(list))
    index: dict[str, Indexed] = field(default_factory=dict)
    outcomes: dict[Source, Outcome] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    next_deadline: int | None = None

    def last_document(self, run: str) -> Published | None:
        """What the state topic must end with for a run; None if it never had a document."""
        versions = self.documents.get(run)
        return versions[-1].published if versions else None


def fold(
    log: Log, topics: Topics, partition: int, inputs: InputDecoder, until: int, refused: Collection[Source] = ()
) -> Folded:
    """Fold the inputs of one partition number, and time up to `until` in ms.

    `refused`: records that Kafka would not take the outputs of, which no pure code can know.
    """
    folding = _Folding(topics)
    for record in merged(log.get((topic, partition), []) for topic in topics.inputs):
        is_refused = (record.topic, record.partition, record.offset) in refused
        folding.apply(Input(REFUSAL, record.timestamp, record) if is_refused else inputs.decode(record), record)
    folding.pass_time(until)
    return folding.finish()


def merged(logs: Iterable[list[Record]]) -> Iterator[Record]:
    """The earliest of the logs' next records, again and again; within a log the order is its own."""
    return heapq.merge(*logs, key=lambda record: record.timestamp)


def places(log: Log, topic: str) -> list[Place]:
    return [place for place in log if place[0] == topic]


class _Folding:
    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._workspace = Workspace(complete=True)
        self._effects = Effects()
        self._folded = Folded()

    def apply(self, input: Input, record: Record) -> None:
        self.pass_time(record.timestamp)
        outcome = advance(self._workspace, self._effects, input, present=record.timestamp)
        self._folded.outcomes[record.topic, record.partition, record.offset] = outcome
        self._collect()

    def pass_time(self, until: int) -> None:
        """Let the deadlines fall one after the other, as each may have been a transaction of its own."""
        deadlines = self._workspace._deadlines
        while deadlines and deadlines[0][0] <= until:
            advance_time(self._workspace, self._effects, deadlines[0][0])
            self._collect()
        advance_time(self._workspace, self._effects, until)

    def finish(self) -> Folded:
        workspace, folded = self._workspace, self._folded
        for key in workspace.existing():
            record = workspace.find(key)
            assert record is not None
            if isinstance(record, RunRecord):
                assert record.state is not None
                unfinished = record.state in UNFINISHED and not record.run.is_dry_run
                folded.index[str(key)] = Indexed(key.tenant, key.id, record.state, record.changed_at, unfinished)
                continue
            folded.internal[str(key)] = encode_internal(record)
            if not isinstance(record, DeletedRun) and record.due is not None:
                folded.deadlines[str(key)] = record.due
        folded.next_deadline = min(folded.deadlines.values(), default=None)
        folded.counts = self._effects.counts
        return folded

    def _collect(self) -> None:
        """Note what the last step has changed."""
        for key, _ in list(self._workspace.changes()):
            if key.kind == "run":
                self._folded.documents[str(key)].append(self._version(key))
        self._workspace._changed.clear()
        for change in self._effects.changes:
            headers = change_headers(change.body, self._topics.prefix, change.traceparent)
            self._folded.changes[str(change.key)].append(Published(encode(change.body), tuple(headers)))
        self._effects.changes.clear()
        for letter in self._effects.letters:
            record = letter.record
            headers = letter_headers(record, letter.reason, letter.detail)
            self._folded.letters[record.topic, record.partition, record.offset].append((record, tuple(headers)))
        self._effects.letters.clear()

    def _version(self, key: Key) -> Version:
        traceparent = self._effects.traceparents.get(key)
        headers: Headers = () if traceparent is None else (("traceparent", traceparent.encode()),)
        record = self._workspace.run(key.tenant, key.id)
        if record is not None:
            return Version(record.revision, Published(encode(current_document(self._workspace, record)), headers))
        revision = self._effects.removed[key]
        return Version(revision, Published(None, (*headers, ("revision", b"%d" % revision))))
