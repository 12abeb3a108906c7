"""Debezium change events as its PostgreSQL connector 2.7 writes them, of the table `restore_runs` and its kin."""

from __future__ import annotations

import json
from typing import Any

from contracts.events import Record
from contracts.facts import Entity
from contracts.forms import TABLES
from tests.contracts.records import record, state

LSN = 24_023_128


def row(entity: Entity = "restore_run", /, **changes: Any) -> dict[str, Any]:
    """A row; jsonb columns are strings, columns that the contract does not know are there too."""
    columns = state(entity)
    for name in ("metadata", "result_attention"):
        if name in columns:
            columns[name] = json.dumps(columns[name])
    columns |= {"created_at": "2026-11-01T09:50:00.123456Z", "note": "free text", "attempt": 1}
    return {name: value for name, value in {**columns, **changes}.items() if value is not ...}


def envelope(entity: Entity = "restore_run", /, **changes: Any) -> dict[str, Any]:
    """An update; `before` is null, as with REPLICA IDENTITY DEFAULT and an unchanged key."""
    fields: dict[str, Any] = {
        "before": None,
        "after": row(entity),
        "source": source(entity),
        "transaction": None,
        "op": "u",
        "ts_ms": 1_793_527_200_123,
        "ts_us": 1_793_527_200_123_456,
    }
    return {name: value for name, value in {**fields, **changes}.items() if value is not ...}


def source(entity: Entity = "restore_run", /, **changes: Any) -> dict[str, Any]:
    block: dict[str, Any] = {
        "version": "2.7.0.Final",
        "connector": "postgresql",
        "name": "platform",
        "ts_ms": 1_793_527_200_000,
        "snapshot": "false",
        "db": "platform",
        "sequence": '["24023119","24023128"]',
        "schema": "public",
        "table": TABLES[entity],
        "txId": 555,
        "lsn": LSN,
        "xmin": None,
    }
    return {name: value for name, value in {**block, **changes}.items() if value is not ...}


def change(entity: Entity = "restore_run", /, **changes: Any) -> Record:
    """Written with `value.converter.schemas.enable=false`."""
    return record(envelope(entity, **changes), {}, entity)


def with_schema(entity: Entity = "restore_run", /, **changes: Any) -> Record:
    """Written with `value.converter.schemas.enable=true`."""
    columns = [{"type": "string", "optional": True, "field": name} for name in row(entity)]
    schema = {
        "type": "struct",
        "fields": [
            {"type": "struct", "fields": columns, "optional": True, "name": f"platform.Value.{side}", "field": side}
            for side in ("before", "after")
        ],
        "optional": False,
        "name": "platform.public.restore_runs.Envelope",
        "version": 2,
    }
    return record({"schema": schema, "payload": envelope(entity, **changes)}, {}, entity)
