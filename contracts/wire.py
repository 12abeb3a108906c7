"""The three entities as others write them: validated strictly, turned into facts.

A field that the contract does not know is ignored; one that it knows must have exactly its type: no "1" or true for 1,
no 1.0 for an integer, no null for a required field. Each model field has a description in words, which is what a
violation says was expected, and what the exported JSON Schema says.

Source of the fields: interfaces, section 3; of the shape that `decide` reads: section 6, `diagnostics.inputs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

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
Place: TypeAlias = Annotated[_Int, Field(description=A_COUNT)]
OptionalSequence: TypeAlias = Annotated[
    Annotated[int, Field(ge=0, le=MAX_SEQUENCE)] | None, Field(description=f"{A_SEQUENCE}, or null")
]


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class CountsData(_Wire):
    """Item counts; any subset. Absent or null is not known, and never 0."""

    total: OptionalCount = None
    succeeded: OptionalCount = None
    failed: OptionalCount = None
    skipped: OptionalCount = None
    partial: OptionalCount = None
    non_applied: OptionalCount = None


class MetadataData(_Wire):
    """What a restore run carries besides its columns."""

    counts: Annotated[CountsData | None, Field(description="an object or null")] = None


class AttentionData(_Wire):
    """The source's own judgement of the result."""

    state: Annotated[AttentionState | None, Field(description=f"{one_of(ATTENTION_STATES)}, or null")] = None


class RestoreRunData(_Wire):
    """A restore run's whole state after a change."""

    id: Id
    tenant_id: Id
    status: Annotated[RunStatus, Field(description=one_of(RUN_STATUSES))]
    is_dry_run: Flag
    operation_run_id: OptionalId = None
    metadata: Annotated[MetadataData | None, Field(description="an object or null")] = None
    result_attention: Annotated[AttentionData | None, Field(description="an object or null")] = None
    updated_at: OptionalTime = None

    def facts(self, sequence: int | None, source: Source | None) -> RestoreRun:
        metadata, attention = self.metadata, self.result_attention
        counts = None if metadata is None else metadata.counts
        return RestoreRun(
            self.id,
            self.tenant_id,
            self.status,
            self.is_dry_run,
            self.operation_run_id,
            NO_COUNTS if counts is None else _counts(counts),
            None if attention is None else attention.state,
            self.updated_at,
            sequence,
            source,
        )


def _counts(data: CountsData) -> Counts:
    return Counts(data.total, data.succeeded, data.failed, data.skipped, data.partial, data.non_applied)


class OperationRunData(_Wire):
    """An operation run's whole state after a change."""

    id: Id
    tenant_id: Id
    status: Annotated[OperationStatus, Field(description=one_of(OPERATION_STATUSES))]
    outcome: Annotated[Outcome | None, Field(description=f"{one_of(OUTCOMES)}, or null")] = None
    started_at: OptionalTime = None
    completed_at: OptionalTime = None

    def facts(self, sequence: int | None, source: Source | None) -> OperationRun:
        return OperationRun(
            self.id,
            self.tenant_id,
            self.status,
            self.outcome,
            self.started_at,
            self.completed_at,
            deleted=False,
            sequence=sequence,
            source=source,
        )


class EvidenceSnapshotData(_Wire):
    """An evidence snapshot's whole state after a change."""

    id: Id
    tenant_id: Id
    operation_run_id: OptionalId = None
    status: Annotated[SnapshotStatus, Field(description=one_of(SNAPSHOT_STATUSES))]
    generated_at: OptionalTime = None
    expires_at: OptionalTime = None

    def facts(self, sequence: int | None, source: Source | None) -> EvidenceSnapshot:
        return EvidenceSnapshot(
            self.id,
            self.tenant_id,
            self.status,
            self.operation_run_id,
            self.generated_at,
            self.expires_at,
            expired=False,
            sequence=sequence,
            source=source,
        )


class DeletedData(_Wire):
    """What a `deleted` event says: which entity, and whose."""

    id: Id
    tenant_id: Id


class DeletedRow(_Wire):
    """What a deleted row must still say; its tenant is the record's key."""

    id: Id


CHANGED: dict[Entity, type[RestoreRunData | OperationRunData | EvidenceSnapshotData]] = {
    "restore_run": RestoreRunData,
    "operation_run": OperationRunData,
    "evidence_snapshot": EvidenceSnapshotData,
}
"""The model of each entity's `changed` event's data."""


class SourceData(_Wire):
    """Where in Kafka a fact came from; the timestamp in ms since the epoch."""

    topic: Annotated[str, Field(description="a topic's name", min_length=1, max_length=249)]
    partition: Place
    offset: Place
    timestamp: Place


OptionalSource: TypeAlias = Annotated[SourceData | None, Field(description="an object or null")]


class RestoreRunInput(RestoreRunData):
    """A restore run as `decide` reads it."""

    sequence: OptionalSequence = None
    source: OptionalSource = None


class OperationRunInput(OperationRunData):
    """An operation run as `decide` reads it; a deleted one of which nothing else was ever seen has no status."""

    status: Annotated[  # type: ignore[assignment]  # wider than an event's
        OperationStatus | None, Field(description=f"{one_of(OPERATION_STATUSES)}, or null for a deleted one")
    ]
    deleted: Flag = False
    sequence: OptionalSequence = None
    source: OptionalSource = None


class EvidenceSnapshotInput(EvidenceSnapshotData):
    """An evidence snapshot as `decide` reads it; `expired` says that its `expires_at` has passed."""

    expired: Flag = False
    sequence: OptionalSequence = None
    source: OptionalSource = None


class InputsData(_Wire):
    """All that one decision depends on: `diagnostics.inputs` of a state document, or a file for `decide`.

    The arrays' items are validated one by one, each with its own path.
    """

    restore_run: Annotated[RestoreRunInput, Field(description=AN_OBJECT)]
    operation_run: Annotated[OperationRunInput | None, Field(description="an object or null")] = None
    evidence_snapshots: Annotated[list[Any], Field(description="an array")] = []
    unreadable: Annotated[list[Any], Field(description="an array")] = []


Model = TypeVar("Model", bound=_Wire)


def validate(model: type[Model], value: object, path: str) -> Model:
    """The value as that model; raises InvalidInput for the first violation, in the order of the model's fields.

    `path` is where the value stands, like `$.data`.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _first_violation(model, error, path) from None


def _first_violation(model: type[_Wire], error: ValidationError, path: str) -> InvalidInput:
    first = error.errors(include_url=False, include_context=False)[0]
    names = tuple(str(name) for name in first["loc"])
    got = "nothing" if first["type"] == "missing" else show(first["input"])
    return InvalidInput(".".join((path, *names)), _expectations(model)[names], got)


@cache
def _expectations(model: type[_Wire]) -> dict[tuple[str, ...], str]:
    """What is expected at each place below a model, in words: the fields' descriptions."""
    found: dict[tuple[str, ...], str] = {(): AN_OBJECT}
    for name, field in model.model_fields.items():
        found[name,] = field.description or "another value"
        for inner in _models_in(field.annotation):
            found |= {(name, *below): words for below, words in _expectations(inner).items() if below}
    return found


def _models_in(annotation: Any) -> Iterator[type[_Wire]]:
    if isinstance(annotation, type) and issubclass(annotation, _Wire):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def read_changed(
    entity: Entity, data: object, path: str, sequence: int | None, source: Source | None
) -> RestoreRun | OperationRun | EvidenceSnapshot:
    """The facts of a `changed` event's data, with the sequence and source given; raises InvalidInput."""
    return validate(CHANGED[entity], data, path).facts(sequence, source)


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
    inputs = validate(InputsData, value, path)
    run = inputs.restore_run.facts(inputs.restore_run.sequence, _source(inputs.restore_run.source))
    return Facts(
        run=run,
        operation=_operation(run, inputs.operation_run, path),
        evidence=tuple(_evidence(run, inputs.evidence_snapshots, path)),
        unreadable=tuple(sorted({_unreadable(name, i, path) for i, name in enumerate(inputs.unreadable)})),
    )


def _inputs_of_document(document: dict[str, Any]) -> object:
    schema = document.get("schema", NOTHING)
    if schema != SCHEMA:
        raise InvalidInput("$.schema", f'"{SCHEMA}"', show(schema))
    diagnostics = document.get("diagnostics", NOTHING)
    if not isinstance(diagnostics, dict):
        raise InvalidInput("$.diagnostics", AN_OBJECT, show(diagnostics))
    return diagnostics.get("inputs", NOTHING)


def _source(data: SourceData | None) -> Source | None:
    return None if data is None else Source(data.topic, data.partition, data.offset, data.timestamp)


def _operation(run: RestoreRun, data: OperationRunInput | None, path: str) -> OperationRun | None:
    if data is None:
        return None
    if data.status is None and not data.deleted:
        raise InvalidInput(f"{path}.operation_run.status", one_of(OPERATION_STATUSES), "null")
    operation = replace(data.facts(data.sequence, _source(data.source)), deleted=data.deleted)
    joins = operation.tenant_id == run.tenant_id and operation.id == run.operation_run_id
    return operation if joins else None


def _evidence(run: RestoreRun, items: list[Any], path: str) -> Iterator[EvidenceSnapshot]:
    seen = set()
    for i, item in enumerate(items):
        data = validate(EvidenceSnapshotInput, item, f"{path}.evidence_snapshots[{i}]")
        if (data.tenant_id, data.id) in seen:
            raise InvalidInput(f"{path}.evidence_snapshots[{i}].id", "each snapshot once", f"{show(data.id)} again")
        seen.add((data.tenant_id, data.id))
        snapshot = replace(data.facts(data.sequence, _source(data.source)), expired=data.expired)
        named = snapshot.operation_run_id
        if snapshot.tenant_id == run.tenant_id and named is not None and named == run.operation_run_id:
            yield snapshot


def _unreadable(name: object, i: int, path: str) -> str:
    entity, _, entity_id = name.partition("/") if isinstance(name, str) else ("", "", "")
    if entity not in ENTITIES or not is_identifier(entity_id):
        raise InvalidInput(
            f"{path}.unreadable[{i}]", f"<entity>/<id>, where <entity> is {one_of(ENTITIES)}", show(name)
        )
    return f"{entity}/{entity_id}"
