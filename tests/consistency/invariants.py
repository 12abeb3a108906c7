"""The invariants, each a function from what was seen and what must be to the violations.

A violation is one line with place, expectation and what was found. Nothing is raised: one damage often shows in
several places, and all of them together tell the cause.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from contracts.decision import decode
from contracts.events import Record
from tests.consistency.fold import Folded, Published
from tests.consistency.observation import Observation, Place, as_kcat_shows

MERGE_SLACK_MS: Final = 1_000
"""How far stream time may be ahead of the fold's where records of different topics were appended at about the same
time: they are merged in the order in which they became visible. It shows in when a deletion's memory ends, and nowhere
else."""
MAX_SHOWN: Final = 300
"""Characters of a value that a violation shows."""


@dataclass(frozen=True, slots=True)
class Case:
    """What was seen, and what the fold says of each partition number."""

    seen: Observation
    folded: Mapping[int, Folded]

    def seen_of(self, topic: str) -> Iterator[Record]:
        """All records of a topic."""
        for number in range(self.seen.partitions):
            yield from self.seen.log[topic, number]


def violations(case: Case) -> Iterator[str]:
    """Whatever does not hold, in the order of the invariants."""
    for invariant in (
        _both_readers_agree,
        _no_transaction_is_open,
        _change_ids_are_unique,
        _changes_are_those_of_the_fold,
        _documents_are_those_of_the_fold,
        _internal_records_are_those_of_the_fold,
        _every_input_is_accounted_for,
        _all_input_is_committed,
        _no_output_comes_from_beyond,
        _records_in_redis_are_the_last_in_kafka,
        _indexes_in_redis_agree,
        _positions_are_at_the_end,
    ):
        yield from invariant(case)


# Reading


def _both_readers_agree(case: Case) -> Iterator[str]:
    seen = case.seen
    for place, second in (seen.second_log or {}).items():
        first = [as_kcat_shows(record) for record in seen.log[place]]
        if first == second:
            continue
        at = next(
            (n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(map(len, (first, second)))
        )
        yield (
            f"{_at(place)}: kafka-python reads {len(first)} records and kcat {len(second)}; the first difference:"
            f" {_nth(first, at)} and {_nth(second, at)}"
        )


def _no_transaction_is_open(case: Case) -> Iterator[str]:
    for place, end in case.seen.ends.items():
        if case.seen.read_to[place] < end:
            yield (
                f"{_at(place)}: expected to read up to {end}, stood still at {case.seen.read_to[place]}:"
                " a transaction is open"
            )


# 1: changes


def _change_ids_are_unique(case: Case) -> Iterator[str]:
    """But for runs that operators had forgotten and that began anew: as often as the fold has them."""
    lives = Counter(_change_id(c.headers) for f in case.folded.values() for chain in f.changes.values() for c in chain)
    places: dict[bytes | None, list[Record]] = defaultdict(list)
    for record in case.seen_of(case.seen.topics.decision_changes):
        places[_change_id(record.headers)].append(record)
    for id, records in places.items():
        times = max(1, lives[id])
        if len(records) > times:
            where = " and ".join(_of(record) for record in records)
            expected = "once" if times == 1 else f"{times} times"
            yield f"change {_text(id)}: expected {expected}, found {len(records)} times: {where}"


def _change_id(headers: Iterable[tuple[str, bytes]]) -> bytes | None:
    return dict(headers).get("ce_id")


def _changes_are_those_of_the_fold(case: Case) -> Iterator[str]:
    topic = case.seen.topics.decision_changes
    for number, folded in case.folded.items():
        found: dict[str, list[Record]] = defaultdict(list)
        for record in case.seen.log[topic, number]:
            found[_text(record.key)].append(record)
        for run in sorted(found.keys() | folded.changes.keys()):
            yield from _sequence_differs(topic, number, run, folded.changes.get(run, []), found.get(run, []))


def _sequence_differs(
    topic: str, number: int, run: str, expected: list[Published], found: list[Record]
) -> Iterator[str]:
    place = topic, number
    for nth in range(max(len(expected), len(found))):
        if nth >= len(found):
            yield f"{_at(place)} run {run}: expected change {nth + 1}, found none: {_show(expected[nth].value)}"
        elif nth >= len(expected):
            yield f"{_of(found[nth])} run {run}: expected no change {nth + 1}, found {_show(found[nth].value)}"
        else:
            yield from _record_differs(found[nth], f"run {run}", expected[nth])
            if found[nth].value != expected[nth].value:
                return  # The others are shifted, and say nothing more.


# 2: documents


def _documents_are_those_of_the_fold(case: Case) -> Iterator[str]:
    """Some of what could have been published, in its order, and the last of it."""
    topic = case.seen.topics.decision_state
    for number, folded in case.folded.items():
        last: dict[str, tuple[int, int]] = {}
        for record in case.seen.log[topic, number]:
            run = _text(record.key)
            revision = _revision(record)
            if revision is None:
                yield f"{_of(record)} run {run}: expected a revision, found none in {_show(record.value)}"
                continue
            versions = folded.documents.get(run, [])
            places = [at for at, version in enumerate(versions) if version.revision == revision]
            if not places:
                yield f"{_of(record)} run {run}: expected no revision {revision}, found {_show(record.value)}"
                continue
            before, shown = last.get(run, (-1, 0))
            later = [at for at in places if at > before]
            if not later:
                yield f"{_of(record)} run {run}: expected a revision above {shown}, found {revision}"
                continue
            at = next((at for at in later if versions[at].published.value == record.value), later[0])
            yield from _record_differs(record, f"run {run} revision {revision}", versions[at].published)
            last[run] = at, revision
        for run, versions in folded.documents.items():
            at, shown = last.get(run, (-1, 0))
            if at != len(versions) - 1:
                yield (
                    f"{_at((topic, number))} run {run}: expected the last document to be revision"
                    f" {versions[-1].revision}, found {shown or 'none'}"
                )


def _revision(record: Record) -> int | None:
    """Of a document, or of a tombstone by its header."""
    if record.value is None:
        header = dict(record.headers).get("revision", b"")
        return int(header) if header.isdigit() else None
    revision = _decoded(record.value).get("revision")
    return revision if isinstance(revision, int) else None


def _internal_records_are_those_of_the_fold(case: Case) -> Iterator[str]:
    topic = case.seen.topics.internal
    for number, folded in case.folded.items():
        last = last_values(case.seen.log[topic, number])
        for key in sorted(last.keys() | folded.internal.keys()):
            found, expected = last.get(key), folded.internal.get(key)
            if found != expected and not _differs_by_merge_only(found, expected):
                yield f"{_at((topic, number))} {key}: expected {_differing(expected, found)}"


def _differs_by_merge_only(found: bytes | None, expected: bytes | None) -> bool:
    """Whether two records differ only in when a deletion's memory ends, and by little: see MERGE_SLACK_MS."""
    if found is None or expected is None:
        return False
    one, other = _decoded(found), _decoded(expected)
    end, expected_end = one.pop("due", None), other.pop("due", None)
    if end is None or expected_end is None or one.get("kept"):
        return False
    return one == other and 0 <= end - expected_end < MERGE_SLACK_MS


# 3 and 4: every input once


def _every_input_is_accounted_for(case: Case) -> Iterator[str]:
    topic = case.seen.topics.dead_letters
    for number, folded in case.folded.items():
        found: dict[tuple[str, int, int], list[Record]] = defaultdict(list)
        for record in case.seen.log[topic, number]:
            found[_source(record)].append(record)
        for source in sorted(found.keys() | folded.letters.keys()):
            expected = folded.letters.get(source, [])
            letters = found.get(source, [])
            if len(letters) != len(expected):
                yield (
                    f"{_at((topic, number))}: expected {_place(source)} {len(expected)} times among the dead letters,"
                    f" found it {len(letters)} times"
                )
                continue
            for letter, (original, headers) in zip(letters, expected, strict=True):
                if letter.key != original.key:
                    yield f"{_of(letter)} from {_place(source)}: expected key {original.key!r}, found {letter.key!r}"
                yield from _record_differs(letter, f"from {_place(source)}", Published(original.value, headers))


def _source(letter: Record) -> tuple[str, int, int]:
    headers = dict(letter.headers)
    topic, number, offset = (headers.get(f"dl_{name}", b"") for name in ("topic", "partition", "offset"))
    return _text(topic), int(number) if number.isdigit() else -1, int(offset) if offset.isdigit() else -1


def _all_input_is_committed(case: Case) -> Iterator[str]:
    seen = case.seen
    for place, committed in seen.committed.items():
        after_last = seen.log[place][-1].offset + 1 if seen.log[place] else 0
        if not after_last <= max(committed, 0) <= seen.ends[place]:
            yield (
                f"{_at(place)}: expected a committed offset from {after_last} to {seen.ends[place]}, found"
                f" {'none' if committed < 0 else committed}"
            )


def _no_output_comes_from_beyond(case: Case) -> Iterator[str]:
    seen = case.seen
    for record in case.seen_of(seen.topics.decision_state):
        for source in _sources(_decoded(record.value)):
            committed = seen.committed.get((source["topic"], source["partition"]), -1)
            if source["offset"] >= committed:
                yield (
                    f"{_of(record)} run {_text(record.key)}: expected sources before the committed offset {committed},"
                    f" found {_place((source['topic'], source['partition'], source['offset']))}"
                )
    for record in case.seen_of(seen.topics.dead_letters):
        letter_topic, number, offset = _source(record)
        committed = seen.committed.get((letter_topic, number), -1)
        if offset >= committed:
            yield (
                f"{_of(record)}: expected a dead letter from before the committed offset {committed}, found"
                f" {_place((letter_topic, number, offset))}"
            )


def _sources(value: Any) -> Iterator[dict[str, Any]]:
    """Every place in Kafka that facts name."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "source" and inner is not None:
                yield inner
            else:
                yield from _sources(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _sources(inner)


# 6: Redis


def _records_in_redis_are_the_last_in_kafka(case: Case) -> Iterator[str]:
    seen = case.seen
    expected: dict[str, bytes] = {}
    for number in range(seen.partitions):
        for key, value in last_values(seen.log[seen.topics.decision_state, number]).items():
            expected[f"{seen.namespace}:{{{number}}}:run:{key}"] = value
        for key, value in last_values(seen.log[seen.topics.internal, number]).items():
            expected[f"{seen.namespace}:{{{number}}}:{key.replace('/', ':', 1)}"] = value
    found = {name: value for name, value in seen.store.items() if isinstance(value, bytes)}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            yield f"Redis {name}: expected {_differing(expected.get(name), found.get(name))}"


def _indexes_in_redis_agree(case: Case) -> Iterator[str]:
    seen = case.seen
    expected: dict[str, dict[str, int]] = defaultdict(dict)
    for number, folded in case.folded.items():
        prefix = f"{seen.namespace}:{{{number}}}"
        for run in folded.index.values():
            expected[f"{prefix}:runs:{run.tenant}"][run.run] = run.changed_at
            expected[f"{prefix}:runs:{run.tenant}:{run.state}"][run.run] = run.changed_at
            if run.unfinished:
                expected[f"{prefix}:unfinished:{run.state}"][f"{run.tenant}/{run.run}"] = run.changed_at
        expected[f"{prefix}:records"] = dict.fromkeys(_records_there(seen, number), 0)
        # Of deadlines the log itself says when they are: see MERGE_SLACK_MS.
        for key, value in last_values(seen.log[seen.topics.internal, number]).items():
            due = _decoded(value).get("due")
            if due is not None:
                expected[f"{prefix}:deadlines"][key] = due
    for name in sorted(expected.keys() | {name for name in seen.store if not _is_record_or_position(seen, name)}):
        found = seen.store.get(name, {})
        if found == expected.get(name, {}):
            continue
        if not isinstance(found, dict):
            yield f"Redis {name}: expected a sorted set, found {_show(found)}"
            continue
        yield from _members_differ(name, expected.get(name, {}), found)


def _records_there(seen: Observation, number: int) -> Iterator[str]:
    """The names, behind the partition's prefix, of all records that Redis should hold of it."""
    for key in last_values(seen.log[seen.topics.decision_state, number]):
        yield f"run:{key}"
    for key in last_values(seen.log[seen.topics.internal, number]):
        yield key.replace("/", ":", 1)


def _members_differ(name: str, expected: Mapping[str, int], found: Mapping[str, Any]) -> Iterator[str]:
    for member in sorted(expected.keys() | found.keys()):
        if expected.get(member) != found.get(member):
            yield (
                f"Redis {name}: expected {member} at {expected.get(member, 'no place')},"
                f" found it at {found.get(member, 'no place')}"
            )


def _is_record_or_position(seen: Observation, name: str) -> bool:
    return isinstance(seen.store[name], bytes) or name in {_position(seen, n) for n in range(seen.partitions)}


def _position(seen: Observation, number: int) -> str:
    return f"{seen.namespace}:{{{number}}}:position"


def _positions_are_at_the_end(case: Case) -> Iterator[str]:
    seen = case.seen
    for number in range(seen.partitions):
        name = _position(seen, number)
        position = seen.store.get(name)
        if not isinstance(position, dict):
            yield f"Redis {name}: expected a hash, found {_show(position)}"
            continue
        if position.get("status") != "ready":
            yield f"Redis {name}: expected status ready, found {position.get('status')}"
        for field, topic in (("state", seen.topics.decision_state), ("internal", seen.topics.internal)):
            place = topic, number
            after_last = seen.log[place][-1].offset + 1 if seen.log[place] else 0
            found = int(position.get(field, -1))
            if not after_last <= found <= seen.ends[place]:
                yield f"Redis {name}: expected {field} from {after_last} to {seen.ends[place]}, found {found}"


# What messages are made of


def last_values(records: Iterable[Record]) -> dict[str, bytes]:
    """What compaction would leave of a topic: each key's last value, and no deleted ones."""
    last = {_text(record.key): record.value for record in records}
    return {key: value for key, value in last.items() if value is not None}


def _decoded(value: bytes | None) -> dict[str, Any]:
    """A document; empty if it is none, which comparing its bytes tells."""
    try:
        return {} if value is None else decode(value)
    except ValueError:
        return {}


def _record_differs(found: Record, name: str, expected: Published) -> Iterator[str]:
    if found.value != expected.value:
        yield f"{_of(found)} {name}: expected {_differing(expected.value, found.value)}"
    if Counter(found.headers) != Counter(expected.headers):
        yield f"{_of(found)} {name}: expected headers {list(expected.headers)}, found {list(found.headers)}"


def _differing(expected: bytes | None, found: bytes | None) -> str:
    """Both values, from shortly before the place where they begin to differ."""
    if expected is None or found is None:
        return f"{_show(expected)}, found {_show(found)}"
    same = next((at for at, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), 0)
    start = max(0, same - MAX_SHOWN // 3)
    return f"…{_show(expected[start:])}, found …{_show(found[start:])}"


def _show(value: object) -> str:
    if value is None:
        return "nothing"
    text = value.decode(errors="replace") if isinstance(value, bytes) else repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _nth(records: list[Any], at: int) -> str:
    return _show(records[at]) if at < len(records) else "nothing"


def _text(data: bytes | None) -> str:
    return "no key" if data is None else data.decode(errors="replace")


def _at(place: Place) -> str:
    return f"{place[0]} partition {place[1]}"


def _place(source: tuple[str, int, int]) -> str:
    topic, number, offset = source
    return f"{topic} partition {number} offset {offset}"


def _of(record: Record) -> str:
    return _place((record.topic, record.partition, record.offset))
