"""The platform's database: its three tables in the ways in which a platform may have them, and what happens in them.

The same short story is told in every variant: what is there before the connector comes (and so is in its snapshot),
what is created, updated and deleted afterwards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from contracts.facts import OPERATION_STATUSES, OUTCOMES, RUN_STATUSES, SNAPSHOT_STATUSES
from tests.debezium.postgres import Postgres

DEPLOY: Final = Path(__file__).parents[2] / "deploy" / "debezium"
"""What users are given: the connector, and the SQL that its tables need."""
CONNECTOR_PASSWORD: Final = "for-the-connector"
APPLICATION: Final = "application"
"""Who writes the rows: nobody with rights of their own on anything but the three tables."""


@dataclass(frozen=True, slots=True)
class Names:
    """Identifiers of one life: of a run, its operation, a snapshot."""

    run: str
    operation: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class Variant:
    """How tables and connector are set up.

    `schemas`: each value beside its schema (JsonConverter). `router`: what gives the topics their names. `key`: the
    columns of the key that the tenant is taken from. `first` is there when the connector comes, `second` comes later.
    """

    name: str
    id_type: str
    json_type: str
    enums: bool
    revision: bool
    schemas: bool
    tombstones: bool
    router: Literal["regex", "logical_table"]
    key: str
    tenant: str
    first: Names
    second: Names


VARIANTS: Final = (
    # As in deploy/debezium, to the letter.
    Variant(
        "example", "text", "jsonb",
        enums=False, revision=True, schemas=False, tombstones=False, router="regex", key="tenant_id,id",
        tenant="t-1", first=Names("rr-1", "op-1", "es-1"), second=Names("rr-2", "op-2", "es-2"),
    ),
    Variant(
        "schemas", "uuid", "jsonb",
        enums=True, revision=True, schemas=True, tombstones=True, router="logical_table", key="tenant_id",
        tenant="6a1b6a5e-0d0f-4f43-9d39-0c8c4d0a3c11",
        first=Names(
            "0b0e3a52-6d1c-4c53-8f0a-5f0d1f0b7a01",
            "0b0e3a52-6d1c-4c53-8f0a-5f0d1f0b7a02",
            "0b0e3a52-6d1c-4c53-8f0a-5f0d1f0b7a03",
        ),
        second=Names(
            "0b0e3a52-6d1c-4c53-8f0a-5f0d1f0b7b01",
            "0b0e3a52-6d1c-4c53-8f0a-5f0d1f0b7b02",
            "0b0e3a52-6d1c-4c53-8f0a-5f0d1f0b7b03",
        ),
    ),
    Variant(
        "log_position", "bigint", "json",
        enums=False, revision=False, schemas=False, tombstones=True, router="regex", key="tenant_id",
        tenant="42", first=Names("1001", "77", "501"), second=Names("1002", "78", "502"),
    ),
    Variant(
        "log_position_schemas", "text", "jsonb",
        enums=False, revision=False, schemas=True, tombstones=False, router="logical_table", key="tenant_id,id",
        tenant="t-1", first=Names("rr-1", "op-1", "es-1"), second=Names("rr-2", "op-2", "es-2"),
    ),
)  # fmt: skip

EXAMPLE: Final = VARIANTS[0]


STATUS_TYPES: Final = {
    "run_status": RUN_STATUSES,
    "operation_status": OPERATION_STATUSES,
    "outcome": OUTCOMES,
    "snapshot_status": SNAPSHOT_STATUSES,
}


def make_tables(postgres: Postgres, variant: Variant) -> None:
    """The platform's tables, and a role that may write them."""
    types = dict.fromkeys(STATUS_TYPES, "varchar(40)")
    if variant.enums:
        types = {name: name for name in STATUS_TYPES}
        for name, values in STATUS_TYPES.items():
            listed = ", ".join(f"'{value}'" for value in values)
            postgres.sql(f"CREATE TYPE {name} AS ENUM ({listed})")
    postgres.sql(
        f"""
        CREATE TABLE restore_runs (
            id {variant.id_type} PRIMARY KEY,
            tenant_id {variant.id_type} NOT NULL,
            status {types["run_status"]} NOT NULL,
            is_dry_run boolean NOT NULL DEFAULT false,
            operation_run_id {variant.id_type},
            metadata {variant.json_type},
            result_attention {variant.json_type},
            updated_at timestamptz NOT NULL DEFAULT '2026-11-01 09:00:00+00',
            attempt integer NOT NULL DEFAULT 1  -- what the contract does not know is ignored
        );
        CREATE TABLE operation_runs (
            id {variant.id_type} PRIMARY KEY,
            tenant_id {variant.id_type} NOT NULL,
            status {types["operation_status"]} NOT NULL,
            outcome {types["outcome"]} DEFAULT 'pending',
            started_at timestamptz,
            completed_at timestamptz
        );
        CREATE TABLE evidence_snapshots (
            id {variant.id_type} PRIMARY KEY,
            tenant_id {variant.id_type} NOT NULL,
            operation_run_id {variant.id_type},
            status {types["snapshot_status"]} NOT NULL,
            generated_at timestamptz,
            expires_at timestamptz(3)
        );
        CREATE ROLE {APPLICATION};
        GRANT SELECT, INSERT, UPDATE, DELETE ON restore_runs, operation_runs, evidence_snapshots TO {APPLICATION};
        """
    )


def set_up(postgres: Postgres, *, revision: bool) -> None:
    """What users are told to run before the connector comes."""
    if revision:
        postgres.sql((DEPLOY / "revision.sql").read_text())
    postgres.sql((DEPLOY / "setup.sql").read_text(), debezium_password=CONNECTOR_PASSWORD)


def tell(postgres: Postgres, script: str, variant: Variant, names: Names) -> None:
    """Run a part of the story, or any SQL, as the application."""
    postgres.sql(
        f"SET ROLE {APPLICATION};\n{script}",
        tenant=variant.tenant,
        run=names.run,
        operation=names.operation,
        snapshot=names.snapshot,
    )


COUNTS: Final = {"total": 12, "succeeded": 11, "failed": 0, "skipped": 1, "partial": 0, "non_applied": 0}

CREATED: Final = """
INSERT INTO restore_runs (id, tenant_id, status, operation_run_id, metadata, updated_at)
    VALUES (:'run', :'tenant', 'running', :'operation', '{"counts": {"total": 12}}', '2026-11-01 09:58:00.5+00');
INSERT INTO operation_runs (id, tenant_id, status, outcome, started_at)
    VALUES (:'operation', :'tenant', 'running', 'pending', '2026-11-01 10:58:00+01');
INSERT INTO evidence_snapshots (id, tenant_id, operation_run_id, status)
    VALUES (:'snapshot', :'tenant', :'operation', 'generating');
"""

UPDATED: Final = f"""
UPDATE restore_runs SET status = 'completed', metadata = '{json.dumps({"counts": COUNTS, "by": "zoë"})}',
        result_attention = '{{"state": "completed_with_follow_up"}}', updated_at = '2026-11-01 10:00:00.123456+00'
    WHERE id = :'run';
UPDATE operation_runs SET status = 'completed', outcome = 'succeeded', completed_at = '2026-11-01 10:00:00+00'
    WHERE id = :'operation';
UPDATE evidence_snapshots SET status = 'active', generated_at = '2026-11-01 10:01:00.000001+00',
        expires_at = '2027-11-01 10:01:00+00'
    WHERE id = :'snapshot';
"""

DELETED: Final = """
DELETE FROM restore_runs WHERE id = :'run';
DELETE FROM operation_runs WHERE id = :'operation';
DELETE FROM evidence_snapshots WHERE id = :'snapshot';
"""
