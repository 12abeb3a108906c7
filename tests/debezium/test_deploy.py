"""The example in deploy/debezium fits this program, says what it does, and is what the other tests here run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from contracts.forms import TABLES
from contracts.topics import TOPICS, Topics
from tests.debezium.connector import WHERE_THINGS_ARE, example, localised, varied
from tests.debezium.platform import DEPLOY, EXAMPLE
from tests.debezium.postgres import Postgres

SETTINGS = example()
README = (DEPLOY / "README.md").read_text()
INPUT_OF_TABLE = {TABLES[row.entity]: Topics().name(row) for row in TOPICS if row.entity is not None}


def routed(topic: str) -> str:
    """Where the two routers send a topic of Debezium's."""
    for router in ("runs", "evidence"):
        regex = re.compile(SETTINGS[f"transforms.{router}.regex"])
        if regex.fullmatch(topic):
            return regex.sub(SETTINGS[f"transforms.{router}.replacement"].replace("$", "\\"), topic)
    return topic


@pytest.mark.parametrize("table", INPUT_OF_TABLE)
def test_each_table_goes_to_its_input(table: str) -> None:
    assert routed(f"{SETTINGS['topic.prefix']}.public.{table}") == INPUT_OF_TABLE[table]


def test_nothing_else_is_routed_or_loses_its_key() -> None:
    others = ["__debezium-heartbeat.platform", "platform.public.debezium_signal", "platform.public.my_restore_runs"]
    for topic in [*others, Topics().ops, Topics().decision_state]:
        assert routed(topic) == topic
        assert not re.fullmatch(SETTINGS["predicates.input.pattern"], topic)
    for topic in INPUT_OF_TABLE.values():
        assert re.fullmatch(SETTINGS["predicates.input.pattern"], topic)


def test_the_tables_are_the_three_and_their_keys_are_unique_within_a_tenant() -> None:
    assert set(SETTINGS["table.include.list"].split(",")) == {f"public.{table}" for table in INPUT_OF_TABLE}
    keys = dict(part.split(":") for part in SETTINGS["message.key.columns"].split(";"))
    assert keys == {f"public.{table}": "tenant_id,id" for table in INPUT_OF_TABLE}


@pytest.mark.parametrize("statement", ["ALTER TABLE {} REPLICA IDENTITY FULL", "CREATE TRIGGER revision .* ON {}\n"])
@pytest.mark.parametrize("table", INPUT_OF_TABLE)
def test_the_sql_covers_each_table(statement: str, table: str) -> None:
    sql = (DEPLOY / "setup.sql").read_text() + (DEPLOY / "revision.sql").read_text()
    assert re.search(statement.format(table), sql)


def test_every_setting_is_explained_and_none_that_is_not_there() -> None:
    table = README.split("## The settings")[1].split("\n\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    explained = [
        re.compile(name.replace(".", r"\.").replace("*", ".*")) for c in cells for name in re.findall(r"`(.+?)`", c)
    ]
    assert [name for name in SETTINGS if not any(pattern.fullmatch(name) for pattern in explained)] == []
    assert [pattern.pattern for pattern in explained if not any(map(pattern.fullmatch, SETTINGS))] == []


def test_every_file_is_explained() -> None:
    assert {path.name for path in DEPLOY.iterdir()} == {*re.findall(r"`(\w+\.(?:sql|json))`", README), "README.md"}


def test_what_is_captured_and_run_is_the_example_at_other_addresses(tmp_path: Path) -> None:
    nowhere = object.__new__(Postgres)
    nowhere.port = 5432
    run = varied(localised(SETTINGS, nowhere, "elsewhere", tmp_path), EXAMPLE)
    assert {name for name in run if run[name] != SETTINGS.get(name)} <= set(WHERE_THINGS_ARE)
    assert run.keys() == SETTINGS.keys()


def test_the_file_is_what_connect_takes() -> None:
    document = json.loads((DEPLOY / "connector.json").read_text())
    assert document.keys() == {"name", "config"}
    assert all(isinstance(value, str) for value in document["config"].values())
