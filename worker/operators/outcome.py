"""What has come of orders: read from the outputs, from where they ended before the first order was written.

Whose they are is told by what an output carries: of an order to decide again the trace, of a replayed record the
origin `replay` of a change, and the place that a dead letter names. A document does not say what caused it, but it says
when: `updated_at` is the timestamp of the last record applied to the run, so one that was written for a replayed
record has the timestamp of an order. Where live events come in in the same milliseconds, some of theirs are counted in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from contracts.decision import decode
from contracts.events import Record
from contracts.letters import Letter, read_letter
from contracts.times import parse_time
from contracts.topics import Topics
from worker.operators.log import LogReader, Part
from worker.ports import TopicPartition as Place
from worker.settings import Settings

REMOVED: Final = "removed"
FIRST_SEEN: Final = "first"
SHOWN_LETTERS: Final = 10
"""Of those set aside again, so many are named; all are counted."""


class Ours(Protocol):
    """Whether an output comes of the orders in question."""

    def document(self, record: Record) -> bool: ...

    def change(self, record: Record) -> bool: ...

    def letter(self, record: Record, letter: Letter) -> bool: ...


@dataclass(slots=True)
class Outcome:
    """What was published. `changes`: by former and new state, `first` and `removed` standing for none."""

    documents: int = 0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)
    first_letters: list[tuple[str, Letter]] = field(default_factory=list)
    """`<partition>:<offset>` in the dead-letter topic, and what it says."""


class Traced:
    """What comes of orders that have a trace of their own: to decide again."""

    def __init__(self, request: str) -> None:
        self._trace = f"-{request}-".encode()

    def document(self, record: Record) -> bool:
        return self._trace in (dict(record.headers).get("traceparent") or b"")

    def change(self, record: Record) -> bool:
        return self.document(record)

    def letter(self, record: Record, letter: Letter) -> bool:
        return self.document(record)


class Replayed:
    """What comes of replayed records. `times`: of each partition, the timestamps of the orders.

    `lies_in`: whether a place in an input is one that was replayed.
    """

    def __init__(self, times: Mapping[int, Collection[int]], lies_in: Callable[[Letter], bool]) -> None:
        self._times = times
        self._lies_in = lies_in

    def document(self, record: Record) -> bool:
        times = self._times.get(record.partition, ())
        return record.value is not None and parse_time(decode(record.value)["updated_at"]) in times

    def change(self, record: Record) -> bool:
        return dict(record.headers).get("ce_origin") == b"replay"

    def letter(self, record: Record, letter: Letter) -> bool:
        return self._lies_in(letter)


class Published:
    """The outputs of some partitions from now on: from when this is made."""

    def __init__(self, settings: Settings, reader: LogReader, partitions: Iterable[int]) -> None:
        self._topics = settings.topic_names
        self._reader = reader
        places = [(topic, number) for topic in self._topics.outputs for number in partitions]
        self._starts = reader.ends(places)

    def since(self, time_ms: int) -> None:
        """From this time on, if that is earlier; by the brokers' clocks."""
        for place, offset in self._reader.at(self._starts, time_ms).items():
            if offset is not None:
                self._starts[place] = min(offset, self._starts[place])

    def outcome(self, ours: Ours, tell: Callable[[int], None] = lambda _: None) -> Outcome:
        """What has come until now. `tell` hears how many records are still to be read."""
        ends = self._reader.ends(self._starts)
        parts: dict[Place, Part] = {place: Part(start, ends[place]) for place, start in self._starts.items()}
        outcome = Outcome()
        for records in self._reader.read(parts):
            for record in records:
                _count(outcome, self._topics, ours, record)
            tell(self._reader.remaining())
        return outcome


def _count(outcome: Outcome, topics: Topics, ours: Ours, record: Record) -> None:
    if record.topic == topics.decision_state:
        outcome.documents += ours.document(record)
    elif record.topic == topics.decision_changes:
        if ours.change(record):
            headers = dict(record.headers)
            before, after = (headers.get(name) or b"" for name in ("ce_fromstate", "ce_tostate"))
            outcome.changes[before.decode() or FIRST_SEEN, after.decode() or REMOVED] += 1
    else:
        _count_letter(outcome, ours, record)


def _count_letter(outcome: Outcome, ours: Ours, record: Record) -> None:
    try:
        letter = read_letter(record.headers)
    except ValueError:
        return  # somebody else's
    if ours.letter(record, letter):
        outcome.letters[letter.reason] += 1
        if len(outcome.first_letters) < SHOWN_LETTERS:
            outcome.first_letters.append((f"{record.partition}:{record.offset}", letter))
