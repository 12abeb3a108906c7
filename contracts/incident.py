"""One file with all that is known of a restore run: `incident` writes it, `decide` reads it, on any machine.

Records are as they lay in Kafka, so that whoever has the file can decode them, decide and tell the story again. Bytes
that are UTF-8 are written as text, any others as {"base64": "…"}. Of the installation itself there are versions,
topics, settings (secrets masked), and how the run's partition was.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Literal, TypeAlias, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from contracts.documents import Id, Time
from contracts.events import Record
from contracts.ids import Partitioner
from contracts.times import LATEST, format_time
from contracts.violations import InvalidInput, show

SCHEMA: Final = "restore.incident/1"
ANY: Final = "surrogateescape"
"""How header names that are not UTF-8 are held as text (`worker.header_names`)."""


class Encoded(BaseModel):
    """Bytes that are no text."""

    model_config = ConfigDict(strict=True, extra="forbid")
    base64: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


Bytes: TypeAlias = str | Encoded | None


class IncidentRecord(BaseModel):
    """A record as it lies in Kafka. `timestamp`: ms since the epoch; `time` is the same for people."""

    model_config = ConfigDict(strict=True, extra="ignore")
    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]
    timestamp: int
    key: Bytes
    headers: list[Annotated[list[Bytes], Field(min_length=2, max_length=2)]]
    value: Bytes


class About(BaseModel):
    """Which run, where it lives, when and by what the file was made. `deletion_memory_ms`: of the settings."""

    model_config = ConfigDict(strict=True, extra="ignore")
    tenant_id: Id
    restore_run_id: Id
    made_at: Time
    version: str
    policy: int
    prefix: str
    partition: Annotated[int, Field(ge=0)]
    partitions: Annotated[int, Field(ge=1)]
    partitioner: Partitioner
    deletion_memory_ms: Annotated[int, Field(ge=1)]
    max_value_bytes: Annotated[int, Field(ge=1)]


RecordsOf = Literal["inputs", "orders", "dead_letters", "documents", "internal", "changes"]
RECORDS_OF: Final[tuple[RecordsOf, ...]] = get_args(RecordsOf)
"""What a file has records of, in the order in which it has them: what came in, what was asked for, what came out."""


class Incident(BaseModel):
    """The file. `document`: the state document in the store, None if there was none."""

    model_config = ConfigDict(strict=True, extra="ignore")
    schema_: Annotated[Literal["restore.incident/1"], Field(alias="schema")]
    about: About
    document: dict[str, Any] | None
    inputs: list[IncidentRecord]
    orders: list[IncidentRecord]
    dead_letters: list[IncidentRecord]
    documents: list[IncidentRecord]
    internal: list[IncidentRecord]
    changes: list[IncidentRecord]


def is_incident(value: object) -> bool:
    """Whether a JSON value says that it is such a file."""
    return isinstance(value, dict) and str(value.get("schema", "")).startswith("restore.incident/")


def read_incident(value: object) -> Incident:
    """The file from its JSON value; raises InvalidInput."""
    try:
        return Incident.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = "$" + "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in first["loc"])
        raise InvalidInput(place, first["msg"].removeprefix("Value error, "), show(first["input"])) from error


def record_to_json(record: Record) -> dict[str, Any]:
    """A record as the file has it."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "time": format_time(min(max(record.timestamp, 0), LATEST)),
        "key": bytes_to_json(record.key),
        "headers": [[bytes_to_json(_name(name)), bytes_to_json(value)] for name, value in record.headers],
        "value": bytes_to_json(record.value),
    }


def record_from_json(found: IncidentRecord) -> Record:
    """A record as it lay in Kafka; raises InvalidInput for what is no base64."""
    headers = tuple(
        ((_bytes(name) or b"").decode(errors=ANY), cast(bytes, _bytes(value))) for name, value in found.headers
    )
    key, value = _bytes(found.key), _bytes(found.value)
    return Record(found.topic, found.partition, found.offset, found.timestamp, key, value, headers)


def _name(name: str) -> bytes:
    return name.encode(errors=ANY)


def bytes_to_json(data: bytes | None) -> Any:
    """Text where it is UTF-8, else {"base64": …}."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _bytes(found: Bytes) -> bytes | None:
    if found is None:
        return None
    if isinstance(found, str):
        return found.encode()
    try:
        return base64.b64decode(found.base64, validate=True)
    except ValueError as error:
        raise InvalidInput("base64", "base64", show(found.base64)) from error
