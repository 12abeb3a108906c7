"""`incident`: one file of a run is enough to decide, to explain and to tell its story again without any server."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.decision import decode, encode
from tests.installation import Live
from tests.processes import environment
from tests.servers.waiting import wait_until
from tests.traffic import Message, operation, run, snapshot
from tests.traffic import encode as as_json
from tests.worker.cli.conftest import Command, Result
from worker.cli.incident import default_name
from worker.settings import PREFIX

SECRET = "hush-hush"
Incident = Callable[..., Result]
WAIT_S = 20.0


@pytest.fixture
def incident(command: Command, shared: Live, monkeypatch: pytest.MonkeyPatch) -> Incident:
    """The command on the installation that the module's tests share."""
    for name, value in environment(shared.settings).items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: command("incident", *arguments)


@pytest.fixture
def offline(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line on another machine: nothing is set, and no server is known."""

    def call(*arguments: str, stdin: str = "") -> Result:
        with monkeypatch.context() as patch:
            patch.delenv(f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS", raising=False)
            patch.delenv(f"{PREFIX}REDIS__URL", raising=False)
            return command(*arguments, stdin=stdin)

    return call


def story(live: Live, tenant: str) -> None:
    """A restore with evidence, another one that is linked to the same operation, and a third of which all is other."""
    live.send.steps(
        run(tenant, "rr-1", 1, "running", operation="op-1"),
        operation(tenant, "op-1", 1, "completed", "succeeded"),
        run(tenant, "rr-1", 2, operation="op-1"),
        snapshot(tenant, "es-1", 1, "op-1"),
    )
    live.send.events(run(tenant, "rr-2", 1, operation="op-1"), run(tenant, "rr-3", 1, operation="op-3"))
    live.wait_for_state(tenant, "rr-1", "completed_with_evidence")
    live.wait_for_state(tenant, "rr-3", "completed_proof_incomplete")


def test_a_file_is_enough_to_decide_and_explain_and_tell_the_story(
    incident: Incident, offline: Command, shared: Live, tenant: str, tmp_path: Path
) -> None:
    story(shared, tenant)
    file = tmp_path / "told.json"
    written = incident(tenant, "rr-1", "--output", str(file))
    assert (written.code, written.out) == (0, "")
    assert written.err.startswith("restore-projector: 4 inputs, 0 orders, 0 dead letters, ")
    assert written.err.endswith(f" internal, 3 changes; written to {file}\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    published = shared.document(tenant, "rr-1")
    assert published is not None
    decided = decode(offline("decide", "--json", str(file)).out.encode())
    assert (decided["state"], decided["claims"]) == (published["state"], published["claims"])
    explained = offline("decide", "--explain", str(file))
    assert explained.out.splitlines()[:2] == [f"{tenant} rr-1", "Completed with evidence available"]
    history = offline("decide", "--history", str(file))
    assert (history.code, history.out.splitlines()[-1]) == (0, "This comes to what was published.")
    told = json.loads(offline("decide", "--history", "--json", str(file)).out)
    assert encode(told["document"]) == encode(published)
    assert [step["state"] for step in told["steps"]] == [
        "in_progress", "in_progress", "completed_proof_incomplete", "completed_with_evidence",
    ]  # fmt: skip


def test_dead_letters_and_what_was_done_about_them_are_in_it(
    incident: Incident, offline: Command, command: Command, shared: Live, tenant: str
) -> None:
    story(shared, tenant)
    broken = run(tenant, "rr-1", 3, "nonsense", operation="op-1")
    shared.send.events(broken)
    shared.send.messages([Message(shared.send.topics.restore_runs, tenant.encode(), b'{"id": "rr-1", \xff', [])])
    shared.wait_for(tenant, "rr-1", lambda d: "unreadable_input" in d["diagnostics"]["inconsistencies"])
    letters = wait_until(lambda: _letters(shared, tenant), WAIT_S, "two dead letters")
    place = f"{letters[0].partition}:{letters[0].offset}"
    assert command("deadletters", "dismiss", place, "--why", "known", "--yes").code == 0

    found = json.loads(incident(tenant, "rr-1", "--output", "-").out)
    assert [len(found[what]) for what in ("inputs", "dead_letters", "orders")] == [6, 2, 1]
    assert ["reason", "known"] in found["orders"][0]["headers"]
    assert found["dead_letters"][1]["value"] == {"base64": "eyJpZCI6ICJyci0xIiwg/w=="}
    history = offline("decide", "--history", "-", stdin=json.dumps(found))
    assert (history.code, history.out.splitlines()[-1]) == (0, "This comes to what was published.")
    assert "cannot be read: schema_violation: $.status" in history.out


def _letters(live: Live, tenant: str) -> Any:
    found = [letter for letter in live.read(live.send.topics.dead_letters) if letter.key == tenant.encode()]
    return found if len(found) == 2 else None


def test_a_document_that_its_records_do_not_come_to_is_told(
    incident: Incident, offline: Command, shared: Live, tenant: str
) -> None:
    story(shared, tenant)
    found = json.loads(incident(tenant, "rr-1", "--output", "-").out)
    found["inputs"] = [r for r in found["inputs"] if r["topic"] != shared.send.topics.evidence_snapshots]
    told = offline("decide", "--history", "-", stdin=json.dumps(found))
    assert told.code == 1
    assert "$.state: published 'completed_with_evidence', told 'completed_proof_incomplete'" in told.out


def test_secrets_are_not_in_it(incident: Incident, shared: Live, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    story(shared, tenant)
    monkeypatch.setenv(f"{PREFIX}KAFKA__SSL_PASSWORD", SECRET)
    result = incident(tenant, "rr-1", "--output", "-")
    assert json.loads(result.out)["installation"]["settings"]
    assert SECRET not in result.out


def test_of_a_run_that_nobody_knows_there_is_nothing_to_tell(incident: Incident, shared: Live, tenant: str) -> None:
    story(shared, tenant)
    result = incident(tenant, "rr-unknown", "--output", "-")
    assert result.code == 1
    assert f"nothing is known of restore run rr-unknown of tenant {tenant}" in result.err
    assert json.loads(result.out)["document"] is None


def test_of_a_run_that_nobody_knows_no_file_is_written(incident: Incident, tenant: str, tmp_path: Path) -> None:
    file = tmp_path / "nothing.json"
    result = incident(tenant, "rr-unknown", "--output", str(file))
    assert result.code == 1
    assert result.err.endswith(f"of restore run rr-unknown of tenant {tenant}: {file} is not written\n")
    assert list(tmp_path.glob("*nothing*")) == []


@pytest.mark.parametrize("length", [250, 300])
def test_a_name_that_is_too_long_is_said_to_be(
    incident: Incident, shared: Live, tenant: str, tmp_path: Path, length: int
) -> None:
    """At 250 it is that of the file beside it, which becomes the file once it is whole."""
    story(shared, tenant)
    result = incident(tenant, "rr-1", "--output", str(tmp_path / ("x" * length)))
    assert (result.code, result.out) == (2, "")
    assert "cannot be written: File name too long" in result.err


def test_the_longest_ids_make_a_name_that_a_file_can_have() -> None:
    long = "t" * 128
    names = {default_name(long, f"{'r' * 127}{end}") for end in "ab"}
    assert len(names) == 2
    assert max(map(len, names)) < 200
    assert default_name("acme", "rr-1") == "incident-acme-rr-1.json"


def test_a_file_that_is_there_is_not_replaced_unasked(incident: Incident, tmp_path: Path, tenant: str) -> None:
    file = tmp_path / "there.json"
    file.write_text("mine")
    result = incident(tenant, "rr-1", "--output", str(file))
    assert result.code == 2
    assert "--force replaces it" in result.err
    assert file.read_text() == "mine"


def test_a_history_is_told_of_nothing_else(command: Command) -> None:
    result = command("decide", "--history", "-", stdin=as_json({"restore_run": {}}).decode())
    assert result.code == 2
    assert "$.schema: expected restore.incident/1, as `restore-projector incident` writes it, got null" in result.err
