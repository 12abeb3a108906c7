"""Is what Redis has what the log says? Pure: of one record, and of the position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from contracts.decision import decode
from contracts.times import format_time
from projections.record import Key
from worker.operators.decisions import contradicts_itself
from worker.operators.differences import Difference, Name
from worker.operators.ledger import Expected, digest_of, name_of
from worker.operators.sights import Sight, Standpoint
from worker.ports import LAYOUT, Ends


def compare_position(number: int, at: Standpoint, ends: Ends, log_id: str) -> Difference | None:
    """Why nothing can be said of what is behind this position; None if it can be followed."""

    def differs(name: Name, expected: str, got: str) -> Difference:
        return Difference(name, number, "position", expected, got)

    if not at.fields:
        return differs("no_position", "a position", "none")
    if not at.readable:
        return differs("no_position", "a position", f"one that cannot be read: {_shown(at.fields)}")
    if at.number("layout") != LAYOUT:
        return differs("other_layout", f"layout {LAYOUT}", f"layout {at.fields.get('layout', 'not told')}")
    if at.fields["log_id"] != log_id:
        return differs("other_topics", f"topics {log_id}", f"topics {at.fields['log_id']}")
    state, internal = at.offsets
    for topic, offset, low, high in (
        ("decision-state", state, ends.low_state, ends.high_state),
        ("internal", internal, ends.low_internal, ends.high_internal),
    ):
        if not low <= offset <= high:
            return differs("outside_the_log", f"{topic} from {low} to {high}", f"{topic} {offset}")
    return None


def compare_sizes(number: int, at: Standpoint) -> Iterator[Difference]:
    """The sizes that two indexes were left with, and that they have."""
    for name, size in (("deadlines", at.deadlines), ("records", at.records)):
        left = at.number(name) or 0
        if left != size:
            yield Difference("wrong_size", number, name, f"{left} members", f"{size} members")


def compare_record(number: int, expected: Expected | None, sight: Sight) -> Iterator[Difference]:
    """One record, and its places in the indexes."""
    name = name_of(sight.key).decode()

    def differs(kind: Name, wanted: str, got: str, cause: str | None = None, key: str = name) -> Difference:
        return Difference(kind, number, key, wanted, got, cause)

    if expected is None:
        yield from _too_much(sight, differs)
        return
    if sight.value is None:
        yield differs("lost_key", _from_log(sight.key, expected), "no such key")
    elif digest_of(sight.value) != expected.digest:
        yield differs(
            "changed_key", _from_log(sight.key, expected), _in_words(sight.value), _cause_of_change(sight.value)
        )
    if not sight.listed:
        yield differs("not_listed", f"{name} in records", "not there", key="records")
    if expected.readable:
        yield from _compare_places(expected, sight, differs)


def _too_much(sight: Sight, differs: Any) -> Iterator[Difference]:
    """Of a key that Kafka does not have."""
    name = name_of(sight.key).decode()
    if sight.value is not None:
        yield differs("extra_key", "no such key", _in_words(sight.value))
    if sight.listed:
        yield differs("listed_without_key", f"{name} not in records", "there", key="records")
    for index, score in _entries(sight).items():
        yield differs("extra_index_entry", f"{_member(sight, index)} not there", f"at {_time(score)}", key=index)


def _compare_places(expected: Expected, sight: Sight, differs: Any) -> Iterator[Difference]:
    """The indexes that it must be in, at which score, and no other."""
    wanted: dict[str, int] = {}
    if expected.score is not None:
        if sight.key.kind == "run":
            assert expected.state is not None, "a run has a state"
            wanted = {f"runs:{sight.key.tenant}": expected.score}
            wanted[f"runs:{sight.key.tenant}:{expected.state}"] = expected.score
            if expected.unfinished:
                wanted[f"unfinished:{expected.state}"] = expected.score
        else:
            wanted = {"deadlines": expected.score}
    found = _entries(sight)
    for index in {**wanted, **found}:
        member = _member(sight, index)
        if index not in found:
            yield differs("missing_index_entry", f"{member} at {_time(wanted[index])}", "not there", key=index)
        elif index not in wanted:
            yield differs("extra_index_entry", f"{member} not there", f"at {_time(found[index])}", key=index)
        elif found[index] != wanted[index]:
            told = f"{member} at {_time(wanted[index])}"
            yield differs("wrong_index_entry", told, f"at {_time(found[index])}", key=index)


def _entries(sight: Sight) -> Mapping[str, int]:
    """The indexes that it is in, and its score there."""
    found: dict[str, int] = {}
    if sight.score is not None:
        found[f"runs:{sight.key.tenant}" if sight.key.kind == "run" else "deadlines"] = sight.score
    found |= {f"runs:{sight.key.tenant}:{state}": score for state, score in sight.states.items()}
    found |= {f"unfinished:{state}": score for state, score in sight.unfinished.items()}
    return found


def _member(sight: Sight, index: str) -> str:
    """As it is called in this index."""
    return sight.key.id if index.startswith("runs:") else str(sight.key)


def _from_log(key: Key, expected: Expected) -> str:
    topic = "decision-state" if key.kind == "run" else "internal"
    what = "the record" if expected.state is None else f"the document, {expected.state},"
    return f"{what} at offset {expected.offset} of {topic}"


def _in_words(value: bytes) -> str:
    """What there is, in a few words: of a document its revision and state."""
    document = _document(value)
    size = f"{len(value)} bytes"
    if document is None:
        return f"{size} that are no JSON object"
    if "revision" in document and "state" in document:
        return f"a document of revision {document['revision']!r:.20}, {document['state']!r:.40}, {size}"
    return f"{size} of JSON"


def _cause_of_change(value: bytes) -> str:
    """What the bytes themselves tell of who wrote them."""
    if _document(value) is None:
        return "something else writes to this key: it is no record of ours"
    if contradicts_itself(value):
        return "the document was changed by hand: its decision does not follow from its own facts"
    return "the key was changed by hand, or is from an older copy that was put back"


def _document(value: bytes) -> dict[str, Any] | None:
    with suppress(ValueError):
        return decode(value)
    return None


def _time(ms: int) -> str:
    with suppress(ValueError, OverflowError):
        return format_time(ms)
    return str(ms)


def _shown(fields: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(fields.items()))[:200]
