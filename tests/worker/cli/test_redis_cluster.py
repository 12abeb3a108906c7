"""Commands that look into the store, where that is a Redis Cluster."""

from __future__ import annotations

import json
import time
from functools import partial

import pytest

from tests.consistency import check
from tests.processes import environment, install, running
from tests.servers.local_cluster import LocalRedisCluster
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer
from tests.servers.waiting import wait_until
from tests.traffic import run, sender
from tests.worker.cli.conftest import Command

PARTITIONS = 3
"""One on each master."""
WAIT_S = 20.0


def explains(command: Command, tenant: str) -> bool:
    return command("explain", tenant, "rr-1").code == 0


def test_status_overdue_and_explain_find_what_they_look_for_on_every_master(
    command: Command,
    real_kafka: KafkaServer,
    redis_cluster: LocalRedisCluster,
    space: Space,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = install(real_kafka, redis_cluster, space.prefix, PARTITIONS)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert command("topics", "check").code == 0
    with running(settings), sender(settings, PARTITIONS) as send:
        tenants = {send.partition(f"t-{number}"): f"t-{number}" for number in range(20)}.values()
        send.events(*(run(tenant, "rr-1", 1, "running") for tenant in tenants))
        for tenant in tenants:
            wait_until(partial(explains, command, tenant), WAIT_S, f"the document of {tenant} is there")
        report = json.loads(command("status", "--json").out)
        assert [row["store"]["status"] for row in report["partitions"]] == ["ready"] * PARTITIONS
        tomorrow = time.time_ns() + 25 * 3600 * 10**9
        monkeypatch.setattr(time, "time_ns", lambda: tomorrow)
        overdue = json.loads(command("status", "--overdue", "--json").out)
        assert {row["tenant_id"] for row in overdue} == set(tenants)
    monkeypatch.undo()
    assert check(settings).runs == PARTITIONS
