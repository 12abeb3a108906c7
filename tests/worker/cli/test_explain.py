from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.decision import encode
from contracts.explanation import Explanation
from contracts.times import parse_time
from projections.examples import EXAMPLES, document
from projections.record import DeletedRun, Key, encode_internal
from tests.processes import environment, install
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.worker.cli.conftest import Command
from worker.fitness import nodes_of
from worker.ports import Position, StoredInternal, StoredRun
from worker.reading import tenant_partition
from worker.redis import RedisStore
from worker.settings import Settings

INCOMPLETE = document(EXAMPLES["completed_proof_incomplete"])
START = Position("generation", 0, 0)


def offline(command: Command, value: Any, *options: str) -> str:
    result = command("decide", "--explain", "-", *options, stdin=json.dumps(value))
    assert (result.code, result.err) == (0, "")
    return result.out


def test_offline_a_document_is_explained_for_people(command: Command) -> None:
    lines = offline(command, INCOMPLETE).splitlines()

    assert lines[:2] == ["t-1 rr-1", "Completed, recovery proof incomplete"]
    assert "✗ dry_run              The restore run is not a dry run." in lines
    assert "✓ evidence_missing     This one decides." in lines
    assert [line.split()[0] for line in lines if line.startswith("2026-")] == [
        entry["changed_at"].replace(entry["changed_at"][-5:], "Z") for entry in INCOMPLETE["timeline"]
    ]


@pytest.mark.parametrize("state", EXAMPLES)
def test_every_state_is_explained_in_80_columns(command: Command, monkeypatch: pytest.MonkeyPatch, state: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    lines = offline(command, document(EXAMPLES[state])).splitlines()

    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line != line.rstrip()] == []


def test_offline_a_document_is_explained_for_a_program(command: Command) -> None:
    explanation = json.loads(offline(command, INCOMPLETE, "--json"))

    Explanation.model_validate(explanation)
    assert explanation["rule"]["name"] == INCOMPLETE["diagnostics"]["rule"]
    assert len(explanation["timeline"]) == len(INCOMPLETE["timeline"])


def test_bare_facts_are_explained_as_the_document_that_decide_makes_of_them(command: Command) -> None:
    explanation = json.loads(offline(command, INCOMPLETE["diagnostics"]["inputs"], "--json"))

    assert explanation["rule"]["name"] == INCOMPLETE["diagnostics"]["rule"]
    assert [entry["revision"] for entry in explanation["timeline"]] == [1]


@pytest.fixture
def settings(
    command: Command, kafka: KafkaServer, redis_server: RedisServer, space: Space, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """An installation whose store has nothing yet; `explain` is told where it is."""
    _ = command  # forgets all settings first
    settings = install(kafka, redis_server, space.prefix, 3)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def partition(settings: Settings) -> int:
    return tenant_partition(settings, "t-1")


@pytest.fixture
def store(settings: Settings, partition: int) -> Iterator[RedisStore]:
    """The store, the partition of tenant t-1 being restored."""
    with nodes_of(settings.redis) as nodes:
        store = RedisStore(nodes, settings.redis.namespace, settings.redis.address)
        store.wipe(partition, None, START, "log", applied_at=0)
        yield store


def test_a_stored_document_is_explained_as_it_is_offline(
    command: Command, store: RedisStore, partition: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.cli.explain.now_ms", lambda: parse_time("2026-11-01T11:00:00Z"))
    run = StoredRun(Key("run", "t-1", "rr-1"), encode(INCOMPLETE), INCOMPLETE["state"], 0)
    store.apply(partition, START, START, [run], restoring=False, applied_at=0)

    assert command("explain", "t-1", "rr-1", "--json").out == offline(command, INCOMPLETE, "--json")
    assert command("explain", "t-1", "rr-1").out == offline(command, INCOMPLETE)


def test_a_run_that_is_not_there_is_exit_code_1(command: Command, store: RedisStore, partition: int) -> None:
    store.apply(partition, START, START, [], restoring=False, applied_at=0)

    result = command("explain", "t-1", "rr-1")

    assert (result.code, result.out) == (1, "")
    assert result.err == "restore-projector: restore run rr-1 of tenant t-1 does not exist\n"


def test_a_run_that_was_deleted_is_exit_code_1_and_said(command: Command, store: RedisStore, partition: int) -> None:
    at = parse_time("2026-11-01T10:00:00Z")
    deleted = StoredInternal(Key("deleted-run", "t-1", "rr-1"), encode_internal(DeletedRun(3, 9, at, at)))
    store.apply(partition, START, START, [deleted], restoring=False, applied_at=0)

    result = command("explain", "t-1", "rr-1")

    assert result.code == 1
    assert result.err.endswith("does not exist: it was deleted at 2026-11-01T10:00:00.000Z (revision 9)\n")


@pytest.mark.usefixtures("store")
def test_while_the_partition_is_restored_it_is_not_yet_rather_than_not_there(command: Command, partition: int) -> None:
    result = command("explain", "t-1", "rr-1")

    assert result.code == 1
    assert f"not yet: partition {partition} is being restored from Kafka" in result.err


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("variable", ["REDIS__URL", "KAFKA__BOOTSTRAP_SERVERS"])
def test_a_server_that_is_away_is_exit_code_3(command: Command, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(
        f"RESTORE_PROJECTOR_{variable}", {"REDIS__URL": "redis://127.0.0.1:1"}.get(variable, "127.0.0.1:1")
    )

    result = command("explain", "t-1", "rr-1")

    assert result.code == 3
    assert "cannot be reached" in result.err


def test_what_is_no_identifier_is_exit_code_2(command: Command) -> None:
    assert command("explain", "t-1", "rr/1").code == 2
