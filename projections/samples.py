"""Whole records, one or more of every kind, as they lie in the topics: the examples beside the exported schemas.

Inputs are written out here. Outputs are what the rules make of the examples in `projections.examples`, with the words
and the headers that are really published. Headers are shown as an object from name to text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from contracts.commands import Operation
from contracts.decision import STATES, Origin, State
from contracts.documents import change_headers
from contracts.events import Record
from contracts.export import dump, examples_file
from contracts.facts import Entity
from contracts.ids import run_key
from contracts.letters import letter_headers
from contracts.times import parse_time
from contracts.topics import DEFAULT_PREFIX, TOPICS, Role, Topics
from projections.examples import EXAMPLES, document
from projections.output import state_change

TENANT: Final = "t-1"
RUN: Final = "rr-1"
TRACEPARENT: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
"""The example of W3C Trace Context."""

Sample = dict[str, Any]
"""`kind` (of `contracts.export.KINDS`), `about`, `key`, `headers`, `value`."""

_DATA: Final[dict[Entity, dict[str, Any]]] = {
    "restore_run": {
        "id": RUN,
        "tenant_id": TENANT,
        "status": "completed",
        "is_dry_run": False,
        "operation_run_id": "op-1",
        "metadata": {
            "counts": {"total": 12, "succeeded": 12, "failed": 0, "skipped": 0, "partial": 0, "non_applied": 0}
        },
        "result_attention": {"state": "completed"},
        "updated_at": "2026-11-01T10:00:00Z",
    },
    "operation_run": {
        "id": "op-1",
        "tenant_id": TENANT,
        "status": "completed",
        "outcome": "succeeded",
        "started_at": "2026-11-01T09:58:00Z",
        "completed_at": "2026-11-01T10:00:00Z",
    },
    "evidence_snapshot": {
        "id": "es-1",
        "tenant_id": TENANT,
        "operation_run_id": "op-1",
        "status": "active",
        "generated_at": "2026-11-01T10:01:00Z",
        "expires_at": None,
    },
}
_SHORTEST: Final[dict[Entity, tuple[str, ...]]] = {
    "restore_run": ("id", "tenant_id", "status", "is_dry_run"),
    "operation_run": ("id", "tenant_id", "status"),
    "evidence_snapshot": ("id", "tenant_id", "status"),
}


def files() -> dict[str, str]:
    """The samples, by their path under `contracts/schemas`."""
    named = {row.role: examples_file(row) for row in TOPICS}
    return {
        file: dump({"about": "Made by `restore-projector contracts export`.", "records": samples})
        for role, samples in samples_of_topics().items()
        if (file := named[role]) is not None
    }


def samples_of_topics() -> dict[Role, list[Sample]]:
    """Whole records for each topic that others write or read."""
    return {
        **{row.role: list(_events(row.entity)) for row in TOPICS if row.entity is not None},
        "ops": list(_commands()),
        "decision_state": list(_states()),
        "decision_changes": list(_changes()),
        "dead_letters": list(_letters()),
    }


def _sample(kind: str, about: str, key: str, headers: Iterable[tuple[str, bytes]], value: object) -> Sample:
    text = {name: content.decode() for name, content in headers}
    return {"kind": kind, "about": about, "key": key, "headers": text, "value": value}


def _event_headers(entity: Entity, verb: str, sequence: int) -> list[tuple[str, bytes]]:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{entity}-{_DATA[entity]['id']}-{sequence}".encode()),
        ("ce_source", b"urn:platform"),
        ("ce_type", f"restore.{entity}.{verb}".encode()),
        ("ce_sequence", b"%d" % sequence),
        ("content-type", b"application/json"),
    ]


def _events(entity: Entity) -> Iterator[Sample]:
    data = _DATA[entity]
    shortest = {name: data[name] for name in _SHORTEST[entity]}
    traced = [*_event_headers(entity, "changed", 7), ("traceparent", TRACEPARENT.encode())]
    yield _sample("changed", "Every field.", TENANT, traced, data)
    yield _sample("changed", "No field but the required.", TENANT, _event_headers(entity, "changed", 1), shortest)
    named = {"id": data["id"], "tenant_id": TENANT}
    yield _sample("deleted", "A deletion names the entity.", TENANT, _event_headers(entity, "deleted", 8), named)


def _commands() -> Iterator[Sample]:
    yield _sample("recompute", "One run.", TENANT, _command("recompute"), {"restore_run_id": RUN})
    place = [("rp_topic", b"restore.restore-runs.v1"), ("rp_partition", b"0"), ("rp_offset", b"125")]
    headers = [*_command("replay"), *place, ("rp_timestamp", b"1793527201140")]
    event = _event_headers("restore_run", "changed", 7)
    yield _sample("replay", "A restore run's event.", TENANT, [*event, *headers], _DATA["restore_run"])
    redriven = [*event, *headers, ("letter", b"17")]
    yield _sample("replay", "An event that had been set aside.", TENANT, redriven, _DATA["restore_run"])
    for kind, id, what in (("operation", "op-1", "sequence"), ("run", RUN, "everything")):
        order = {"kind": kind, "id": id, "what": what}
        yield _sample("forget", f"Of one record, {what}.", TENANT, _command("forget"), order)
    yield _sample("dismiss", "A letter that needs no work.", TENANT, [*_command("dismiss"), ("letter", b"17")], None)


def _command(operation: Operation) -> list[tuple[str, bytes]]:
    trail = [("actor", b"mona@ops-1"), ("reason", b"wording was corrected"), ("request", b"5f1c0a9b3d27e684")]
    return [("op", operation.encode()), *trail]


def _states() -> Iterator[Sample]:
    key = run_key(TENANT, RUN)
    trace = [("traceparent", TRACEPARENT.encode())]
    for state in STATES:
        example = EXAMPLES[state]
        yield _sample("document", example.story, key, trace, document(example))
    yield _sample("removed", "The run was deleted: a null value.", key, [("revision", b"10"), *trace], None)


_Cause = tuple[Entity, str, int | None]
_CHANGES: Final[tuple[tuple[str, State | None, State | None, int, Origin, _Cause, str], ...]] = (
    ("A run is seen first.", None, "not_executed", 1, "live", ("restore_run", RUN, 5), "2026-11-01T09:50:00.020Z"),
    (
        "Its operation failed.",
        "in_progress", "failed", 3, "live", ("operation_run", "op-1", 2), "2026-11-01T10:00:00.450Z",
    ),
    (
        "Evidence came.", "completed_proof_incomplete", "completed_with_evidence", 9, "live",
        ("evidence_snapshot", "es-1", 3), "2026-11-01T10:01:00.220Z",
    ),
    (
        "The evidence expired.", "completed_with_evidence", "completed_proof_incomplete", 10, "deadline",
        ("evidence_snapshot", "es-1", 3), "2027-11-01T00:00:00.000Z",
    ),
    (
        "The run was deleted.",
        "completed_proof_incomplete", None, 11, "live", ("restore_run", RUN, 8), "2027-11-02T08:00:00.000Z",
    ),
)  # fmt: skip
"""What happened, the states before and after, revision, origin, cause, time."""


def _changes() -> Iterator[Sample]:
    for about, before, after, revision, origin, cause, at in _CHANGES:
        change = state_change(
            TENANT, RUN, before, after, revision=revision, origin=origin, cause=cause, changed_at=parse_time(at)
        )
        headers = change_headers(change, DEFAULT_PREFIX, TRACEPARENT)
        yield _sample("change", about, run_key(TENANT, RUN), headers, change)


def _letters() -> Iterator[Sample]:
    value = {**_DATA["restore_run"], "status": "done"}
    headers = tuple(_event_headers("restore_run", "changed", 7))
    record = Record(
        Topics().restore_runs, 0, 126, parse_time("2026-11-01T10:00:02Z"), TENANT.encode(), json.dumps(value).encode(),
        headers,
    )  # fmt: skip
    detail = (
        "$.status: expected one of draft, scoped, checked, previewed, queued, running, completed, partial,"
        ' completed_with_errors, failed, cancelled, got "done"'
    )
    about = "A restore run's event whose status is unknown."
    yield _sample("letter", about, TENANT, letter_headers(record, "schema_violation", detail), value)
