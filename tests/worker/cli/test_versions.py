"""Two versions of the rules as processes on real servers: a rolling update, and what an older version refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from contracts.decision import decode
from tests.consistency.observation import consumer, read_log
from tests.consistency.versions import check_versions
from tests.installation import PARTITIONS
from tests.processes import WorkerProcess, environment
from tests.servers.waiting import wait_until
from tests.traffic import Event, operation, run, sender, snapshot
from tests.worker.cli.conftest import Command
from worker.settings import Settings
from worker.status.kafka import KafkaView

WAIT_S: Final = 60.0
TENANTS: Final = [f"t-{n}" for n in range(8)]
"""Of all partitions."""
UNTOLD: Final[dict[str, Any]] = {"total": 12}
"""Counts that version 2 wants reviewed, and version 1 does not."""


FROM_HERE: Final = {"PYTHONPATH": str(Path(__file__).parents[3])}
"""Commands run in a folder of the test's own, and the tests are no installed package."""


def of_version(version: int) -> tuple[str, ...]:
    """The command line of a release that has this version of the rules."""
    return (sys.executable, "-m", "tests.versions", str(version))


class Installation:
    """Its workers, and what its topics hold."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self._folder = folder
        self._processes: list[WorkerProcess] = []

    def worker(self, version: int, name: str) -> WorkerProcess:
        """A worker that decides by that version, started."""
        process = WorkerProcess(
            self.settings,
            self._folder / f"{name}.log",
            command=of_version(version),
            RESTORE_PROJECTOR_KAFKA__INSTANCE=name,
            **FROM_HERE,
        )
        self._processes.append(process)
        process.start()
        return process

    def send(self, *events: Event) -> None:
        with sender(self.settings, PARTITIONS) as send:
            send.events(*events)

    def changes(self) -> list[dict[str, Any]]:
        return self._values(self.settings.topic_names.decision_changes)

    def documents(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The last of each run."""
        values = self._values(self.settings.topic_names.decision_state)
        return {(v["tenant_id"], v["restore_run_id"]): v for v in values}

    def _values(self, topic: str) -> list[dict[str, Any]]:
        with consumer(self.settings) as reader:
            log = read_log(reader, self.settings, [topic])
        return [decode(record.value) for records in log.values() for record in records if record.value is not None]

    def wait_until_decided(self, states: Counter[str]) -> None:
        def found() -> Counter[str]:
            return Counter(document["state"] for document in self.documents().values())

        wait_until(lambda: found() == states, WAIT_S, lambda: f"states {states}, not {found()}")

    def alerts(self) -> list[dict[str, Any]]:
        """What a consumer sees that wants to be woken by live changes only."""
        return [change for change in self.changes() if change["origin"] == "live"]

    @staticmethod
    def end(worker: WorkerProcess) -> None:
        """As an orchestrator does, to put a newer one in its place."""
        worker.signal(signal.SIGTERM)
        assert worker.wait(WAIT_S) == 0

    def ask(self, version: int, *arguments: str) -> tuple[int, dict[str, Any]]:
        """What a command of a version says, and its exit code."""
        command = [*of_version(version), *arguments, "--json"]
        done = subprocess.run(
            command, env=os.environ | environment(self.settings) | FROM_HERE, capture_output=True, text=True,
            timeout=WAIT_S, check=False,
        )  # fmt: skip
        assert done.stderr == ""
        told: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, told

    def is_complete(self, policy: int) -> bool:
        """Kafka says of every partition that everything in it was decided again."""
        with closing(KafkaView(self.settings.kafka, self.settings.topic_names)) as view:
            return all(row.policies.complete == policy for row in view.look().inputs.values())

    def kill_all(self) -> None:
        for process in self._processes:
            process.kill()


@pytest.fixture
def installation(settings: Settings, tmp_path: Path) -> Iterator[Installation]:
    made = Installation(settings, tmp_path)
    try:
        yield made
    finally:
        made.kill_all()


@pytest.fixture
def status(command: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)

    def told() -> dict[str, Any]:
        report: dict[str, Any] = json.loads(command("status", "--json").out)
        return report

    return told


@pytest.fixture
def restores(installation: Installation) -> WorkerProcess:
    """Restores of all tenants with current evidence, half of them without a count of what succeeded."""
    worker = installation.worker(1, "old")
    worker.wait_until_owning(PARTITIONS)
    for n, tenant in enumerate(TENANTS):
        counts = {"counts": UNTOLD} if n % 2 else {}
        installation.send(
            run(tenant, "rr-1", 1, "completed", "op-1", **counts),
            operation(tenant, "op-1", 1),
            snapshot(tenant, "es-1", 1, "op-1"),
        )
    installation.wait_until_decided(Counter(completed_with_evidence=len(TENANTS)))
    return worker


def test_new_rules_are_previewed_rolled_out_and_wake_nobody(
    installation: Installation, restores: WorkerProcess
) -> None:
    """The night: what the new version says beforehand is what it does, and an alerting consumer, which leaves out all
    that is not live, sees nothing of it.
    """
    alerted = installation.alerts()
    code, before = installation.ask(2, "preview")
    assert (code, before["runs"], before["would_change_state"]) == (0, 8, 4)
    change = next(row for row in before["matrix"] if row["to"] == "needs_review")
    assert (change["from"], change["runs"]) == ("completed_with_evidence", 4)
    assert set(change["samples"]) <= {f"{tenant}/rr-1" for tenant in TENANTS[1::2]}

    new = installation.worker(2, "new")
    new.wait_until_owning(PARTITIONS // 2)
    installation.end(restores)
    new.wait_until_owning(PARTITIONS)
    installation.wait_until_decided(Counter(completed_with_evidence=4, needs_review=4))
    wait_until(lambda: installation.is_complete(2), WAIT_S, "everything is decided again")

    assert installation.alerts() == alerted
    again = [change for change in installation.changes() if change["origin"] == "recompute"]
    assert {f"{c['tenant_id']}/{c['restore_run_id']}" for c in again} == {f"{t}/rr-1" for t in TENANTS[1::2]}
    assert len(again) == 4
    policies = {run: document["policy"] for run, document in installation.documents().items()}
    assert {tenant for (tenant, _), policy in policies.items() if policy == 2} == set(TENANTS[1::2])
    code, after = installation.ask(2, "preview")
    assert (code, after["would_change_state"], after["would_change_otherwise"]) == (0, 0, 0)
    code, verified = installation.ask(2, "verify")
    assert code == 0, verified
    check_versions(installation.settings, newest=2)


def test_a_preview_of_laxer_rules_names_who_would_claim_more_first_and_exits_with_1(
    installation: Installation, restores: WorkerProcess
) -> None:
    assert restores.alive
    for n, tenant in enumerate(TENANTS[:3]):
        installation.send(operation(tenant, "op-1", 2 + n, outcome="cancelled"))
    installation.wait_until_decided(Counter(completed_with_evidence=5, needs_review=3))
    code, told = installation.ask(3, "preview", "--samples", "2")
    assert code == 1
    (row,) = told["more_permissive"]
    assert (row["from"], row["to"], row["why"], row["runs"]) == (
        "needs_review",
        "completed_with_evidence",
        "nearer to proof",
        3,
    )
    assert row["samples"] == ["t-0/rr-1", "t-1/rr-1"]


def test_an_older_version_refuses_what_a_newer_one_has_touched_and_status_says_so(
    installation: Installation, restores: WorkerProcess, status: Callable[[], dict[str, Any]]
) -> None:
    installation.end(restores)
    new = installation.worker(2, "new")
    installation.wait_until_decided(Counter(completed_with_evidence=4, needs_review=4))
    wait_until(lambda: len(new.said("partition_recomputed")) == PARTITIONS, WAIT_S, "all is decided again")
    installation.end(new)
    before = installation.documents()
    old = installation.worker(1, "older")
    wait_until(lambda: len(old.said("partition_stopped")) == PARTITIONS, WAIT_S, "all is refused")
    assert old.alive
    installation.send(run(TENANTS[1], "rr-1", 2, "completed", "op-1", counts=UNTOLD))
    row = status()["partitions"][0]
    assert (row["state"], row["next"]) == ("refused", "restore-projector run")
    assert "a worker of policy 2 has decided in it, and its worker older" in row["cause"]
    assert row["policies"] == {"touched": 2, "complete": 2, "reached": 0}
    installation.end(old)
    assert installation.documents() == before
    newest = installation.worker(2, "newest")
    newest.wait_until_owning(PARTITIONS)
    key = (TENANTS[1], "rr-1")
    revision = before[key]["revision"] + 1
    wait_until(lambda: installation.documents()[key]["revision"] == revision, WAIT_S, "what waited is decided")
    assert newest.said("partition_recomputing") == []
    assert {row["state"] for row in status()["partitions"]} <= {"caught_up", "idle"}
