"""The three forms in which an event may come, each read into the same few things: a claim.

Told apart by headers first and then by shape (interfaces, section 3):

- `content-type: application/cloudevents+json` makes a structured CloudEvent, whatever other headers there are;
- else a header `ce_specversion`, `ce_id`, `ce_source` or `ce_type` makes a binary one;
- else an object with `specversion` and without `op` is a structured one too: the Python SDK's older Kafka binding
  (`cloudevents.v1.kafka`) writes the data's content type where the event's belongs;
- else the value must be a Debezium change event.

A CloudEvent must have the four attributes that CloudEvents 1.0 requires, not empty, and be of specversion 1.0. In
binary mode a content type that is absent is application/json. A header that decides and is there twice with different
values makes the record ambiguous, and so no event. Attributes that are not used here are not looked at.

A claim is not yet checked: what it says about its entity, its order and its tenant is judged in `contracts.events`,
by one path for all forms.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from contracts import strict_json
from contracts.facts import ENTITIES, Entity
from contracts.letters import Reason
from contracts.violations import NOTHING, complaint, quote, show

Verb = Literal["changed", "deleted"]
VERBS: tuple[Verb, ...] = get_args(Verb)

EVENT_TYPES: dict[str, tuple[Entity, Verb]] = {
    f"restore.{entity}.{verb}": (entity, verb) for entity in ENTITIES for verb in VERBS
}
"""The six CloudEvents types."""

TABLES: dict[Entity, str] = {entity: f"{entity}s" for entity in ENTITIES}
"""The table whose Debezium change events are about an entity."""

ROW_OF_OPERATION: dict[str, str] = {"c": "after", "u": "after", "r": "after", "d": "before"}
"""Debezium's operations (create, update, read in a snapshot, delete) and the row that each is about."""

JSON_COLUMNS = ("metadata", "result_attention")
"""Columns of `restore_runs` that Debezium writes as strings of JSON."""

SPECVERSION = "1.0"
REQUIRED_ATTRIBUTES = ("specversion", "id", "source", "type")
"""Of CloudEvents 1.0, section "required attributes"."""

_REQUIRED_HEADERS = tuple(f"ce_{name}" for name in REQUIRED_ATTRIBUTES)
_MARKS_OF_BINARY = frozenset(_REQUIRED_HEADERS)
_DECIDING = _MARKS_OF_BINARY | {"ce_sequence", "content-type"}
_TRACING = frozenset({"traceparent", "ce_traceparent"})
_USED = _DECIDING | _TRACING

_JSON = b"application/json"
_STRUCTURED = b"application/cloudevents+json"
_ANY_CLOUDEVENTS = b"application/cloudevents"

Headers: TypeAlias = dict[str, bytes]
"""The headers that are used, by their names in lower case."""


class Refused(Exception):
    """Not an event, for a reason that a dead letter gives; `detail` is one line."""

    def __init__(self, reason: Reason, place: str, expected: str, got: str) -> None:
        self.reason: Reason = reason
        self.detail = complaint(place, expected, got)
        super().__init__(reason, self.detail)


class Claim(NamedTuple):
    """What a record says before it is checked.

    `data` is the entity's state, or for a deletion what names it, and `path` is where it stands in the value.
    `sequence` is as it came, NOTHING where it did not. With `tenant_is_key` the tenant is the record's key, whatever
    `data` says. `traceparent` is the event's own attribute, which a header goes before.
    """

    entity: Entity
    verb: Verb
    data: object
    path: str
    sequence: object
    sequence_place: str
    tenant_is_key: bool = False
    traceparent: object = None


def read_headers(headers: Iterable[tuple[str, bytes]]) -> Headers:
    """The headers that are used; raises Refused where two of them contradict each other.

    Of repeated tracing headers, which proxies add, the last one counts.
    """
    found: Headers = {}
    for name, given in headers:
        lower = name.lower()
        if lower in _USED:
            value = given or b""  # Kafka knows a null header value
            earlier = found.get(lower, value)
            if earlier != value and lower in _DECIDING:
                raise Refused("not_an_event", f"header {lower}", "one value", f"{_show(earlier)} and {_show(value)}")
            found[lower] = value
    return found


def read_claim(headers: Headers, value: bytes, entity: Entity) -> Claim:
    """What a record on the entity's topic claims; raises Refused where it has none of the three forms."""
    media = headers.get("content-type", b"").split(b";", 1)[0].strip().lower()
    if media.startswith(_ANY_CLOUDEVENTS):
        if media != _STRUCTURED:
            raise Refused("not_an_event", "header content-type", _STRUCTURED.decode(), _show(media))
        return _structured(_parse(value), entity)
    if not _MARKS_OF_BINARY.isdisjoint(headers):
        return _binary(headers, media, value, entity)
    parsed = _parse(value)
    if isinstance(parsed, dict) and "specversion" in parsed and "op" not in parsed:
        return _structured(parsed, entity)
    return _debezium(parsed, entity)


def _parse(value: bytes, place: str = "$") -> object:
    try:
        return strict_json.parse(value)
    except strict_json.NotJson as error:
        raise Refused("not_json", place, error.expected, error.got) from None


def _binary(headers: Headers, media: bytes, value: bytes, topic: Entity) -> Claim:
    for name in _REQUIRED_HEADERS:
        if not headers.get(name):
            came = "an empty one" if name in headers else "nothing"
            raise Refused("not_an_event", f"header {name}", "a value", came)
    if headers["ce_specversion"] != b"1.0":
        raise Refused("not_an_event", "header ce_specversion", SPECVERSION, _show(headers["ce_specversion"]))
    if media not in {_JSON, b""}:
        raise Refused("not_an_event", "header content-type", _JSON.decode(), _show(media))
    data = _parse(value)
    if not isinstance(data, dict):
        raise Refused("not_an_event", "$", "an object", show(data))
    entity, verb = _type(_text(headers["ce_type"]), topic, "header ce_type")
    sequence = _text(headers["ce_sequence"]) if "ce_sequence" in headers else NOTHING
    return Claim(entity, verb, data, "$", sequence, "header ce_sequence")


def _structured(event: object, topic: Entity) -> Claim:
    if not isinstance(event, dict):
        raise Refused("not_an_event", "$", "an object", show(event))
    for name in REQUIRED_ATTRIBUTES:
        attribute = event.get(name, NOTHING)
        if not isinstance(attribute, str) or not attribute:
            raise Refused("not_an_event", f"$.{name}", "a string that is not empty", show(attribute))
    if event["specversion"] != SPECVERSION:
        raise Refused("not_an_event", "$.specversion", f'"{SPECVERSION}"', show(event["specversion"]))
    media = event.get("datacontenttype")
    if media is not None and (not isinstance(media, str) or media.split(";", 1)[0].strip().lower() != _JSON.decode()):
        raise Refused("not_an_event", "$.datacontenttype", _JSON.decode(), show(media))
    data, path = _data(event)
    if not isinstance(data, dict):
        raise Refused("not_an_event", path, "an object", show(data))
    entity, verb = _type(event["type"], topic, "$.type")
    sequence = event.get("sequence", NOTHING)
    return Claim(entity, verb, data, path, sequence, "$.sequence", traceparent=event.get("traceparent"))


def _data(event: dict[str, Any]) -> tuple[object, str]:
    """A structured event's data and where it stands; as base64 if its producer had it as bytes."""
    text = event.get("data_base64")
    if text is None:
        return event.get("data", NOTHING), "$.data"
    if not isinstance(text, str) or event.get("data") is not None:
        raise Refused("not_an_event", "$.data_base64", "base64, and no data beside it", show(text))
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused("not_an_event", "$.data_base64", "base64", quote(text)) from None
    return _parse(data, "$.data_base64"), "$.data_base64"


def _type(text: str, topic: Entity, place: str) -> tuple[Entity, Verb]:
    found = EVENT_TYPES.get(text)
    if found is None or found[0] != topic:
        raise Refused("unknown_type", place, f"restore.{topic}.changed or .deleted on this topic", quote(text))
    return found


def _debezium(value: object, topic: Entity) -> Claim:
    envelope, path = _envelope(value)
    source = envelope.get("source")
    if not isinstance(source, dict | None):
        raise Refused("not_an_event", f"{path}.source", "an object", show(source))
    table = NOTHING if source is None else source.get("table", NOTHING)
    if table is not NOTHING and table != TABLES[topic]:
        raise Refused("unknown_type", f"{path}.source.table", f"{TABLES[topic]} on this topic", show(table))
    operation = envelope["op"]
    row_name = ROW_OF_OPERATION.get(operation) if isinstance(operation, str) else None
    if row_name is None:
        raise Refused("unknown_type", f"{path}.op", "c, u, d or r", show(operation))
    row = envelope.get(row_name)
    deleted = operation == "d"
    sequence, place = _sequence(row, f"{path}.{row_name}", source, f"{path}.source")
    if deleted and isinstance(row, dict) and _is_filled_up(row):
        sequence, place = NOTHING, f"{path}.{row_name}.revision, which needs REPLICA IDENTITY FULL"
    data = row if deleted else _with_json_columns(row)
    return Claim(
        topic, "deleted" if deleted else "changed", data, f"{path}.{row_name}", sequence, place, tenant_is_key=deleted
    )


def _envelope(value: object) -> tuple[dict[str, Any], str]:
    """A change event and where it stands: alone, or as the payload beside its schema. Has `op` and at least a row."""
    envelope, path = value, "$"
    if isinstance(envelope, dict) and "payload" in envelope and "op" not in envelope:
        envelope, path = envelope["payload"], "$.payload"
    if not isinstance(envelope, dict):
        raise Refused("not_an_event", path, "a CloudEvent, by its headers, or a Debezium change event", show(envelope))
    if "op" not in envelope:
        raise Refused("not_an_event", f"{path}.op", "a Debezium operation, or a CloudEvent's headers", "nothing")
    if not isinstance(envelope.get("after"), dict) and not isinstance(envelope.get("before"), dict):
        raise Refused("not_an_event", path, "a row before or after the change", "neither")
    return envelope, path


def _sequence(row: object, row_path: str, source: dict[str, Any] | None, source_path: str) -> tuple[object, str]:
    """The column `revision` where the table has one, whatever it holds, else the position in the database's log.

    A null in that column is no reason to take the log's position: that is larger than any revision, so the rows that
    have one would be stale for ever.
    """
    if isinstance(row, dict) and "revision" in row:
        return row["revision"], f"{row_path}.revision"
    return (source or {}).get("lsn", NOTHING), f"{row_path}.revision or {source_path}.lsn"


def _is_filled_up(row: dict[str, Any]) -> bool:
    """Whether Debezium was told no more than a deleted row's key, so that its revision is not the row's.

    Columns that it was not told are null, or where null can't be 0 and "". A status is never that. A revision of 0
    would make the deletion stale, and the entity would stay for ever.
    """
    return "revision" in row and row.get("status", NOTHING) in ("", None)


def _with_json_columns(row: object) -> object:
    """The row with its columns of JSON read; one that is not strict JSON stays a string, which no schema takes."""
    if not isinstance(row, dict):
        return row
    read = {}
    for name in JSON_COLUMNS:
        text = row.get(name)
        if isinstance(text, str):
            try:
                read[name] = strict_json.parse(text.encode())
            except strict_json.NotJson:
                continue
    return row | read


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _show(value: bytes) -> str:
    return quote(_text(value))
