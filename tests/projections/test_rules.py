"""The rules, row by row, and where each stands."""

from __future__ import annotations

import pytest

from contracts.facts import Counts, Facts
from projections.document import describe
from projections.rules import RULES, UNFINISHED, Rule, decide, is_unfinished
from tests.projections.given import DELETED, PROVEN, a_run, a_snapshot, an_operation, facts


def test_the_rows_stand_in_the_order_of_the_interfaces() -> None:
    assert [(rule.name, rule.state) for rule in RULES] == [
        ("dry_run", "not_executed"),
        ("run_failed", "failed"),
        ("operation_failed", "failed"),
        ("operation_active", "in_progress"),
        ("run_cancelled", "blocked_or_cancelled"),
        ("operation_blocked", "blocked_or_cancelled"),
        ("run_active", "in_progress"),
        ("run_behind_operation", "in_progress"),
        ("pre_execution", "not_executed"),
        ("needs_review", "needs_review"),
        ("input_unreadable", "completed_proof_incomplete"),
        ("evidence_current", "completed_with_evidence"),
        ("evidence_missing", "completed_proof_incomplete"),
        ("operation_unlinked", "completed_proof_incomplete"),
    ]


def test_something_is_awaited_where_a_restore_is_not_at_its_end() -> None:
    """A dry run is at its end, though it is shown in the state of one that is still being prepared."""
    assert {rule.name for rule in RULES if rule.awaits} == {
        "operation_active",
        "run_active",
        "run_behind_operation",
        "pre_execution",
        "input_unreadable",
        "evidence_missing",
        "operation_unlinked",
    }
    assert UNFINISHED == ("not_executed", "in_progress", "completed_proof_incomplete")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_document_alone_says_whether_something_is_awaited(rule: Rule) -> None:
    assert is_unfinished({"state": rule.state, "diagnostics": {"rule": rule.name}}) == (rule.awaits is not None)


@pytest.mark.parametrize(("state", "unfinished"), [("in_progress", True), ("failed", False)])
def test_of_another_policys_rule_the_state_says_whether_something_is_awaited(state: str, unfinished: bool) -> None:
    assert is_unfinished({"state": state, "diagnostics": {"rule": "a_rule_of_later"}}) == unfinished


NO_OPERATION = {"operation_run_id": None}

EXAMPLES: dict[str, tuple[Facts, str]] = {
    "a dry run is not executed, even one that failed": (
        facts(a_run("failed", is_dry_run=True), an_operation(outcome="failed")),
        "dry_run",
    ),
    "failure goes before a running operation": (facts(a_run("failed"), an_operation("running", None)), "run_failed"),
    "a failed operation outweighs a completed run": (
        facts(a_run(), an_operation(outcome="failed")),
        "operation_failed",
    ),
    "a deleted operation's failure still counts": (
        facts(a_run(), DELETED._replace(outcome="failed")),
        "operation_failed",
    ),
    "a run that is completed waits for its running operation": (
        facts(a_run(), an_operation("running", "pending")),
        "operation_active",
    ),
    "a deleted operation does not run any more": (
        facts(a_run(), DELETED._replace(status="running")),
        "operation_unlinked",
    ),
    "a cancelled run under a running operation is still in progress": (
        facts(a_run("cancelled"), an_operation("running", None)),
        "operation_active",
    ),
    "a cancelled run is cancelled, whatever its operation came to": (
        facts(a_run("cancelled"), an_operation(outcome="succeeded")),
        "run_cancelled",
    ),
    "a blocked operation blocks a completed run": (
        facts(a_run(), an_operation(outcome="blocked")),
        "operation_blocked",
    ),
    "a cancelled operation blocks a running run": (
        facts(a_run("running"), an_operation(outcome="cancelled")),
        "operation_blocked",
    ),
    "a cancelled operation under a completed run is for review": (
        facts(a_run(), an_operation(outcome="cancelled"), a_snapshot()),
        "needs_review",
    ),
    "a deleted operation's cancellation is for review too": (
        facts(a_run(), DELETED._replace(outcome="cancelled")),
        "needs_review",
    ),
    "a running run needs no operation": (facts(a_run("running", **NO_OPERATION), None), "run_active"),
    "a running run is not done before it says so": (facts(a_run("running"), an_operation()), "run_active"),
    "a draft with a completed operation was executed": (facts(a_run("draft"), an_operation()), "run_behind_operation"),
    "a draft with an unseen operation was not": (facts(a_run("draft"), None), "pre_execution"),
    "a draft with a deleted operation was not": (facts(a_run("draft"), DELETED), "pre_execution"),
    "a partial run is for review": (facts(a_run("partial"), an_operation(), a_snapshot()), "needs_review"),
    "skipped items are for review": (
        facts(a_run(counts=Counts(skipped=1)), an_operation(), a_snapshot()),
        "needs_review",
    ),
    "a source's own doubt is for review": (
        facts(a_run(attention="not_executed"), an_operation(), a_snapshot()),
        "needs_review",
    ),
    "review goes before what could not be read": (
        facts(a_run("partial"), an_operation(), unreadable="restore_run/rr-1"),
        "needs_review",
    ),
    "what could not be read goes before evidence": (
        facts(a_run(), an_operation(), a_snapshot(), unreadable="evidence_snapshot/es-2"),
        "input_unreadable",
    ),
    "with current evidence": (PROVEN, "evidence_current"),
    "evidence of an operation that was never seen": (facts(a_run(), None, a_snapshot()), "evidence_current"),
    "without evidence": (facts(a_run(), an_operation()), "evidence_missing"),
    "without any operation": (facts(a_run(**NO_OPERATION), None), "operation_unlinked"),
    "with a deleted operation": (facts(a_run(), DELETED, a_snapshot()), "operation_unlinked"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str) -> None:
    given, expected = EXAMPLES[name]
    assert decide(given).name == expected


def test_an_operation_that_the_run_does_not_name_is_nothing_to_it() -> None:
    failed = an_operation(outcome="failed")
    for operation in (failed._replace(id="op-2"), failed._replace(tenant_id="t-2")):
        assert decide(facts(a_run(), operation)).name == "evidence_missing"
        assert decide(facts(a_run(**NO_OPERATION), operation)).name == "operation_unlinked"


SENTENCES: dict[str, tuple[Facts, list[str]]] = {
    "dry run": (facts(a_run(is_dry_run=True), None), ["The restore run is a dry run."]),
    "outcome of a deleted operation": (
        facts(a_run("running"), DELETED._replace(outcome="cancelled")),
        [
            "The outcome of operation op-1 is cancelled.",
            "That operation was deleted; its last outcome still counts.",
            "The restore run's status is running.",
        ],
    ),
    "operation ahead": (
        facts(a_run("checked"), an_operation()),
        ["The restore run's status is checked.", "The status of operation op-1 is completed."],
    ),
    "review, every ground": (
        facts(
            a_run("completed_with_errors", counts=Counts(12, 7, 2, 1, 1, 1), attention="partial"),
            an_operation(outcome="partially_succeeded"),
        ),
        [
            "The restore run's status is completed_with_errors.",
            "The outcome of operation op-1 is partially_succeeded.",
            "The run's counts say: 2 failed, 1 skipped, 1 partial, 1 not applied.",
            "The run's counts say: 12 in total, 7 succeeded.",
            "The given result attention is partial.",
        ],
    ),
    "evidence": (
        PROVEN,
        [
            "The restore run's status is completed.",
            "It names operation op-1.",
            "Evidence snapshot es-1 is active, of the same operation, and not older than its completion.",
        ],
    ),
    "evidence, operation unseen": (
        facts(a_run(), None, a_snapshot()),
        [
            "The restore run's status is completed.",
            "It names operation op-1, of which nothing was seen yet.",
            "Evidence snapshot es-1 is active, of the same operation, and not known to be older than its completion.",
        ],
    ),
    "evidence expired": (
        facts(a_run(), an_operation(), a_snapshot(expired=True)),
        [
            "The restore run's status is completed.",
            "It names operation op-1.",
            "The newest evidence snapshot, es-1, has expired.",
        ],
    ),
    "unreadable": (
        facts(a_run(), an_operation(), a_snapshot(), unreadable="operation_run/op-1"),
        [
            "The restore run's status is completed.",
            "The newest event of operation_run/op-1 could not be read.",
        ],
    ),
    "deleted": (
        facts(a_run(), DELETED),
        ["The restore run's status is completed.", "It names operation op-1, which was deleted."],
    ),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_decision_says_which_facts_made_it(name: str) -> None:
    given, expected = SENTENCES[name]
    assert describe(given, decide(given))["diagnostics"]["because"] == expected
