"""The forms in which events may come all say the same."""

from __future__ import annotations

import json

import pytest

from contracts.times import format_time
from tests.installation import Live
from tests.traffic import FORMS, Form, Message, change_event, encode, message, now_ms, operation, run, snapshot

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_tells_the_same_story(shared: Live, tenant: str, form: Form) -> None:
    shared.send.steps(
        run(tenant, "rr-1", 1, "running", "op-1", result_attention=None),
        operation(tenant, "op-1", 1, completed_at="2026-11-01T10:00:00Z"),
        snapshot(tenant, "es-1", 1, "op-1", generated_at="2026-11-01T12:01:00.1239+02:00"),
        run(tenant, "rr-1", 2, "completed", "op-1", result_attention={"state": "completed"}),
        form=form,
    )
    document = shared.wait_for_state(tenant, "rr-1", "completed_with_evidence")

    assert document["revision"] == 4
    assert document["result_summary"]["text"] == "12 items: 12 succeeded"
    inputs = document["diagnostics"]["inputs"]
    assert inputs["restore_run"]["result_attention"] == {"state": "completed"}
    assert inputs["restore_run"]["sequence"] == 2
    assert inputs["evidence_snapshots"][0]["generated_at"] == "2026-11-01T10:01:00.123Z"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_tells_of_deletions(shared: Live, tenant: str, form: Form) -> None:
    linked = run(tenant, "rr-1", 1, "completed", "op-1")
    proof, evidence = operation(tenant, "op-1", 1), snapshot(tenant, "es-1", 1, "op-1")
    shared.send.steps(proof, evidence, linked)
    shared.wait_for_state(tenant, "rr-1", "completed_with_evidence")

    shared.send.steps(evidence.deletion(2), proof.deletion(2), form=form)
    document = shared.wait_for(tenant, "rr-1", lambda d: d["diagnostics"]["rule"] == "operation_unlinked")
    assert document["revision"] == 3
    assert document["diagnostics"]["inconsistencies"] == ["operation_deleted"]

    shared.send.steps(linked.deletion(2), form=form)
    shared.wait_until_gone(tenant, "rr-1")


@pytest.mark.parametrize("op", ["c", "u", "r"])
def test_debezium_rows_count_whether_created_updated_or_read(shared: Live, tenant: str, op: str) -> None:
    event = run(tenant, "rr-1", 1, "draft")
    shared.send.messages(
        [Message(shared.send.topics.restore_runs, tenant.encode(), encode(change_event(event, op)), [])]
    )
    shared.wait_for_state(tenant, "rr-1", "not_executed")


def test_without_a_revision_the_position_in_the_database_orders_changes(shared: Live, tenant: str) -> None:
    def row(lsn: int, status: str) -> Message:
        change = change_event(run(tenant, "rr-1", 0, status))
        del change["after"]["revision"]
        change["source"]["lsn"] = lsn
        return Message(shared.send.topics.restore_runs, tenant.encode(), encode(change), [])

    shared.send.messages([row(900, "failed"), row(800, "running"), row(1000, "completed")])

    document = shared.wait_for_state(tenant, "rr-1", "completed_proof_incomplete")
    assert document["previous_state"] == "failed"
    assert document["revision"] == 2
    assert document["diagnostics"]["inputs"]["restore_run"]["sequence"] == 1000


def test_names_of_headers_and_media_types_may_be_in_any_case(shared: Live, tenant: str) -> None:
    one = message(run(tenant, "rr-1", 1, "draft"), shared.send.topics)
    shouted = [(name.upper(), value) for name, value in one.headers if name != "content-type"]
    shared.send.messages(
        [Message(one.topic, one.key, one.value, [*shouted, ("Content-Type", b"Application/JSON; charset=UTF-8")])]
    )
    shared.wait_for_state(tenant, "rr-1", "not_executed")


def test_a_null_value_says_nothing(shared: Live, tenant: str) -> None:
    topics = shared.send.topics
    before = shared.worker.count("records_total", topic_role="restore_runs", outcome="ignored")
    shared.send.events(run(tenant, "rr-1", 1, "draft"))
    shared.send.messages([Message(topics.restore_runs, tenant.encode(), None, [])])
    shared.send.events(run(tenant, "rr-1", 2, "draft"))

    document = shared.wait_for(tenant, "rr-1", lambda d: d["diagnostics"]["inputs"]["restore_run"]["sequence"] == 2)
    assert document["revision"] == 2
    assert shared.worker.count("records_total", topic_role="restore_runs", outcome="ignored") == before + 1


def test_older_and_equal_events_change_nothing(shared: Live, tenant: str) -> None:
    newest = run(tenant, "rr-1", 5, "failed")
    shared.send.events(newest, run(tenant, "rr-1", 4, "completed"), newest, run(tenant, "rr-1", 6, "failed"))

    document = shared.wait_for(tenant, "rr-1", lambda d: d["diagnostics"]["inputs"]["restore_run"]["sequence"] == 6)
    assert document["revision"] == 2
    assert len(shared.changes(tenant, "rr-1")) == 1


@pytest.mark.parametrize("header", ["traceparent", "ce_traceparent"])
def test_the_trace_of_the_cause_is_on_both_outputs(shared: Live, tenant: str, header: str) -> None:
    one = message(run(tenant, "rr-1", 1, "draft"), shared.send.topics)
    shared.send.messages([Message(one.topic, one.key, one.value, [*one.headers, (header, TRACE.encode())])])
    shared.wait_for_state(tenant, "rr-1", "not_executed")

    assert [dict(change.headers)["traceparent"] for change in shared.changes(tenant, "rr-1")] == [TRACE.encode()]
    assert [dict(document.headers)["traceparent"] for document in shared.documents(tenant, "rr-1")] == [TRACE.encode()]


def test_the_trace_of_a_deletion_is_on_both_outputs(shared: Live, tenant: str) -> None:
    event = run(tenant, "rr-1", 1, "draft")
    shared.send.events(event.traced(TRACE.replace("01", "00")))
    shared.send.events(event.deletion(2).traced(TRACE))
    shared.wait_until_gone(tenant, "rr-1")

    assert dict(shared.changes(tenant, "rr-1")[-1].headers)["traceparent"] == TRACE.encode()
    assert dict(shared.documents(tenant, "rr-1")[-1].headers)["traceparent"] == TRACE.encode()


def test_evidence_expires_when_its_time_comes_and_nothing_else_happens(shared: Live, tenant: str) -> None:
    expires_at = format_time(now_ms() + 1_500)
    shared.send.steps(
        operation(tenant, "op-1", 1),
        run(tenant, "rr-1", 1, "completed", "op-1"),
        snapshot(tenant, "es-1", 3, "op-1", expires_at=expires_at),
    )
    shared.wait_for_state(tenant, "rr-1", "completed_with_evidence")

    document = shared.wait_for_state(tenant, "rr-1", "completed_proof_incomplete")

    assert document["changed_at"] == document["updated_at"] == expires_at
    assert document["post_run_evidence"]["cause"] == "expired"
    change = shared.changes(tenant, "rr-1")[-1]
    assert dict(change.headers)["ce_origin"] == b"deadline"
    assert json.loads(change.value or b"")["cause"] == {"entity": "evidence_snapshot", "id": "es-1", "sequence": 3}


def test_evidence_that_comes_expired_never_counts(shared: Live, tenant: str) -> None:
    shared.send.steps(
        operation(tenant, "op-1", 1),
        run(tenant, "rr-1", 1, "completed", "op-1"),
        snapshot(tenant, "es-1", 1, "op-1", expires_in_ms=-1),
    )
    document = shared.wait_for(tenant, "rr-1", lambda d: d["revision"] == 2)
    assert document["state"] == "completed_proof_incomplete"
    assert document["post_run_evidence"]["cause"] == "expired"
