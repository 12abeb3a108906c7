"""Events with one fault of each kind, in any combination, in each form.

A fault belongs to a reason of interfaces, section 7. `FAULTS` is in the order of precedence: of several the first gives
the reason. `not_an_event` is there twice, for headers and for the value's shape.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from contracts.events import Record
from contracts.letters import Reason
from tests.contracts import debezium
from tests.contracts.records import HOME, ce_event, ce_headers, record, state

Form = Literal["binary", "structured", "debezium"]
Fault = Literal[
    "too large", "wrong headers", "not JSON", "wrong shape", "unknown type", "no sequence", "wrong field",
    "foreign key", "foreign partition",
]  # fmt: skip

FAULTS: dict[Fault, Reason] = {
    "too large": "too_large",
    "wrong headers": "not_an_event",
    "not JSON": "not_json",
    "wrong shape": "not_an_event",
    "unknown type": "unknown_type",
    "no sequence": "missing_sequence",
    "wrong field": "schema_violation",
    "foreign key": "key_mismatch",
    "foreign partition": "partition_mismatch",
}
MAX_BYTES = 4000
"""The limit that a value which is too large exceeds."""


@dataclass
class Draft:
    """A record in the making."""

    headers: dict[str, Any]
    value: Any
    data: dict[str, Any]
    """The part of the value that is the entity's state."""
    wrap: Callable[[Any], Any] = lambda value: value
    tail: bytes = b""
    key: bytes = b"t-1"
    partition: int = HOME

    def record(self) -> Record:
        raw = json.dumps(self.wrap(self.value)).encode() + self.tail
        return record(raw, self.headers)._replace(key=self.key, partition=self.partition)


def draft(form: Form) -> Draft:
    if form == "binary":
        data = state()
        return Draft(ce_headers(), data, data)
    if form == "structured":
        event = ce_event()
        return Draft({"content-type": "application/cloudevents+json"}, event, event["data"])
    envelope = debezium.envelope()
    return Draft({}, envelope, envelope["after"])


def spoil(d: Draft, form: Form, fault: Fault) -> None:
    """Puts the fault into the draft. Faults do not touch each other, so their order does not matter."""
    (_IN_FORM.get((fault, form)) or _IN_ANY_FORM[fault])(d)


def _put(part: str, name: str, value: Any) -> Callable[[Draft], None]:
    """Sets a header, or a member of the value or of its data."""

    def change(d: Draft) -> None:
        getattr(d, part)[name] = value

    return change


def _no_lsn(d: Draft) -> None:
    d.value["source"]["lsn"] = None


def _not_json(d: Draft) -> None:
    d.tail = b","


def _in_an_array(d: Draft) -> None:
    d.wrap = lambda value: [value]


def _foreign_key(d: Draft) -> None:
    d.key = b"t-2"


def _foreign_partition(d: Draft) -> None:
    d.partition = HOME + 1


_IN_ANY_FORM: dict[Fault, Callable[[Draft], None]] = {
    "too large": _put("data", "padding", "x" * MAX_BYTES),
    "wrong headers": _put("headers", "content-type", "application/cloudevents+avro"),
    "not JSON": _not_json,
    "wrong shape": _in_an_array,
    "wrong field": _put("data", "status", "done"),
    "foreign key": _foreign_key,
    "foreign partition": _foreign_partition,
}
_IN_FORM: dict[tuple[Fault, Form], Callable[[Draft], None]] = {
    ("wrong headers", "binary"): _put("headers", "ce_specversion", "0.3"),
    ("unknown type", "binary"): _put("headers", "ce_type", "restore.operation_run.changed"),
    ("unknown type", "structured"): _put("value", "type", "restore.restore_run.created"),
    ("unknown type", "debezium"): _put("value", "op", "t"),
    ("no sequence", "binary"): _put("headers", "ce_sequence", ...),
    ("no sequence", "structured"): _put("value", "sequence", None),
    ("no sequence", "debezium"): _no_lsn,
}
