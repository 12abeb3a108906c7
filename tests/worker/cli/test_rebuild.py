"""`rebuild`: the store's copy is dropped and restored by its owner; what was not ordered is left as it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.consistency import check
from tests.installation import PARTITIONS, Live, live_worker
from tests.processes import environment, install, running
from tests.servers.clients import redis_client
from tests.servers.local_cluster import LocalRedisCluster
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer
from tests.servers.waiting import wait_until
from tests.traffic import operation, run, sender
from tests.worker.cli.conftest import Command
from worker.errors import Interrupted
from worker.settings import Settings

COMMAND = str(Path(sys.executable).with_name("restore-projector"))
WAIT_S = 60.0


@pytest.fixture
def told(command: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, which knows where the installation is."""
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    return command


@pytest.fixture
def live(told: Command, settings: Settings) -> Iterator[Live]:
    _ = told  # forgets all settings first
    with live_worker(settings) as live:
        yield live


def fill(live: Live) -> dict[int, str]:
    """A restore in each partition; returns a tenant of each."""
    tenants = {live.send.partition(f"t-{number}"): f"t-{number}" for number in range(40)}
    for tenant in tenants.values():
        live.send.events(run(tenant, "rr-1", 1, operation="op-1"))
    live.send.steps(*(operation(tenant, "op-1", 1) for tenant in tenants.values()))
    for tenant in tenants.values():
        live.wait_for_state(tenant, "rr-1", "completed_proof_incomplete")
    assert len(tenants) == PARTITIONS
    return tenants


def generations(live: Live, tenants: dict[int, str]) -> dict[int, bytes | None]:
    found: dict[int, Any] = {
        n: live.redis.hget(live.redis_key(t, "position"), "generation") for n, t in tenants.items()
    }
    return found


class Rebuild:
    """The command as a process."""

    def __init__(self, settings: Settings, directory: Path, *options: str) -> None:
        self.said = directory / f"rebuild-{os.urandom(3).hex()}.txt"
        with self.said.open("wb") as stream:
            self.process = subprocess.Popen(
                [COMMAND, "rebuild", "--yes", *options],
                env={**os.environ, **environment(settings)},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )

    def wait_for(self, words: str) -> None:
        wait_until(lambda: words in self.said.read_text(), WAIT_S, lambda: f"{words!r} in {self.said.read_text()!r}")

    def ends(self) -> tuple[int, str]:
        return self.process.wait(WAIT_S), self.said.read_text()


@contextmanager
def rebuilding(settings: Settings, directory: Path, *options: str) -> Iterator[Rebuild]:
    rebuild = Rebuild(settings, directory, *options)
    try:
        yield rebuild
    finally:
        rebuild.process.kill()
        rebuild.process.wait()


def test_a_partition_is_restored_and_the_others_stay_as_they_are(told: Command, live: Live) -> None:
    """What was changed by hand in it is gone, and what was lost is back."""
    tenants = fill(live)
    number, tenant = next(iter(tenants.items()))
    before = generations(live, tenants)
    live.redis.set(live.redis_key(tenant, f"run:{tenant}/rr-9"), "{}")
    live.redis.delete(live.redis_key(tenant, f"run:{tenant}/rr-1"))

    result = told("rebuild", "--partition", str(number), "--yes", "--json")

    assert result.code == 0, result.err
    after = generations(live, tenants)
    assert {n for n in after if after[n] != before[n]} == {number}
    (row,) = json.loads(result.out)["partitions"]
    assert (row["partition"], row["generation"], row["status"]) == (number, (after[number] or b"").decode(), "ready")
    assert check(live.settings).runs == PARTITIONS


def test_a_dry_run_orders_nothing(told: Command, live: Live) -> None:
    tenants = fill(live)
    before = generations(live, tenants)

    rows = json.loads(told("rebuild", "--dry-run", "--json").out)

    assert [(row["partition"], row["status"]) for row in rows] == [(number, "ready") for number in range(PARTITIONS)]
    assert all(row["records_to_read"] > 0 for row in rows)
    assert generations(live, tenants) == before


def test_without_a_yes_nothing_is_ordered(told: Command, live: Live) -> None:
    tenants = fill(live)
    before = generations(live, tenants)

    result = told("rebuild")

    assert result.code == 2
    assert "Restore partitions 0, 1, 2, 3 in full?" in result.err
    assert generations(live, tenants) == before


def test_a_partition_that_there_is_not_is_wrong_use(told: Command) -> None:
    result = told("rebuild", "--partition", str(PARTITIONS), "--yes")

    assert result.code == 2
    assert f"expected a partition from 0 to {PARTITIONS - 1}" in result.err


@pytest.mark.usefixtures("told")
def test_without_a_worker_it_waits_for_one_and_readers_know(settings: Settings, tmp_path: Path) -> None:
    """Two that meet have both what they want from one restore."""
    with live_worker(settings) as live:
        tenants = fill(live)
        before = generations(live, tenants)
    with rebuilding(settings, tmp_path) as first, rebuilding(settings, tmp_path, "--partition", "0") as second:
        first.wait_for("no worker has partitions 0, 1, 2, 3")
        second.wait_for("no worker has partition 0:")
        with redis_client(settings.redis.url.get_secret_value()) as redis:
            key = f"{settings.redis.namespace}:{{0}}:position"
            assert redis.hmget(key, "status", "wiped") == [b"restoring", b"0"]
        with live_worker(settings) as live:
            assert first.ends()[0] == 0
            assert second.ends()[0] == 0
            after = generations(live, tenants)
            assert all(after[number] != before[number] for number in tenants)
    assert check(settings).runs == PARTITIONS


@pytest.mark.usefixtures("told")
def test_ctrl_c_ends_the_waiting_and_the_order_stands(settings: Settings, tmp_path: Path) -> None:
    with live_worker(settings) as live:
        tenants = fill(live)
        before = generations(live, tenants)
    with rebuilding(settings, tmp_path) as rebuild:
        rebuild.wait_for("no worker has")
        rebuild.process.send_signal(signal.SIGINT)
        code, said = rebuild.ends()
    assert code == Interrupted.exit_code
    assert "what was ordered is carried out all the same" in said
    assert "Traceback" not in said
    with live_worker(settings) as live:
        after = generations(live, tenants)
        assert all(after[number] != before[number] for number in tenants)


def test_in_a_cluster_each_master_is_ordered_its_partitions(
    command: Command,
    real_kafka: KafkaServer,
    redis_cluster: LocalRedisCluster,
    space: Space,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = install(real_kafka, redis_cluster, space.prefix, partitions=3)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    with running(settings), sender(settings, 3) as send:
        send.events(*(run(f"t-{number}", "rr-1", 1, "running") for number in range(12)))
        result = command("rebuild", "--yes", "--json")
        assert result.code == 0, result.err
        rows = json.loads(result.out)["partitions"]
        assert all(row["generation"] != row["generation_before"] and row["status"] == "ready" for row in rows)
        wait_until(lambda: command("status").code == 0, WAIT_S, "all is well again")
    assert check(settings).runs == 12
