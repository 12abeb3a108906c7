"""Each of the seven states is reached on real servers, by the story that leads there."""

from __future__ import annotations

import pytest

from contracts.decision import STATES
from tests.installation import Live
from tests.traffic import Event, operation, run, snapshot

STORIES: dict[str, list[Event]] = {
    "not_executed": [run("t", "rr-1", 1, "draft"), run("t", "rr-1", 2, "previewed")],
    "in_progress": [run("t", "rr-1", 1, "running", "op-1"), operation("t", "op-1", 1, "running", None)],
    "completed_proof_incomplete": [
        operation("t", "op-1", 1, "running", None),
        run("t", "rr-1", 1, "running", "op-1"),
        operation("t", "op-1", 2),
        run("t", "rr-1", 2, "completed", "op-1"),
    ],
    "completed_with_evidence": [
        run("t", "rr-1", 1, "completed", "op-1"),
        operation("t", "op-1", 1),
        snapshot("t", "es-1", 1, "op-1", "generating"),
        snapshot("t", "es-1", 2, "op-1"),
    ],
    "needs_review": [
        operation("t", "op-1", 1),
        run("t", "rr-1", 1, "completed_with_errors", "op-1", counts={"total": 12, "succeeded": 10, "skipped": 2}),
    ],
    "failed": [run("t", "rr-1", 1, "running", "op-1"), operation("t", "op-1", 1, "completed", "failed")],
    "blocked_or_cancelled": [run("t", "rr-1", 1, "queued", "op-1"), operation("t", "op-1", 1, "completed", "blocked")],
}


def test_there_is_a_story_for_each_state() -> None:
    assert set(STORIES) == set(STATES)


@pytest.mark.parametrize("state", STORIES)
def test_a_story_leads_to_its_state(shared: Live, tenant: str, state: str) -> None:
    events = [event.of(tenant) for event in STORIES[state]]
    shared.send.steps(*events)

    revision = len(events) - _before_the_run(events)
    document = shared.wait_for(tenant, "rr-1", lambda document: document["revision"] == revision)

    assert document["state"] == state


def _before_the_run(events: list[Event]) -> int:
    """Events that came before there was a run to take a revision."""
    return next(at for at, event in enumerate(events) if event.entity == "restore_run")


def test_a_change_of_state_is_published_once_with_what_caused_it(shared: Live, tenant: str) -> None:
    shared.send.steps(
        run(tenant, "rr-1", 1, "running", "op-1"),
        operation(tenant, "op-1", 1),
        run(tenant, "rr-1", 2, "completed", "op-1"),
        snapshot(tenant, "es-1", 7, "op-1"),
    )
    shared.wait_for_state(tenant, "rr-1", "completed_with_evidence")

    changes = [dict(change.headers) for change in shared.changes(tenant, "rr-1")]

    assert [(change["ce_id"].decode(), change["ce_tostate"].decode()) for change in changes] == [
        (f"{tenant}/rr-1/1", "in_progress"),
        (f"{tenant}/rr-1/3", "completed_proof_incomplete"),
        (f"{tenant}/rr-1/4", "completed_with_evidence"),
    ]


def test_a_deleted_run_is_gone_from_redis_and_comes_back_counting_on(shared: Live, tenant: str) -> None:
    first = run(tenant, "rr-1", 1, "running")
    shared.send.steps(first, first.deletion(2))
    shared.wait_until_gone(tenant, "rr-1")

    shared.send.steps(run(tenant, "rr-1", 2, "failed"), run(tenant, "rr-1", 3, "completed"))

    document = shared.wait_for_state(tenant, "rr-1", "completed_proof_incomplete")
    assert document["revision"] == 3
    assert len(document["timeline"]) == 1


def test_runs_of_one_tenant_do_not_join_operations_of_another(shared: Live, tenant: str) -> None:
    shared.send.steps(
        run(tenant, "rr-1", 1, "completed", "op-1"),
        operation(f"{tenant}-other", "op-1", 1, "completed", "failed"),
        run(tenant, "rr-1", 2, "completed", "op-1"),
    )
    document = shared.wait_for(tenant, "rr-1", lambda document: document["revision"] == 2)
    assert document["diagnostics"]["inconsistencies"] == ["operation_not_observed"]
