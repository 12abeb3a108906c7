"""`forget`: a source whose sequences fell is heard again; a tenant who has left leaves nothing behind."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contracts.commands import ForgetKind
from contracts.orders import headers_of_order
from tests.consistency import check
from tests.consistency.invariants import last_values
from tests.installation import PARTITIONS, SEEN_WITHIN_S, Live, a_live_installation
from tests.processes import environment
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from tests.traffic import operation, run, sender, snapshot
from tests.worker.cli.conftest import Command, Result
from worker.operators.forgetting import MAX_ROUNDS, Forgetting

Forget = Callable[..., Result]
ROLES = ("restore_runs", "operation_runs", "evidence_snapshots")


@pytest.fixture(scope="module")
def site(real_kafka: KafkaServer, redis_server: RedisServer) -> Iterator[Live]:
    """One for the module; at the end all of it is what its input and its orders ask for."""
    with a_live_installation(real_kafka, redis_server) as live:
        yield live
        check(live.settings)


@pytest.fixture
def forget(command: Command, site: Live, monkeypatch: pytest.MonkeyPatch) -> Forget:
    """The command on the module's installation."""
    for name, value in environment(site.settings).items():
        monkeypatch.setenv(name, value)
    return lambda tenant, *options: command("forget", "--tenant", tenant, "--reason", "a test", *options)


def a_restore(live: Live, tenant: str, sequence: int = 100) -> None:
    """A restore that went well, and of which all is known up to this sequence."""
    live.send.steps(
        operation(tenant, "op-1", sequence),
        run(tenant, "rr-1", sequence, "completed", "op-1"),
        snapshot(tenant, "es-1", sequence, "op-1"),
    )
    live.wait_for_state(tenant, "rr-1", "completed_with_evidence")


def stored(live: Live, tenant: str) -> set[str]:
    """All names in Redis that have the tenant's in them: keys, and members of the indexes."""
    prefix = f"{live.settings.redis.namespace}:{{{live.send.partition(tenant)}}}:"
    names = {key.decode().removeprefix(prefix) for key in live.redis.scan_iter(f"{prefix}*")}
    listed: Any = live.redis.smembers(f"{prefix}records")
    members = {member.decode() for member in listed}
    for index in [name for name in names if name == "deadlines" or name.startswith("unfinished:")]:
        ranked: Any = live.redis.zrange(prefix + index, 0, -1)
        members |= {member.decode() for member in ranked}
    found = names | members
    return {name for name in found if f"{tenant}/" in name or name.startswith((f"runs:{tenant}:", f"runs:{tenant}/"))}


def published(live: Live, tenant: str) -> set[str]:
    """What is left of the tenant in the two compacted topics once they are compacted."""
    topics = live.send.topics
    records = [*live.read(topics.decision_state), *live.read(topics.internal)]
    return {key for key in last_values(records) if f"{tenant}/" in key}


# Sequences


def outcomes(live: Live) -> Counter[str]:
    """How events of sources have ended, as the alert counts them."""
    return Counter(
        {
            outcome: sum(live.worker.count("records_total", topic_role=role, outcome=outcome) for role in ROLES)
            for outcome in ("applied", "stale")
        }
    )


def test_a_source_that_was_restored_from_a_backup_is_stale_until_its_sequences_are_forgotten(
    forget: Forget, site: Live, tenant: str
) -> None:
    a_restore(site, tenant)
    before = outcomes(site)
    site.send.events(run(tenant, "rr-1", 41, "failed", "op-1"), operation(tenant, "op-1", 41, "completed", "failed"))
    site.send.events(snapshot(tenant, "es-1", 41, "op-1", "superseded"))
    wait_until(lambda: outcomes(site)["stale"] - before["stale"] == 3, SEEN_WITHIN_S, "all of it is stale")
    assert outcomes(site)["applied"] == before["applied"], "so of what came in, all is stale: the alert's ratio is 1"
    silently = site.document(tenant, "rr-1")
    changes = len(site.changes(tenant, "rr-1"))

    result = forget(tenant, "--sequences", "--yes", "--json")

    assert result.code == 0
    told = json.loads(result.out)
    assert told["forgotten"] == {"run": 1, "snapshot": 1, "operation": 1}
    assert (told["left"], told["changes_of_state"]) == ({}, [])
    forgotten = site.wait_for(tenant, "rr-1", lambda document: document["revision"] == 5)
    inputs = forgotten["diagnostics"]["inputs"]
    facts = [inputs["restore_run"], inputs["operation_run"], *inputs["evidence_snapshots"]]
    assert [fact["sequence"] for fact in facts] == [None, None, None]
    assert silently is not None
    assert forgotten["state"] == silently["state"] == "completed_with_evidence"
    assert len(site.changes(tenant, "rr-1")) == changes

    site.send.events(run(tenant, "rr-1", 42, "failed", "op-1"))
    assert site.wait_for_state(tenant, "rr-1", "failed")["revision"] == 6


def test_forgotten_deletions_let_their_entities_come_back(forget: Forget, site: Live, tenant: str) -> None:
    a_restore(site, tenant)
    site.send.steps(run(tenant, "rr-1", 100).deletion(101), snapshot(tenant, "es-1", 100, "op-1").deletion(101))
    site.wait_until_gone(tenant, "rr-1")
    assert json.loads(forget(tenant, "--sequences", "--yes", "--json").out)["forgotten"]["deleted-run"] == 1
    site.send.events(run(tenant, "rr-1", 3, "completed", "op-1"))
    assert site.wait_for_state(tenant, "rr-1", "completed_proof_incomplete")["revision"] == 4
    site.send.events(snapshot(tenant, "es-1", 3, "op-1"))
    site.wait_for_state(tenant, "rr-1", "completed_with_evidence")


def test_it_is_right_beside_traffic_of_the_same_tenant(forget: Forget, site: Live, tenant: str) -> None:
    """What comes of orders and events depends on which came first; the module's check at the end says it is right."""
    a_restore(site, tenant, 1)
    stop = threading.Event()

    def send() -> None:
        sequence = 2
        with sender(site.settings, PARTITIONS) as own:
            while not stop.wait(0.01):
                own.events(
                    run(tenant, f"rr-{sequence % 7}", sequence, "completed", f"op-{sequence % 3}"),
                    snapshot(tenant, f"es-{sequence % 5}", sequence, f"op-{sequence % 3}"),
                    operation(tenant, f"op-{sequence % 3}", sequence),
                )
                sequence += 1

    thread = threading.Thread(target=send, name="traffic")
    thread.start()
    try:
        codes = [forget(tenant, "--sequences", "--yes").code for _ in range(2)]
        codes += [forget(tenant, "--everything", "--yes").code]
    finally:
        stop.set()
        thread.join()
    assert codes[:2] == [0, 0]
    assert codes[2] in (0, 1), "whether something came in meanwhile is chance"
    assert forget(tenant, "--everything", "--yes").code == 0
    assert (stored(site, tenant), published(site, tenant)) == (set(), set())


# Everything


def test_of_a_tenant_who_has_left_nothing_is_left(forget: Forget, site: Live, tenant: str) -> None:
    neighbour = f"{tenant}.b"
    for name in (tenant, neighbour):
        a_restore(site, name)
    site.send.events(
        *(run(tenant, f"rr-{n}", 1, "completed", f"op-{n % 3}") for n in range(20)),
        *(snapshot(tenant, f"es-{n}", 1, f"op-{n % 4}", expires_in_ms=10**8) for n in range(20)),
        operation(tenant, "op-never-named", 1),
        operation(tenant, "op-deleted", 1).deletion(2),
        snapshot(tenant, "es-deleted", 1, "op-1").deletion(2),
        run(tenant, "rr-deleted", 1).deletion(2),
    )
    wait_until(lambda: f"deleted-run:{tenant}/rr-deleted" in stored(site, tenant), SEEN_WITHIN_S, "all is stored")
    site.wait_for_state(tenant, "rr-19", "completed_with_evidence")
    others = stored(site, neighbour)

    result = forget(tenant, "--everything", "--yes", "--json")

    assert (result.code, json.loads(result.out)["left"]) == (0, {})
    assert (stored(site, tenant), published(site, tenant)) == (set(), set())
    assert stored(site, neighbour) == others
    last = json.loads(site.changes(tenant, "rr-1")[-1].value or b"")
    assert (last["to_state"], last["severity"], last["origin"]) == (None, "info", "recompute")
    removed = {(c["from"], c["to"]): c["count"] for c in json.loads(result.out)["changes_of_state"]}
    assert sum(removed.values()) == json.loads(result.out)["forgotten"]["run"] == 20
    assert {to for _, to in removed} == {"removed"}

    again = forget(tenant, "--everything", "--json")
    assert (again.code, json.loads(again.out)["forgotten"]) == (0, {})

    site.send.events(run(tenant, "rr-1", 1))
    assert site.wait_for_state(tenant, "rr-1", "completed_proof_incomplete")["revision"] == 1


def test_while_a_source_still_sends_it_is_said_what_is_left(
    forget: Forget, site: Live, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_restore(site, tenant)
    rightly = Forgetting.left
    rounds = []

    def left(self: Forgetting, tell: Any) -> Counter[ForgetKind]:
        rounds.append(rightly(self, tell))
        site.send.events(run(tenant, "rr-new", 1))
        site.wait_for_state(tenant, "rr-new", "completed_proof_incomplete")
        return self._records.count()

    monkeypatch.setattr(Forgetting, "left", left)
    result = forget(tenant, "--everything", "--yes")
    assert result.code == 1
    assert f"something still sends for tenant {tenant}" in result.err
    assert [sum(found.values()) for found in rounds] == [0] * MAX_ROUNDS


# Before and in the middle


def test_a_dry_run_says_how_much_there_is_and_writes_nothing(forget: Forget, site: Live, tenant: str) -> None:
    a_restore(site, tenant)
    orders = len(site.read(site.send.topics.ops))
    result = forget(tenant, "--everything", "--dry-run")
    assert result.code == 0
    assert result.out.splitlines() == [
        "nothing is written",
        "restore runs          1",
        "deleted restore runs  0",
        "evidence snapshots    1",
        "operations            1",
    ]
    told = json.loads(forget(tenant, "--sequences", "--dry-run", "--json").out)
    assert told["stored"] == {"run": 1, "deleted-run": 0, "snapshot": 1, "operation": 1}
    assert len(site.read(site.send.topics.ops)) == orders


def test_every_order_says_who_asked_and_why(forget: Forget, site: Live, tenant: str) -> None:
    a_restore(site, tenant)
    told = json.loads(forget(tenant, "--sequences", "--yes", "--actor", "ada", "--json").out)
    found = [headers_of_order(r) for r in site.read(site.send.topics.ops) if r.key == tenant.encode()]
    assert {(h["op"], h["actor"], h["reason"], h["request"].decode()) for h in found} == {
        (b"forget", b"ada", b"a test", told["request"])
    }
    assert len(found) == 3


def test_ctrl_c_says_what_was_done_and_how_to_go_on(
    forget: Forget, site: Live, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_restore(site, tenant)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("worker.operators.forgetting.wait_until_taken", interrupted)
        result = forget(tenant, "--everything", "--yes")
    assert result.code == 130
    assert "ended after 3 orders" in result.err
    assert "Traceback" not in result.err
    assert forget(tenant, "--everything", "--yes").code == 0
    assert (stored(site, tenant), published(site, tenant)) == (set(), set())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "expected one of the two"),
        (("--sequences", "--everything"), "expected one of the two"),
        (("--everything",), "Nobody can be asked here: say --yes"),
        (("--tenant", "a/b", "--everything"), "expected an identifier"),
    ],
)
def test_wrong_use_is_told_exactly(
    forget: Forget, site: Live, tenant: str, options: tuple[str, ...], complaint: str
) -> None:
    site.send.events(run(tenant, "rr-1", 1))
    site.wait_for_state(tenant, "rr-1", "completed_proof_incomplete")
    result = forget(tenant, *options)
    assert result.code == 2
    assert complaint in " ".join(result.err.replace("│", " ").split())


def test_a_reason_has_to_be_given(command: Command) -> None:
    result = command("forget", "--tenant", "t-1", "--everything")
    assert result.code == 2
    assert "--reason" in result.err
