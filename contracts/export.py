"""The contract for other programs: a JSON Schema of every shape in the topics, and one page that says which is where.

Made from the models that the worker reads with and is tested with, so it can't say anything else. The files are in
`contracts/schemas/`; `restore-projector contracts export` writes them, and `make check` compares. Values are described
by the models' schemas, draft 2020-12. Headers are described as an object from name to text, which is not how Kafka
keeps them: there a header may come twice, and then the last one counts.

Source: interfaces, sections 2, 3, 6, 7.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import TypedDict

from contracts.commands import REPLAY_HEADERS, ForgetKind, ForgetWhat, Operation
from contracts.decision import STATES, Direction, Origin, Severity
from contracts.documents import CHANGE_TYPE, StateChange, StateDocument
from contracts.events import TRACEPARENT
from contracts.explanation import Explanation
from contracts.facts import Entity
from contracts.forms import SPECVERSION, VERBS
from contracts.ids import ID_PATTERN
from contracts.letters import MEANINGS
from contracts.topics import TOPICS, Role, TopicRow
from contracts.typescript import typescript
from contracts.wire import DeletedData, EvidenceSnapshotData, Id, OperationRunData, RestoreRunData

Schema: TypeAlias = dict[str, Any]
ValueKind = Literal["json", "null", "bytes"]
"""What a record's value is: JSON with a schema, null, or whatever the source record's value was."""

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
INDEX: Final = "topics.json"
TYPES: Final = "types.ts"

FORMS: Final = {
    "binary": "CloudEvents 1.0 in binary mode: the attributes are headers ce_*, the value is the data.",
    "structured": "CloudEvents 1.0 in structured mode: content-type application/cloudevents+json, the same attributes "
    "as members of the value, and the data in its member data.",
    "debezium": "Change events of Debezium, with and without the schema/payload wrapper. The table's rows have the "
    "fields of the data as columns; the key is the plain tenant id.",
}
"""In which an event may come. The schemas are those of the data and of the headers in binary mode."""

INTERNAL: Final = "What the worker keeps for itself. It may change in any version: read none of it."


class RecomputeOrder(TypedDict):
    """The run that is to be decided again from its stored facts."""

    restore_run_id: Id


class ForgetOrder(TypedDict):
    """The stored record of which the sequence, or everything, is to be forgotten."""

    kind: ForgetKind
    id: Id
    what: ForgetWhat


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record in a topic. `shape` is that of a value of JSON; None where there is nothing to say of it."""

    topic: Role
    name: str
    about: str
    headers: Schema
    shape: Any = None
    value: ValueKind = "json"


class _Generator(GenerateJsonSchema):
    """Without a title for each field, which would repeat its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _exactly(text: str) -> Schema:
    return {"const": text}


def _one_of(texts: Iterable[str]) -> Schema:
    return {"enum": list(texts)}


def _text(pattern: str, description: str) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$", "description": description}


_ANY: Final[Schema] = {"type": "string", "minLength": 1}
_ID: Final = _text(ID_PATTERN, "an identifier")
_DIGITS: Final = _text("[0-9]+", "decimal digits")
_TRACE: Final = _text(TRACEPARENT.pattern, "W3C Trace Context of the record that caused this")
_JSON: Final = _exactly("application/json")


def _headers(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    return {"type": "object", "properties": required | (optional or {}), "required": list(required)}


def _event_headers(entity: Entity, verb: str) -> Schema:
    return _headers(
        {
            "ce_specversion": _exactly(SPECVERSION),
            "ce_id": _ANY,
            "ce_source": _ANY,
            "ce_type": _exactly(f"restore.{entity}.{verb}"),
            "ce_sequence": _text("[0-9]{1,128}", "grows with every change of the entity; at most 9223372036854775807"),
        },
        {"content-type": _JSON, "traceparent": _TRACE},
    )


_CHANGE_HEADERS: Final = _headers(
    {
        "ce_specversion": _exactly(SPECVERSION),
        "ce_id": _text(rf"{ID_PATTERN}/{ID_PATTERN}/[0-9]+", "<tenant>/<restore run>/<revision>: once for each change"),
        "ce_type": _exactly(CHANGE_TYPE),
        "ce_source": _text("urn:restore-projector:.+", "the topics' prefix comes last"),
        "ce_subject": _text(f"{ID_PATTERN}/{ID_PATTERN}", "<tenant>/<restore run>"),
        "ce_time": _text("[0-9T:.-]{23}Z", "changed_at"),
        "ce_tenant": _ID,
        "ce_severity": _one_of(get_args(Severity)),
        "ce_direction": _one_of(get_args(Direction)),
        "ce_origin": _one_of(get_args(Origin)),
        "content-type": _JSON,
    },
    {"ce_fromstate": _one_of(STATES), "ce_tostate": _one_of(STATES), "traceparent": _TRACE},
)

_LETTER_HEADERS: Final = _headers(
    {
        "dl_topic": {**_ANY, "description": "where the record lay"},
        "dl_partition": _DIGITS,
        "dl_offset": _DIGITS,
        "dl_timestamp": _text("[0-9]+", "the record's own, in ms since the epoch"),
        "dl_reason": {
            "oneOf": [{"const": reason, "description": meaning} for reason, meaning in MEANINGS.items()],
        },
        "dl_detail": {**_ANY, "description": "one line: where, what was expected, what came"},
    }
)

_TRAIL: Final[dict[str, Schema]] = {
    "actor": {"type": "string", "description": "who asked"},
    "reason": {"type": "string", "description": "why"},
    "request": {"type": "string", "description": "the same in all records of one invocation of a command"},
}
_LETTER: Final = _text("[0-9]+", "offset of the dead letter that this sees to, in this partition of its topic")
_REPLAY_HEADERS: Final = _headers(
    {"op": _exactly("replay"), **{name: _ANY if name == "rp_topic" else _DIGITS for name in REPLAY_HEADERS}},
    {**_TRAIL, "letter": _LETTER},
)


def _order_headers(operation: Operation) -> Schema:
    return _headers({"op": _exactly(operation)}, {**_TRAIL, "traceparent": _TRACE})


_DATA: Final[dict[Entity, Any]] = {
    "restore_run": RestoreRunData,
    "operation_run": OperationRunData,
    "evidence_snapshot": EvidenceSnapshotData,
}
_VERBS: Final = {"changed": "the whole state after a change", "deleted": "it is gone"}


def _event_kinds() -> Iterator[Kind]:
    for row in TOPICS:
        if row.entity is not None:
            for verb in VERBS:
                about = f"A {row.entity.replace('_', ' ')}: {_VERBS[verb]}."
                shape = _DATA[row.entity] if verb == "changed" else DeletedData
                yield Kind(row.role, verb, about, _event_headers(row.entity, verb), shape)


KINDS: Final[tuple[Kind, ...]] = (
    *_event_kinds(),
    Kind(
        "ops", "recompute", "An operator asks for a run to be decided again.",
        _order_headers("recompute"), RecomputeOrder,
    ),
    Kind(
        "ops", "replay", "An operator feeds a record again: its value and its headers, and where it lay.",
        _REPLAY_HEADERS, value="bytes",
    ),
    Kind(
        "ops", "forget", "An operator has a sequence forgotten, so that a source may count anew, or a whole record.",
        _order_headers("forget"), ForgetOrder,
    ),
    Kind(
        "ops", "dismiss", "An operator has seen to a dead letter. The key is that of its record.",
        _headers({"op": _exactly("dismiss"), "letter": _LETTER}, _TRAIL), value="null",
    ),
    Kind(
        "decision_state", "document", "The run's decision as it is now; it takes the place of all earlier ones.",
        _headers({}, {"traceparent": _TRACE}), StateDocument,
    ),
    Kind(
        "decision_state", "removed", "The run was deleted.",
        _headers({"revision": _text("[1-9][0-9]*", "the one that the deletion took")}, {"traceparent": _TRACE}),
        value="null",
    ),
    Kind(
        "decision_changes", "change", "A run's state changed: a CloudEvent in binary mode.",
        _CHANGE_HEADERS, StateChange,
    ),
    Kind(
        "dead_letters", "letter", "A record that could not be taken: key, value and headers are its own, unchanged.",
        _LETTER_HEADERS, value="bytes",
    ),
)  # fmt: skip
"""Every kind of record that others write or read. Those of the internal topic are nobody else's."""


def kinds_of(row: TopicRow) -> list[Kind]:
    """The kinds of records in a topic."""
    return [kind for kind in KINDS if kind.topic == row.role]


def value_file(row: TopicRow, kind: Kind) -> str | None:
    """The file with the schema of the kind's value, if that is JSON."""
    return f"{row.suffix}.{kind.name}.schema.json" if kind.shape is not None else None


def headers_file(row: TopicRow, kind: Kind) -> str:
    """The file with the schema of the kind's headers."""
    return f"{row.suffix}.{kind.name}.headers.schema.json"


def examples_file(row: TopicRow) -> str | None:
    """The file with whole records of a topic; there is none for what is internal."""
    return f"examples/{row.suffix}.json" if kinds_of(row) else None


def export() -> dict[str, str]:
    """The files, by their path under `contracts/schemas`; all but the examples, which need decisions."""
    files = {INDEX: dump(_index())}
    for row in TOPICS:
        for kind in kinds_of(row):
            title = f"{row.suffix}, {kind.name}"
            files[headers_file(row, kind)] = dump(
                _named(
                    headers_file(row, kind), {"title": f"{title}: headers", "description": kind.about} | kind.headers
                )
            )
            if (file := value_file(row, kind)) is not None:
                files[file] = dump(_named(file, schema_of(kind.shape)))
    files["explanation.schema.json"] = dump(_named("explanation.schema.json", schema_of(Explanation)))
    files[TYPES] = typescript([StateDocument, StateChange, Explanation])
    return files


def schema_of(shape: Any) -> Schema:
    """The JSON Schema of a model or of a typed dictionary."""
    return TypeAdapter(shape).json_schema(schema_generator=_Generator)


def dump(value: object) -> str:
    """JSON for people and for version control."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _named(file: str, schema: Schema) -> Schema:
    return {"$schema": DIALECT, "$id": f"urn:restore-projector:{file.removesuffix('.schema.json')}"} | schema


def _index() -> dict[str, Any]:
    return {
        "about": "What lies in which topic, and in which file it is described. Made by "
        "`restore-projector contracts export`; changes made here are lost.",
        "topic_names": "<prefix>.<suffix>; the prefix is restore unless it was set otherwise",
        "forms": FORMS,
        "types": TYPES,
        "topics": [_topic(row) for row in TOPICS],
    }


def _topic(row: TopicRow) -> dict[str, Any]:
    described = {
        "suffix": row.suffix,
        "direction": row.direction,
        "key": row.key,
        "cleanup_policy": row.cleanup,
        "forms": list(FORMS) if row.entity is not None else None,
        "records": [
            {
                "kind": kind.name,
                "about": kind.about,
                "headers": headers_file(row, kind),
                "value": kind.value,
                "value_schema": value_file(row, kind),
            }
            for kind in kinds_of(row)
        ],
        "examples": examples_file(row),
    }
    return described if kinds_of(row) else described | {"about": INTERNAL}
