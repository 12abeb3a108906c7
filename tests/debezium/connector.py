"""The connector that users are given, and how it differs in a test: where its servers are, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from contracts.topics import DEFAULT_PREFIX
from tests.debezium.platform import CONNECTOR_PASSWORD, DEPLOY, Variant
from tests.debezium.postgres import Postgres
from worker.servers.processes import LOOPBACK

TABLES: Final = ("evidence_snapshots", "operation_runs", "restore_runs")
PREFIXED: Final = ("transforms.runs.replacement", "transforms.evidence.replacement", "predicates.input.pattern")
"""Settings that begin with the prefix of the topics."""
WHERE_THINGS_ARE: Final = ("database.hostname", "database.port", "database.password", *PREFIXED)
"""All that a test changes of the example."""


def example() -> dict[str, str]:
    """The settings in deploy/debezium/connector.json."""
    document: dict[str, Any] = json.loads((DEPLOY / "connector.json").read_text())
    settings: dict[str, str] = document["config"]
    return settings


def localised(settings: dict[str, str], postgres: Postgres, prefix: str, directory: Path) -> dict[str, str]:
    """The same for servers of a test: its database, the topics' prefix, the file with the password."""
    secrets = directory / f"debezium-{postgres.port}.properties"
    secrets.write_text(f"password={CONNECTOR_PASSWORD}\n")
    here = {
        "database.hostname": LOOPBACK,
        "database.port": str(postgres.port),
        "database.password": f"${{file:{secrets}:password}}",
    }
    for name in PREFIXED:
        assert settings[name].startswith(DEFAULT_PREFIX), f"{name} begins with the prefix of the topics"
        here[name] = prefix + settings[name].removeprefix(DEFAULT_PREFIX)
    return settings | here


def varied(settings: dict[str, str], variant: Variant) -> dict[str, str]:
    """The example as a variant has it."""
    changed = {
        "message.key.columns": ";".join(f"public.{table}:{variant.key}" for table in TABLES),
        "tombstones.on.delete": str(variant.tombstones).lower(),
        "value.converter.schemas.enable": str(variant.schemas).lower(),
    }
    if variant.router == "logical_table":
        for router in ("runs", "evidence"):
            changed |= {
                f"transforms.{router}.type": "io.debezium.transforms.ByLogicalTableRouter",
                f"transforms.{router}.topic.regex": settings[f"transforms.{router}.regex"],
                f"transforms.{router}.topic.replacement": settings[f"transforms.{router}.replacement"],
            }
    return settings | changed
