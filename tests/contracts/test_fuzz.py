"""Whatever bytes come, the answer is an event or a refusal in one line; nothing raises, and tenants stay apart."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contracts.events import Changed, Deleted, Event, Ignored, Record, Rejected
from contracts.facts import ENTITIES, MAX_SEQUENCE, Entity
from contracts.ids import partition_of
from contracts.letters import REASONS, letter_headers, read_letter
from tests.contracts import debezium
from tests.contracts.records import DECODER, HOME, PARTITIONS, TOPIC, ce_event, ce_headers, state
from tests.contracts.test_strict_json import any_json

MAX_DETAIL = 600
"""Characters: a path, an expectation of fixed words, and 80 or twice 80 of what came."""

header_names = st.sampled_from(
    [*ce_headers(), "CE_TYPE", "traceparent", "ce_traceparent", "Content-Type", "dl_reason", "ce_", ""]
) | st.text(max_size=10)
header_values: st.SearchStrategy[Any] = (
    st.none()
    | st.sampled_from([str(value).encode() for value in ce_headers().values()])
    | st.sampled_from([b"application/cloudevents+json", b"restore.restore_run.deleted", b"", b";", b"5", b"\xff"])
    | st.binary(max_size=20)
)
headers = st.lists(st.tuples(header_names, header_values), max_size=10).map(tuple)
keys = st.none() | st.sampled_from([b"t-1", b"t-2", b"", b"\xff"]) | st.binary(max_size=10)
odd_values: st.SearchStrategy[Any] = (
    any_json
    | st.sampled_from([True, 1, "1", 1.0, -1, "", "..", "rr-1", 2**64, [], {}, None, "2026-11-01T10:00:00Z"])
    | st.text(st.characters(), max_size=200)
)


def check(record: Record, event: Event) -> None:
    """What holds of every answer."""
    match event:
        case Ignored():
            assert record.value is None
        case Rejected(reason, detail, marks, _):
            assert reason in REASONS
            assert detail.isprintable()
            assert len(detail) <= MAX_DETAIL
            assert read_letter(letter_headers(record, reason, detail)).detail == detail
            if marks is not None:
                assert reason in {"missing_sequence", "schema_violation"}
                assert record.key == marks.tenant_id.encode()
                assert record.partition == partition_of(marks.tenant_id, PARTITIONS, "murmur2")
        case Changed() | Deleted():
            assert record.key == event.tenant_id.encode()
            assert record.partition == partition_of(event.tenant_id, PARTITIONS, "murmur2")
            assert 0 <= event.sequence <= MAX_SEQUENCE
            assert TOPIC[event.entity] == record.topic == event.source.topic


def answer(record: Record) -> Event:
    event = DECODER.decode(record)
    check(record, event)
    assert DECODER.decode(record) == event
    return event


@given(st.sampled_from(ENTITIES), st.integers(0, PARTITIONS - 1), keys, st.none() | st.binary(max_size=200), headers)
def test_any_bytes(
    entity: Entity, partition: int, key: bytes | None, value: bytes | None, pairs: tuple[tuple[str, bytes], ...]
) -> None:
    answer(Record(TOPIC[entity], partition, 0, 0, key, value, pairs))


@given(st.sampled_from(ENTITIES), any_json, headers)
def test_any_json(entity: Entity, value: Any, pairs: tuple[tuple[str, bytes], ...]) -> None:
    answer(Record(TOPIC[entity], HOME, 0, 0, b"t-1", json.dumps(value).encode(), pairs))


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [above]
    for key, inner in value.items() if isinstance(value, dict) else ():
        found += _places(inner, (*above, key))
    return found


@st.composite
def almost_events(draw: st.DrawFn) -> Record:
    """A valid record of any form and entity in which up to three places of the value were replaced or removed."""
    entity = draw(st.sampled_from(ENTITIES))
    form = draw(st.sampled_from(["binary", "structured", "debezium", "wrapped"]))
    pairs: dict[str, Any] = {}
    if form == "binary":
        value, pairs = state(entity), ce_headers(f"restore.{entity}.{draw(st.sampled_from(['changed', 'deleted']))}")
    elif form == "structured":
        value, pairs = ce_event(entity=entity), {"content-type": "application/cloudevents+json"}
    else:
        before, op = debezium.row(entity, revision=4), draw(st.sampled_from("curd"))
        value = debezium.envelope(entity, before=before, op=op)
        value = {"schema": {}, "payload": value} if form == "wrapped" else value
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(0, 3))):
        value = _replaced(value, draw(st.sampled_from(_places(value))), draw(st.just(...) | odd_values))
    raw = json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    as_bytes = tuple((name, text.encode()) for name, text in pairs.items())
    return Record(TOPIC[entity], HOME, 0, 0, b"t-1", raw, as_bytes)


def _replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return None if new is ... else new
    copy = dict(value)
    if len(place) == 1 and new is ...:
        del copy[place[0]]
    else:
        copy[place[0]] = _replaced(copy[place[0]], place[1:], new)
    return copy


@given(almost_events())
def test_events_with_something_wrong_in_them(record: Record) -> None:
    answer(record)


@given(almost_events(), headers, keys)
def test_events_with_wrong_headers_and_keys(
    record: Record, pairs: tuple[tuple[str, bytes], ...], key: bytes | None
) -> None:
    answer(record._replace(headers=(*record.headers, *pairs), key=key))


@given(almost_events(), st.data())
def test_events_cut_short_or_with_a_byte_changed(record: Record, data: st.DataObject) -> None:
    value = record.value or b""
    at = data.draw(st.integers(0, len(value)))
    cut = value[:at] + data.draw(st.binary(max_size=3)) + value[at + data.draw(st.integers(0, 3)) :]
    answer(record._replace(value=cut))
