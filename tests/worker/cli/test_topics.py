from __future__ import annotations

import json

import pytest

from contracts.topics import Topics
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer
from tests.worker.cli.conftest import Command


@pytest.fixture
def names(command: Command, kafka: KafkaServer, space: Space, monkeypatch: pytest.MonkeyPatch) -> Topics:
    """The names of topics that do not exist yet."""
    _ = command  # forgets all settings first
    monkeypatch.setenv("RESTORE_PROJECTOR_KAFKA__BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("RESTORE_PROJECTOR_TOPICS__PREFIX", space.prefix)
    return Topics(space.prefix)


CREATE = ("topics", "create", "--partitions", "2", "--replication-factor", "1")


def test_create_says_what_it_made_and_check_finds_nothing(command: Command, names: Topics) -> None:
    created = command(*CREATE)
    checked = command("topics", "check")

    assert [line.split() for line in created.out.splitlines()[1:]] == [[name, "created"] for name in names.all]
    assert (created.code, checked.code) == (0, 0)
    assert checked.out == "All 8 topics are as they should be.\n"


def test_create_again_makes_nothing(command: Command, names: Topics) -> None:
    command(*CREATE)

    again = json.loads(command(*CREATE, "--json").out)

    assert again == {"topics": [{"topic": name, "created": False} for name in names.all], "findings": []}


@pytest.mark.usefixtures("names")
def test_create_with_other_partitions_than_exist_is_refused(command: Command) -> None:
    command(*CREATE)

    result = command("topics", "create", "--partitions", "3", "--replication-factor", "1")

    assert result.code == 2
    assert len(result.err.splitlines()) == 8
    assert "exists with 2 partitions, not 3" in result.err


def test_check_finds_what_is_missing_and_says_so_by_exit_code_1(command: Command, names: Topics) -> None:
    shown, listed = command("topics", "check"), command("topics", "check", "--json")

    assert (shown.code, listed.code) == (1, 1)
    assert f"error {names.internal}" in shown.out
    assert [finding["subject"] for finding in json.loads(listed.out)] == list(names.all)
