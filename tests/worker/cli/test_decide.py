from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.decision import encode
from tests.worker.cli.conftest import Command

RUN = {"id": "rr-1", "tenant_id": "t-1", "status": "completed", "is_dry_run": False, "operation_run_id": "op-1"}
OPERATION = {"id": "op-1", "tenant_id": "t-1", "status": "completed", "outcome": "succeeded"}
SNAPSHOT = {"id": "es-1", "tenant_id": "t-1", "operation_run_id": "op-1", "status": "active"}


def decided(command: Command, **facts: Any) -> dict[str, Any]:
    result = command("decide", "-", stdin=json.dumps(facts))
    assert (result.code, result.err) == (0, "")
    document: dict[str, Any] = json.loads(result.out)
    return document


def test_facts_from_standard_input_are_decided(command: Command) -> None:
    document = decided(command, restore_run=RUN, operation_run=OPERATION, evidence_snapshots=[SNAPSHOT])

    assert document["state"] == "completed_with_evidence"
    assert document["diagnostics"]["rule"] == "evidence_current"


def test_facts_from_a_file_are_decided(command: Command, tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text(json.dumps({"restore_run": RUN}))

    assert json.loads(command("decide", "facts.json").out)["state"] == "completed_proof_incomplete"


def test_the_document_is_the_runs_first_at_the_time_of_its_newest_source(command: Command) -> None:
    def source(timestamp: int) -> dict[str, Any]:
        return {"topic": "restore.restore-runs.v1", "partition": 0, "offset": 7, "timestamp": timestamp}

    document = decided(
        command,
        restore_run={**RUN, "updated_at": "2030-01-01T00:00:00Z", "source": source(1_000)},
        operation_run={**OPERATION, "source": source(2_000)},
    )

    assert document["revision"] == 1
    assert document["previous_state"] is None
    assert document["timeline"] == [
        {"revision": 1, "state": "completed_proof_incomplete", "changed_at": "1970-01-01T00:00:02.000Z"}
    ]
    assert document["changed_at"] == document["updated_at"] == "1970-01-01T00:00:02.000Z"


@pytest.mark.parametrize(
    ("updated_at", "expected"),
    [("2026-11-01T10:00:00Z", "2026-11-01T10:00:00.000Z"), (None, "1970-01-01T00:00:00.000Z")],
)
def test_without_sources_the_time_is_the_runs_own_or_1970(
    command: Command, updated_at: str | None, expected: str
) -> None:
    assert decided(command, restore_run={**RUN, "updated_at": updated_at})["updated_at"] == expected


def test_json_is_one_line_byte_for_byte_as_it_would_be_published(command: Command) -> None:
    facts = json.dumps({"restore_run": RUN})

    line = command("decide", "-", "--json", stdin=facts).out

    assert line == encode(json.loads(line)).decode() + "\n"
    assert json.loads(line) == json.loads(command("decide", "-", stdin=facts).out)


def test_a_whole_document_is_decided_again_from_its_inputs(command: Command) -> None:
    first = command("decide", "-", "--json", stdin=json.dumps({"restore_run": RUN, "operation_run": OPERATION})).out

    assert command("decide", "-", "--json", stdin=first).out == first


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "cannot be read: expected strict JSON"),
        ("[]", "are not facts: $: expected an object, got an array"),
        ('{"restore_run": {"id": "rr-1"}}', "are not facts: $.restore_run.tenant_id: expected an identifier"),
    ],
)
def test_what_are_no_facts_is_said_and_exit_code_2(command: Command, content: str, complaint: str) -> None:
    result = command("decide", "-", stdin=content)

    assert result.code == 2
    assert result.err.startswith(f"restore-projector: the facts in - {complaint}")
    assert result.out == ""


def test_a_file_that_is_not_there_is_exit_code_2(command: Command) -> None:
    result = command("decide", "nowhere.json")

    assert (result.code, result.err) == (
        2,
        "restore-projector: the facts in nowhere.json cannot be read: No such file or directory\n",
    )
