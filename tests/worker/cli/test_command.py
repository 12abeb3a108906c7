"""What all commands share, and the small ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest

from tests.worker.cli.conftest import Command

COMMANDS: Final = (
    ("run",), ("topics", "create"), ("topics", "check"), ("decide",), ("explain",), ("watch",), ("simulate",),
    ("demo",), ("dev",), ("contracts", "export"), ("config",),
)  # fmt: skip


def test_the_version_is_the_distributions(command: Command) -> None:
    assert command("--version").out == f"restore-projector {version('restore-projector')}\n"


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_help_with_an_example(command: Command, path: tuple[str, ...]) -> None:
    result = command(*path, "--help")

    assert result.code == 0
    assert re.search(rf"Example: .*restore-projector {' '.join(path)}", " ".join(result.out.split()))


def test_without_a_command_all_are_listed(command: Command) -> None:
    out = command().out

    assert [path for path in COMMANDS if f" {path[0]} " not in out] == []


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("decide",), ("topics", "create"), ("topics", "create", "--partitions", "0"), ("simulate", "-x")],
)
def test_wrong_use_is_exit_code_2(command: Command, arguments: tuple[str, ...]) -> None:
    result = command(*arguments)

    assert result.code == 2
    assert result.out == ""


def test_a_wrong_setting_is_exit_code_2_and_names_itself(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_PROJECTOR_HTTP__PORT", "many")

    result = command("config")

    assert result.code == 2
    assert result.err == (
        "restore-projector: RESTORE_PROJECTOR_HTTP__PORT is 'many': expected a whole number from 0 to 65535\n"
    )


def test_a_server_that_cannot_be_reached_is_exit_code_3(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.topics.BOOTSTRAP_TIMEOUT_MS", 200)
    monkeypatch.setenv("RESTORE_PROJECTOR_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")

    result = command("topics", "check")

    assert result.code == 3
    assert result.err.startswith("restore-projector: Kafka at 127.0.0.1:1 cannot be reached")


def test_config_shows_values_and_where_they_are_from_and_masks_secrets(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORE_PROJECTOR_REDIS__URL", "redis://worker:geheim@cache:6379/0")

    lines = [line.split() for line in command("config").out.splitlines()]

    assert ["RESTORE_PROJECTOR_REDIS__URL", "redis://worker:**********@cache:6379/0", "environment"] in lines
    assert ["RESTORE_PROJECTOR_TOPICS__PREFIX", "restore", "default"] in lines


def test_config_as_json_has_defaults_and_descriptions(command: Command) -> None:
    rows = json.loads(command("config", "--json").out)

    row = next(row for row in rows if row["variable"] == "RESTORE_PROJECTOR_KAFKA__SASL_PASSWORD")
    assert row == {
        "variable": "RESTORE_PROJECTOR_KAFKA__SASL_PASSWORD",
        "value": None,
        "default": None,
        "origin": "default",
        "description": "Password for SASL.",
        "secret": True,
    }


def test_help_needs_none_of_the_slow_imports() -> None:
    program = (
        "import sys, worker.cli; "
        "print([m for m in ('kafka', 'redis', 'pydantic', 'prometheus_client', 'structlog') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("restore-projector")

    done = subprocess.run(
        ["/bin/sh", "-c", f"{script} config --json | head -c 1"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )

    assert (done.stdout, done.stderr) == ("[", "")
