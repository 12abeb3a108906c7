"""What this version of the rules would change: every stored run is decided by it, and nothing is written.

Read are the documents in Kafka, each with the facts that it was decided from; neither the store nor the workers are
asked, so it does not matter what they do meanwhile. Partition by partition: of each run the last document counts, so
what was found of an earlier one is replaced, and only what came of it is remembered, not the document. That is about
200 bytes a run, of one partition at a time.

While a partition is read, a worker may publish a run anew and the cleaner may remove the document that was still to
come. The new one then lies behind the end that was asked for; so what was written meanwhile is read as well.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

from contracts.decision import State, decode
from contracts.events import Record
from projections.afresh import decided_afresh
from projections.formats import NewerFormat
from projections.permissive import Why, more_permissive
from worker.errors import Unfit
from worker.operators.log import LogReader, Part
from worker.ports import TopicPartition as Place
from worker.reading import partition_count
from worker.settings import Settings

WAITING: Final = 5_000
"""Documents that wait to be decided, about 15 MB: a run's documents lie near each other, and only the last counts."""

Tell = Callable[[int, int], None]
"""Hears how many records were read, and of how many."""


class Finding(NamedTuple):
    """What came of one run. `fields`: those of its document that would be others, by name."""

    before: State
    after: State
    rule_before: str
    rule_after: str
    permissive: Why | None
    fields: tuple[str, ...]


@dataclass(slots=True)
class Sampled:
    """How many runs, and the first few of them in alphabetical order."""

    limit: int
    count: int = 0
    samples: list[str] = field(default_factory=list)

    def add(self, runs: Iterable[str]) -> None:
        found = list(runs)
        self.count += len(found)
        self.samples = heapq.nsmallest(self.limit, [*self.samples, *found])


@dataclass(slots=True)
class Preview:
    """All that was found. `matrix`: by former and new state, also equal ones.

    `permissive`: by former and new state and why. `rules`: of runs whose state would change, by former and new state,
    former and new rule. `fields`: of runs whose document would change and whose state would not, by what differs.
    `policies`: how many documents were decided with which.
    """

    samples: int
    runs: int = 0
    matrix: dict[tuple[State, State], Sampled] = field(default_factory=dict)
    permissive: dict[tuple[State, State, Why], Sampled] = field(default_factory=dict)
    rules: Counter[tuple[State, State, str, str]] = field(default_factory=Counter)
    fields: dict[tuple[str, ...], Sampled] = field(default_factory=dict)
    policies: Counter[int] = field(default_factory=Counter)

    @property
    def changed_state(self) -> int:
        return sum(found.count for (before, after), found in self.matrix.items() if before != after)

    @property
    def changed_otherwise(self) -> int:
        return sum(found.count for found in self.fields.values())

    @property
    def more_permissive(self) -> int:
        return sum(found.count for found in self.permissive.values())

    def add(self, ledger: Ledger) -> None:
        """All runs of a partition. Raises as `Ledger.take`."""
        ledger.settle()
        by_finding: dict[Finding, list[str]] = defaultdict(list)
        for run, (finding, policy) in ledger.found.items():
            by_finding[finding].append(run.decode())
            self.policies[policy] += 1
        self.runs += len(ledger.found)
        for finding, runs in by_finding.items():
            self._add(finding, runs)

    def _add(self, finding: Finding, runs: list[str]) -> None:
        states = finding.before, finding.after
        self.matrix.setdefault(states, Sampled(self.samples)).add(runs)
        if finding.permissive is not None:
            self.permissive.setdefault((*states, finding.permissive), Sampled(self.samples)).add(runs)
        if finding.before != finding.after:
            self.rules[(*states, finding.rule_before, finding.rule_after)] += len(runs)
        elif finding.fields:
            self.fields.setdefault(finding.fields, Sampled(self.samples)).add(runs)


class Ledger:
    """Of each run of a partition what came of its last document, and the policy that this was decided with."""

    def __init__(self) -> None:
        self.found: dict[bytes, tuple[Finding, int]] = {}
        self._waiting: dict[bytes, Record] = {}
        """Not decided yet: the next document of the same run may follow, and would take its place."""
        self._known: dict[tuple[Finding, int], tuple[Finding, int]] = {}
        """There are few different ones, and each is kept once."""

    def take(self, record: Record) -> None:
        """The next record of decision-state. Raises Unfit for a document that only a newer version can read."""
        assert record.key is not None, "every record of a compacted topic has a key"
        self._waiting[record.key] = record
        if len(self._waiting) >= WAITING:
            self.settle()

    def settle(self) -> None:
        """Decide what waits. Raises as `take`."""
        for key, record in self._waiting.items():
            self._decide(key, record)
        self._waiting.clear()

    def _decide(self, key: bytes, record: Record) -> None:
        if record.value is None:
            self.found.pop(key, None)
            return
        document = decode(record.value)
        try:
            found = judge(document), int(document["policy"])
        except NewerFormat as error:
            place = f"{record.topic} partition {record.partition} offset {record.offset}"
            raise Unfit(f"{place}: {error}; use the version that wrote it, or a newer one") from error
        self.found[key] = self._known.setdefault(found, found)


def judge(document: dict[str, Any]) -> Finding:
    """What this version would make of a document. Raises as `decided_afresh`."""
    rule, fresh = decided_afresh(document)
    before = cast(State, document["state"])
    differing = tuple(sorted(_differing(document, fresh)))
    allowed = document["claims"]["allowed"]
    return Finding(
        before,
        rule.state,
        document["diagnostics"]["rule"],
        rule.name,
        more_permissive(before, rule.state, allowed, fresh["claims"]["allowed"]),
        differing,
    )


NESTED: Final = ("claims", "diagnostics")
"""Fields of which it is told what in them differs."""


def _differing(document: dict[str, Any], fresh: dict[str, Any]) -> Iterable[str]:
    for name, value in fresh.items():
        former = document.get(name)
        if former == value:
            continue
        if name in NESTED and isinstance(former, dict):
            yield from (f"{name}.{inner}" for inner in value if former.get(inner) != value[inner])
            yield from (f"{name}.{inner}" for inner in former if inner not in value)
        else:
            yield name


def preview(settings: Settings, samples: int, tell: Tell) -> Preview:
    """Decide every run that is stored.

    Raises KafkaUnreachable, Refused, and Unfit if the topic is not there or a document only a newer version's.
    """
    topic = settings.topic_names.decision_state
    found = Preview(samples)
    places = [(topic, number) for number in range(partition_count(settings))]
    with LogReader(settings.kafka) as reader:
        begins, ends = reader.begins(places), reader.ends(places)
        parts = {place: Part(begins[place], ends[place]) for place in places}
        walk = _Walk(reader, sum(map(len, parts.values())), tell)
        for place, part in parts.items():
            ledger = Ledger()
            for record in walk.read(place, part):
                ledger.take(record)
            found.add(ledger)
    return found


@dataclass(slots=True)
class _Walk:
    """Partition after partition. `total` grows by what is written meanwhile."""

    reader: LogReader
    total: int
    tell: Tell
    done: int = 0

    def read(self, place: Place, part: Part) -> Iterator[Record]:
        yield from self._read(place, part)
        meanwhile = Part(part.end, self.reader.ends([place])[place])
        self.total += len(meanwhile)
        yield from self._read(place, meanwhile)

    def _read(self, place: Place, part: Part) -> Iterator[Record]:
        for records in self.reader.read({place: part}):
            yield from records
            self.tell(self.done + len(part) - self.reader.remaining(), self.total)
        self.done += len(part)
