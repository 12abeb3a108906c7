"""`contracts export` writes what others may rely on, and says when what is there is something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.worker.cli.conftest import Command
from worker.cli.contracts import exported


def test_every_file_is_written_and_then_up_to_date(command: Command, tmp_path: Path) -> None:
    written = command("contracts", "export", str(tmp_path / "made" / "here"))
    checked = command("contracts", "export", str(tmp_path / "made" / "here"), "--check")

    assert (written.code, written.err) == (0, "")
    assert {
        str(path.relative_to(tmp_path / "made" / "here")): path.read_text()
        for path in (tmp_path / "made" / "here").rglob("*")
        if path.is_file()
    } == exported()
    assert checked.code == 0
    assert "up to date" in checked.out


def test_by_default_it_is_the_folder_of_the_checkout(command: Command, tmp_path: Path) -> None:
    command("contracts", "export")

    assert (tmp_path / "contracts" / "schemas" / "topics.json").is_file()


@pytest.mark.parametrize("fault", ["missing", "changed"])
def test_check_names_what_is_out_of_date_and_writes_nothing(command: Command, tmp_path: Path, fault: str) -> None:
    command("contracts", "export", str(tmp_path))
    if fault == "missing":
        (tmp_path / "types.ts").unlink()
    else:
        (tmp_path / "types.ts").write_text("")

    result = command("contracts", "export", str(tmp_path), "--check", "--json")

    assert result.code == 1
    assert json.loads(result.out)["differing"] == ["types.ts"]
    assert not (tmp_path / "types.ts").exists() or (tmp_path / "types.ts").read_text() == ""
    assert "types.ts" in command("contracts", "export", str(tmp_path), "--check").out


def test_files_of_others_stay(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.schema.json").write_text("{}")

    command("contracts", "export", str(tmp_path))

    assert (tmp_path / "mine.schema.json").read_text() == "{}"


def test_a_place_that_cannot_be_written_is_exit_code_2(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    result = command("contracts", "export", str(tmp_path / "file"))

    assert result.code == 2
    assert result.err.startswith("restore-projector: ")
