"""The three entities as others write them: validated strictly, turned into facts.

A field that the contract does not know is ignored; one that it knows must have exactly its type: no "1" or true for 1,
no 1.0 for an integer, no null for a required field. Each field has a description in words, which is what a violation
says was expected, and what the exported JSON Schema says. Typed dictionaries, as they validate in half the time
that models take.

Source of the fields: interfaces, section 3; of the shape that `decide` reads: section 6, `diagnostics.inputs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Annotated, Any, Generic, NotRequired, TypeAlias, TypeVar

from pydantic import ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema, with_config
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from contracts.decision import SCHEMA
from contracts.facts import (
    ATTENTION_STATES,
    ENTITIES,
    MAX_SEQUENCE,
    NO_COUNTS,
    OPERATION_STATUSES,
    OUTCOMES,
    RUN_STATUSES,
    SNAPSHOT_STATUSES,
    AttentionState,
    Counts,
    Entity,
    EvidenceSnapshot,
    Facts,
    OperationRun,
    OperationStatus,
    Outcome,
    RestoreRun,
    RunStatus,
    SnapshotStatus,
    Source,
)
from contracts.ids import ID_PATTERN, is_identifier
from contracts.times import parse_time
from contracts.violations import NOTHING, InvalidInput, one_of, show

MAX_COUNT = 2**53 - 1
"""The largest integer that every JSON reader keeps exact (RFC 8259, section 6)."""

MAX_SEQUENCE_LENGTH = 128
"""Digits of a sequence, leading zeros included: more than any padding in use, and cheap to convert."""

AN_IDENTIFIER = "an identifier (1 to 128 of A-Z a-z 0-9 . _ -, but not . or ..) or an integer from 0"
A_TIME = "an RFC 3339 time with a zone, of the years 1 to 9999, like 2026-11-01T10:00:00Z"
A_COUNT = f"an integer from 0 to {MAX_COUNT}"
A_SEQUENCE = f"an integer from 0 to {MAX_SEQUENCE}"
AN_OBJECT = "an object"
AN_OBJECT_OR_NULL = "an object or null"

_INTEGERS_TOO_LONG_FOR_AN_ID = 10**128


def read_identifier(value: object) -> str | None:
    """The identifier that a JSON value is: a string that is one, or a non-negative integer in decimal; else None."""
    if type(value) is str:
        return value if is_identifier(value) else None
    if type(value) is int and 0 <= value < _INTEGERS_TOO_LONG_FOR_AN_ID:
        return str(value)
    return None


def read_sequence(value: object) -> int | None:
    """The sequence that decimal digits or a JSON integer give, from 0 to MAX_SEQUENCE; else None.

    Leading zeros are allowed: producers pad sequences so that they sort as text.
    """
    if type(value) is str and len(value) <= MAX_SEQUENCE_LENGTH and value.isascii() and value.isdigit():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAX_SEQUENCE else None


def _identifier(value: object) -> str:
    identifier = read_identifier(value)
    if identifier is None:
        raise PydanticCustomError("identifier", AN_IDENTIFIER)
    return identifier


def _time(value: object) -> int:
    if type(value) is str:
        try:
            return parse_time(value)
        except ValueError:
            pass
    raise PydanticCustomError("time", A_TIME)


_ID_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": f"^{ID_PATTERN}$", "not": {"enum": [".", ".."]}},
        {"type": "integer", "minimum": 0},
    ]
}
_Id: TypeAlias = Annotated[str, PlainValidator(_identifier), WithJsonSchema(_ID_SCHEMA)]
_Time: TypeAlias = Annotated[int, PlainValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]
_Int: TypeAlias = Annotated[int, Field(ge=0, le=MAX_COUNT)]

Id: TypeAlias = Annotated[_Id, Field(description=AN_IDENTIFIER)]
OptionalId: TypeAlias = Annotated[_Id | None, Field(description=f"{AN_IDENTIFIER}, or null")]
OptionalTime: TypeAlias = Annotated[_Time | None, Field(description=f"{A_TIME}, or null")]
OptionalCount: TypeAlias = Annotated[_Int | None, Field(description=f"{A_COUNT}, or null where it is not known")]
Flag: TypeAlias = Annotated[bool, Field(description="true or false")]
Number: TypeAlias = Annotated[_Int, Field(description=A_COUNT)]
OptionalOutcome: TypeAlias = Annotated[Outcome | None, Field(description=f"{one_of(OUTCOMES)}, or null")]
OptionalSequence: TypeAlias = Annotated[
    Annotated[int, Field(ge=0, le=MAX_SEQUENCE)] | None, Field(description=f"{A_SEQUENCE}, or null")
]


Strict = with_config(ConfigDict(strict=True))


@Strict
class CountsData(TypedDict, total=False):
    """Item counts; any subset. Absent or null is not known, and never 0."""

    total: OptionalCount
    succeeded: OptionalCount
    failed: OptionalCount
    skipped: OptionalCount
    partial: OptionalCount
    non_applied: OptionalCount


@Strict
class MetadataData(TypedDict, total=False):
    """What a restore run carries besides its columns."""

    counts: Annotated[CountsData | None, Field(description=AN_OBJECT_OR_NULL)]


@Strict
class AttentionData(TypedDict, total=False):
    """The source's own judgement of the result."""

    state: Annotated[AttentionState | None, Field(description=f"{one_of(ATTENTION_STATES)}, or null")]


@Strict
class RestoreRunData(TypedDict):
    """A restore run's whole state after a change."""

    id: Id
    tenant_id: Id
    status: Annotated[RunStatus, Field(description=one_of(RUN_STATUSES))]
    is_dry_run: Flag
    operation_run_id: NotRequired[OptionalId]
    metadata: NotRequired[Annotated[MetadataData | None, Field(description=AN_OBJECT_OR_NULL)]]
    result_attention: NotRequired[Annotated[AttentionData | None, Field(description=AN_OBJECT_OR_NULL)]]
    updated_at: NotRequired[OptionalTime]


@Strict
class OperationRunData(TypedDict):
    """An operation run's whole state after a change."""

    id: Id
    tenant_id: Id
    status: Annotated[OperationStatus, Field(description=one_of(OPERATION_STATUSES))]
    outcome: NotRequired[OptionalOutcome]
    started_at: NotRequired[OptionalTime]
    completed_at: NotRequired[OptionalTime]


@Strict
class EvidenceSnapshotData(TypedDict):
    """An evidence snapshot's whole state after a change."""

    id: Id
    tenant_id: Id
    operation_run_id: NotRequired[OptionalId]
    status: Annotated[SnapshotStatus, Field(description=one_of(SNAPSHOT_STATUSES))]
    generated_at: NotRequired[OptionalTime]
    expires_at: NotRequired[OptionalTime]


@Strict
class DeletedData(TypedDict):
    """What a `deleted` event says: which entity, and whose."""

    id: Id
    tenant_id: Id


@Strict
class DeletedRow(TypedDict):
    """What a deleted row must still say; its tenant is the record's key."""

    id: Id


@Strict
class SourceData(TypedDict):
    """Where in Kafka a fact came from; the timestamp in ms since the epoch."""

    topic: Annotated[str, Field(description="a topic's name", min_length=1, max_length=249)]
    partition: Number
    offset: Number
    timestamp: Number


OptionalSource: TypeAlias = Annotated[SourceData | None, Field(description=AN_OBJECT_OR_NULL)]


class RestoreRunInput(RestoreRunData):
    """A restore run as `decide` reads it."""

    sequence: NotRequired[OptionalSequence]
    source: NotRequired[OptionalSource]


@Strict
class OperationRunInput(TypedDict):
    """An operation run as `decide` reads it; a deleted one of which nothing else was ever seen has no status."""

    id: Id
    tenant_id: Id
    status: Annotated[
        OperationStatus | None, Field(description=f"{one_of(OPERATION_STATUSES)}, or null for a deleted one")
    ]
    outcome: NotRequired[OptionalOutcome]
    started_at: NotRequired[OptionalTime]
    completed_at: NotRequired[OptionalTime]
    deleted: NotRequired[Flag]
    sequence: NotRequired[OptionalSequence]
    source: NotRequired[OptionalSource]


class EvidenceSnapshotInput(EvidenceSnapshotData):
    """An evidence snapshot as `decide` reads it; `expired` says that its `expires_at` has passed."""

    expired: NotRequired[Flag]
    sequence: NotRequired[OptionalSequence]
    source: NotRequired[OptionalSource]


@Strict
class InputsData(TypedDict):
    """All that one decision depends on: `diagnostics.inputs` of a state document, or a file for `decide`.

    The arrays' items are validated one by one, each with its own path.
    """

    restore_run: Annotated[RestoreRunInput, Field(description=AN_OBJECT)]
    operation_run: NotRequired[Annotated[OperationRunInput | None, Field(description=AN_OBJECT_OR_NULL)]]
    evidence_snapshots: NotRequired[Annotated[list[Any], Field(description="an array")]]
    unreadable: NotRequired[Annotated[list[Any], Field(description="an array")]]


Shape = TypeVar("Shape")


class Reader(Generic[Shape]):
    """Validates values as one of the shapes above; built once for each."""

    def __init__(self, shape: type[Shape]) -> None:
        self._adapter = TypeAdapter(shape)
        self._validate: Callable[[object], Shape] = self._adapter.validator.validate_python

    def read(self, value: object, path: str) -> Shape:
        """The value's known fields; raises InvalidInput for the first violation, in the order of the fields.

        `path` is where the value stands, like `$.data`.
        """
        try:
            return self._validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
        names = tuple(str(name) for name in first["loc"])
        got = NOTHING if first["type"] == "missing" else first["input"]
        raise InvalidInput(".".join((path, *names)), self._expected[names], show(got))

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The shape's JSON Schema, draft 2020-12."""
        return self._adapter.json_schema()

    @cached_property
    def _expected(self) -> dict[tuple[str, ...], str]:
        """What is expected at each place, in words: the descriptions in the schema."""
        return {(): AN_OBJECT} | dict(_descriptions(self.schema, self.schema.get("$defs", {}), ()))


def _descriptions(
    schema: dict[str, Any], named: dict[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, field in schema.get("properties", {}).items():
        yield (*above, name), field["description"]
        for option in [field, *field.get("anyOf", [])]:
            if "$ref" in option:
                yield from _descriptions(named[option["$ref"].removeprefix("#/$defs/")], named, (*above, name))


RESTORE_RUN = Reader(RestoreRunData)
OPERATION_RUN = Reader(OperationRunData)
EVIDENCE_SNAPSHOT = Reader(EvidenceSnapshotData)
DELETED = Reader(DeletedData)
DELETED_ROW = Reader(DeletedRow)
_INPUTS = Reader(InputsData)
_SNAPSHOT_INPUT = Reader(EvidenceSnapshotInput)


def read_run(data: object, path: str, sequence: int | None, source: Source | None) -> RestoreRun:
    """A restore run from a `changed` event's data, with the sequence and source given; raises InvalidInput."""
    return _run(RESTORE_RUN.read(data, path), sequence, source)


def read_operation(data: object, path: str, sequence: int | None, source: Source | None) -> OperationRun:
    """An operation run, as `read_run`."""
    read = OPERATION_RUN.read(data, path)
    return OperationRun(
        read["id"],
        read["tenant_id"],
        read["status"],
        read.get("outcome"),
        read.get("started_at"),
        read.get("completed_at"),
        deleted=False,
        sequence=sequence,
        source=source,
    )


def read_snapshot(data: object, path: str, sequence: int | None, source: Source | None) -> EvidenceSnapshot:
    """An evidence snapshot, as `read_run`."""
    return _snapshot(EVIDENCE_SNAPSHOT.read(data, path), sequence, source, expired=False)


READ: dict[Entity, Callable[[object, str, int | None, Source | None], RestoreRun | OperationRun | EvidenceSnapshot]] = {
    "restore_run": read_run,
    "operation_run": read_operation,
    "evidence_snapshot": read_snapshot,
}
"""How a `changed` event's data becomes facts, for each entity."""


def _run(read: RestoreRunData, sequence: int | None, source: Source | None) -> RestoreRun:
    counts = (read.get("metadata") or {}).get("counts")
    return RestoreRun(
        read["id"],
        read["tenant_id"],
        read["status"],
        read["is_dry_run"],
        read.get("operation_run_id"),
        Counts(**counts) if counts else NO_COUNTS,
        (read.get("result_attention") or {}).get("state"),
        read.get("updated_at"),
        sequence,
        source,
    )


def _snapshot(
    read: EvidenceSnapshotData, sequence: int | None, source: Source | None, *, expired: bool
) -> EvidenceSnapshot:
    return EvidenceSnapshot(
        read["id"],
        read["tenant_id"],
        read["status"],
        read.get("operation_run_id"),
        read.get("generated_at"),
        read.get("expires_at"),
        expired=expired,
        sequence=sequence,
        source=source,
    )


def read_inputs(value: object) -> Facts:
    """The facts in a parsed JSON value: of the shape of `diagnostics.inputs`, or of a whole state document.

    Joins as the worker joins (interfaces, section 4): the operation only if it is the one that the run names, a
    snapshot only if it names that operation too, and both only of the run's tenant. What does not join is left out,
    as it would never have been put together. Raises InvalidInput for anything of another shape, also in what does not
    join, and for a snapshot that is there twice.
    """
    path = "$"
    if isinstance(value, dict) and ("diagnostics" in value or "schema" in value):
        value, path = _inputs_of_document(value), "$.diagnostics.inputs"
    inputs = _INPUTS.read(value, path)
    read = inputs["restore_run"]
    run = _run(read, read.get("sequence"), _source(read.get("source")))
    names = enumerate(inputs.get("unreadable", []))
    return Facts(
        run=run,
        operation=_operation(run, inputs.get("operation_run"), f"{path}.operation_run"),
        evidence=tuple(_evidence(run, inputs.get("evidence_snapshots", []), f"{path}.evidence_snapshots")),
        unreadable=tuple(sorted({_unreadable(name, f"{path}.unreadable[{i}]") for i, name in names})),
    )


def _inputs_of_document(document: dict[str, Any]) -> object:
    schema = document.get("schema", NOTHING)
    if schema != SCHEMA:
        raise InvalidInput("$.schema", f'"{SCHEMA}"', show(schema))
    diagnostics = document.get("diagnostics", NOTHING)
    if not isinstance(diagnostics, dict):
        raise InvalidInput("$.diagnostics", AN_OBJECT, show(diagnostics))
    return diagnostics.get("inputs", NOTHING)


def _source(read: SourceData | None) -> Source | None:
    return None if read is None else Source(**read)


def _operation(run: RestoreRun, read: OperationRunInput | None, path: str) -> OperationRun | None:
    if read is None:
        return None
    deleted = read.get("deleted", False)
    if read["status"] is None and not deleted:
        raise InvalidInput(f"{path}.status", one_of(OPERATION_STATUSES), "null")
    if read["tenant_id"] != run.tenant_id or read["id"] != run.operation_run_id:
        return None
    return OperationRun(
        read["id"],
        read["tenant_id"],
        read["status"],
        read.get("outcome"),
        read.get("started_at"),
        read.get("completed_at"),
        deleted,
        read.get("sequence"),
        _source(read.get("source")),
    )


def _evidence(run: RestoreRun, items: list[Any], path: str) -> Iterator[EvidenceSnapshot]:
    seen = set()
    for i, item in enumerate(items):
        read = _SNAPSHOT_INPUT.read(item, f"{path}[{i}]")
        if (read["tenant_id"], read["id"]) in seen:
            raise InvalidInput(f"{path}[{i}].id", "each snapshot once", f"{show(read['id'])} again")
        seen.add((read["tenant_id"], read["id"]))
        named = read.get("operation_run_id")
        if read["tenant_id"] == run.tenant_id and named is not None and named == run.operation_run_id:
            source = _source(read.get("source"))
            yield _snapshot(read, read.get("sequence"), source, expired=read.get("expired", False))


def _unreadable(name: object, path: str) -> str:
    entity, _, entity_id = name.partition("/") if isinstance(name, str) else ("", "", "")
    if entity not in ENTITIES or not is_identifier(entity_id):
        raise InvalidInput(path, f"<entity>/<id>, where <entity> is {one_of(ENTITIES)}", show(name))
    return f"{entity}/{entity_id}"
