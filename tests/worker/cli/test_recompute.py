"""`recompute`: what other rules have decided is decided again, and only differences are published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import projections.rules
from tests.installation import Live, a_live_installation
from tests.processes import environment
from tests.servers.ports import KafkaServer, RedisServer
from tests.traffic import operation, run
from tests.worker.cli.conftest import Command, Result


@pytest.fixture(scope="module")
def site(real_kafka: KafkaServer, redis_server: RedisServer) -> Iterator[Live]:
    """One for the module; not held against the fold of its input, which knows of no older rules."""
    with a_live_installation(real_kafka, redis_server) as live:
        yield live


@pytest.fixture
def recompute(command: Command, site: Live, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command on the module's installation."""
    for name, value in environment(site.settings).items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> Result:
        return command("recompute", *arguments)

    return call


def without_review(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older rules: as if a restore of which something is to be reviewed were like any other."""
    others = tuple(row for row in projections.rules._TABLE if row[1].name != "needs_review")
    monkeypatch.setattr(projections.rules, "_TABLE", others)


def decided_by_older_rules(live: Live, tenant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """rr-1 is decided wrongly by older rules, rr-2 as it would be now."""
    with monkeypatch.context() as older:
        without_review(older)
        live.send.steps(
            operation(tenant, "op-1", 1),
            run(tenant, "rr-1", 1, "partial", "op-1"),
            run(tenant, "rr-2", 1, "completed", "op-1"),
        )
        for id in ("rr-1", "rr-2"):
            live.wait_for_state(tenant, id, "completed_proof_incomplete")


def test_only_what_older_rules_decided_otherwise_is_published_and_it_says_why(
    recompute: Any, site: Live, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided_by_older_rules(site, tenant, monkeypatch)
    right = site.document(tenant, "rr-2")

    result = recompute("--tenant", tenant, "--reason", "rules were changed", "--yes", "--json")

    assert result.code == 0
    told = json.loads(result.out)
    assert (told["decided_again"], told["documents_changed"]) == (2, 1)
    assert told["changes_of_state"] == [{"from": "completed_proof_incomplete", "to": "needs_review", "count": 1}]
    assert told["reason"] == "rules were changed"
    corrected = site.document(tenant, "rr-1")
    assert corrected is not None
    assert (corrected["state"], corrected["revision"]) == ("needs_review", 2)
    assert site.document(tenant, "rr-2") == right
    assert [dict(change.headers)["ce_origin"] for change in site.changes(tenant, "rr-1")] == [b"live", b"recompute"]
    assert len(site.documents(tenant, "rr-2")) == 1


def test_a_dry_run_says_what_would_change_and_writes_nothing(
    recompute: Any, site: Live, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided_by_older_rules(site, tenant, monkeypatch)
    orders = len(site.read(site.send.topics.ops))

    result = recompute("--tenant", tenant, "--dry-run")

    assert result.code == 0
    assert result.out.splitlines() == [
        "nothing is written",
        "runs                                         2",
        "documents that would change                  1",
        "changes of state                             1",
        "  completed_proof_incomplete → needs_review  1",
    ]
    assert len(site.read(site.send.topics.ops)) == orders


def test_all_runs_of_all_tenants_get_an_order_each(recompute: Any, site: Live, tenant: str) -> None:
    site.send.events(*(run(tenant, f"rr-{number}", 1) for number in range(30)))
    for number in range(30):
        site.wait_for_state(tenant, f"rr-{number}", "completed_proof_incomplete")
    stored = len(list(site.redis.scan_iter(f"{site.settings.redis.namespace}:*:run:*")))

    told = [json.loads(recompute("--all", "--yes", "--json").out) for _ in range(2)]

    assert [each["decided_again"] for each in told] == [stored, stored]
    assert stored >= 30
    assert told[1]["documents_changed"] == 0


def test_a_run_that_does_not_exist_is_said_not_to(recompute: Any, tenant: str) -> None:
    result = recompute("--tenant", tenant, "--run", "rr-nowhere")
    assert result.code == 1
    assert "restore run rr-nowhere does not exist" in result.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "expected one of --all, --tenant T"),
        (("--all", "--tenant", "t-1"), "expected one of --all, --tenant T"),
        (("--all", "--run", "rr-1"), "expected --tenant with it"),
        (("--tenant", "a/b"), "expected an identifier"),
        (("--all",), "say --yes to go on"),
        (("--all", "--reason", "x" * 1001, "--yes"), "expected at most 1,000"),
    ],
)
def test_wrong_use_is_told_exactly(recompute: Any, arguments: tuple[str, ...], complaint: str) -> None:
    result = recompute(*arguments)
    assert result.code == 2
    assert complaint in " ".join(result.err.replace("│", " ").split())
