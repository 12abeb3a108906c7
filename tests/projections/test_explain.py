"""An explanation cannot disagree with the decision, and what it says would have to become true is enough."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, cast

import pytest
from hypothesis import given

from contracts.decision import FORBIDDEN_CLAIMS, State, encode
from contracts.explanation import Explanation
from contracts.facts import COUNT_NAMES, Counts, Facts, Source, facts_to_json
from contracts.times import format_time
from contracts.wire import MAX_COUNT, read_inputs
from projections import cases
from projections.document import describe
from projections.explain import ASPECTS, IN_WORDS, LOOKS_AT, explain
from projections.inconsistencies import INCONSISTENCIES
from projections.rules import RULES, decide
from projections.situation import situate
from projections.ways import better_states
from tests.projections.given import COMPLETED_AT, DELETED, MINUTE_MS, PROVEN, a_run, a_snapshot, an_operation, facts
from tests.projections.test_rules_generated import any_facts

NOW = COMPLETED_AT + 10 * MINUTE_MS


def a_document(known: Facts, **changes: Any) -> dict[str, Any]:
    """The state document of these facts, decided a minute after the completion."""
    rule, at = decide(known), format_time(COMPLETED_AT + MINUTE_MS)
    return {
        "schema": "restore.decision-state/1",
        "tenant_id": known.run.tenant_id,
        "restore_run_id": known.run.id,
        "operation_run_id": known.run.operation_run_id,
        "revision": 1,
        "state": rule.state,
        "previous_state": None,
        **describe(known, rule),
        "timeline": [{"revision": 1, "state": rule.state, "changed_at": at}],
        "policy": 1,
        "changed_at": at,
        "updated_at": at,
        **changes,
    }


def explained(known: Facts, **changes: Any) -> dict[str, Any]:
    return explain(a_document(known, **changes), NOW)


def some_cases(every: Callable[[], Iterator[Facts]], step: int) -> Iterator[Facts]:
    return islice(every(), 0, None, step)


SAMPLE = tuple(
    chain(
        some_cases(cases.every_case, 997),
        some_cases(cases.every_count_case, 997),
        some_cases(cases.every_evidence_case, 101),
    )
)
"""Steps are primes, so that everything that the lists vary comes up."""


def after(known: Facts, edits: list[dict[str, Any]]) -> State:
    """What is decided when these edits are made to the inputs as they are in the document, and those are read again."""
    inputs = facts_to_json(known)
    for edit in edits:
        apply_edit(inputs, edit)
    return decide(read_inputs(inputs)).state


def apply_edit(inputs: dict[str, Any], edit: Mapping[str, Any]) -> None:
    """As a program of somebody else would, from nothing but what `contracts.explanation` says."""
    if edit["field"] == "unreadable":
        assert (edit["from"], edit["to"]) == (True, False)
        inputs["unreadable"].remove(f"{edit['entity']}/{edit['id']}")
        return
    entity = find(inputs, edit["entity"], edit["id"])
    *path, name = edit["field"].split(".")
    for part in path:
        entity = entity[part]
    assert entity.get(name) == edit["from"]
    entity[name] = edit["to"]


def find(inputs: dict[str, Any], entity: str, id: str) -> dict[str, Any]:
    """The entity in the inputs, put there if it is new."""
    if entity != "evidence_snapshot":
        found: dict[str, Any] = inputs[entity]
        assert found["id"] == id
        return found
    for snapshot in inputs["evidence_snapshots"]:
        if snapshot["id"] == id:
            break
    else:
        snapshot = {"id": id}
        inputs["evidence_snapshots"].append(snapshot)
    return cast("dict[str, Any]", snapshot)


def edits_of(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [edit for step in steps for edit in step["edits"]]


def check_the_ways(known: Facts, explanation: dict[str, Any]) -> None:
    """What would have to become true gives that state, and no part of it does."""
    for better in explanation["better_states"]:
        steps = better["steps"]
        assert after(known, edits_of(steps)) == better["state"]
        for left_out in range(len(steps)):
            rest = [*steps[:left_out], *steps[left_out + 1 :]]
            assert after(known, edits_of(rest)) != better["state"], steps[left_out]["words"]


def check_that_no_way_is_missing(explanation: dict[str, Any]) -> None:
    """Each better state has its way, unless it would need current evidence to go."""
    listed = [better["state"] for better in explanation["better_states"]]
    missing = [state for state in better_states(explanation["state"]) if state not in listed]
    if missing:
        assert missing == ["completed_proof_incomplete"]
        best = explanation["better_states"][-1]
        assert best["state"] == "completed_with_evidence"
        assert not any(
            edit["entity"] == "evidence_snapshot" and edit["field"] != "unreadable" for edit in edits_of(best["steps"])
        )


def check_the_words(explanation: dict[str, Any]) -> None:
    """Nothing that may not be said, and no blank that nothing filled."""
    words = {**explanation, "claims": explanation["claims"]["allowed"], "facts": None}
    texts = [text for text in texts_of(words) if " " in text]
    for text in texts:
        assert not any(claim.lower() in text.lower() for claim in FORBIDDEN_CLAIMS), text
        assert not re.search(r"\bNone\b|[{}]|  ", text), text


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)


def check_the_shape(explanation: dict[str, Any]) -> None:
    """That of the contract, in its order."""
    text = Explanation.model_validate(explanation).model_dump_json(by_alias=True)
    assert json.loads(text) == json.loads(encode(explanation))
    assert list(json.loads(text)) == list(explanation)


def check(known: Facts) -> None:
    explanation = explained(known)
    check_the_ways(known, explanation)
    check_that_no_way_is_missing(explanation)
    check_the_words(explanation)
    check_the_shape(explanation)


def test_ways_words_and_shape_are_right_for_every_kind_of_case() -> None:
    for known in SAMPLE:
        check(known)


def is_countable(known: Facts) -> bool:
    """Its counts are such as come in; others would not be read again."""
    return all((getattr(known.run.counts, name) or 0) <= MAX_COUNT for name in COUNT_NAMES)


@given(any_facts().filter(is_countable))
def test_ways_words_and_shape_are_right_for_any_facts(known: Facts) -> None:
    check(known)


def test_the_deciding_rule_is_the_first_that_holds_and_those_before_it_are_the_tables() -> None:
    for known in SAMPLE:
        explanation = explained(known)
        names = [rule["name"] for rule in explanation["rules_before"]]
        assert [*names, explanation["rule"]["name"]] == [rule.name for rule in RULES[: explanation["rule"]["number"]]]
        assert explanation["rule"]["name"] == decide(known).name
        assert not any(rule.holds(situate(known)) for rule in RULES[: len(names)])


def test_why_a_rule_did_not_hold_says_all_that_the_rule_looks_at() -> None:
    """Situations that are told in the same words are the same to the rule."""
    told: dict[tuple[str, ...], bool] = {}
    for known in chain(some_cases(cases.every_case, 131), some_cases(cases.every_evidence_case, 7)):
        situation = situate(known)
        words = {name: aspect(situation) for name, aspect in ASPECTS.items()}
        for rule in RULES:
            looked_at = (rule.name, *(words[name] for name in LOOKS_AT[rule.name]))
            assert told.setdefault(looked_at, rule.holds(situation)) == rule.holds(situation), looked_at


def test_every_rule_and_every_inconsistency_has_words() -> None:
    assert list(LOOKS_AT) == [rule.name for rule in RULES]
    assert list(IN_WORDS) == [row.code for row in INCONSISTENCIES]


def test_inconsistencies_are_those_of_the_document() -> None:
    for known in SAMPLE:
        document = a_document(known)
        codes = [found["code"] for found in explain(document, NOW)["inconsistencies"]]
        assert codes == document["diagnostics"]["inconsistencies"]


def words_to(state: State, known: Facts) -> list[str]:
    ways = {better["state"]: better["steps"] for better in explained(known)["better_states"]}
    return [step["words"] for step in ways[state]]


def test_nothing_is_better_than_evidence() -> None:
    assert explained(PROVEN)["better_states"] == []


def test_no_bad_news_is_called_better() -> None:
    draft = facts(a_run("draft", operation_run_id=None, counts=Counts()), None)

    states = [better["state"] for better in explained(draft)["better_states"]]

    assert states == ["in_progress", "completed_proof_incomplete", "completed_with_evidence"]


def test_a_run_under_way_has_to_complete_and_so_has_its_operation() -> None:
    assert words_to("completed_proof_incomplete", facts(a_run("running"), an_operation("running", "pending"))) == [
        "The status of operation op-1 becomes completed; it is running.",
        "The status of restore run rr-1 becomes completed; it is running.",
    ]


def test_evidence_that_is_being_generated_is_waited_for() -> None:
    generating = facts(a_run(), an_operation(), a_snapshot("es-1", "failed"), a_snapshot("es-2", "generating"))

    assert words_to("completed_with_evidence", generating) == [
        "Evidence snapshot es-2 becomes active, not older than its operation's completion; it is generating."
    ]


def test_evidence_whose_time_is_over_before_it_is_finished_is_not_waited_for() -> None:
    late = facts(a_run(), an_operation(), a_snapshot("es-1", "generating", expires_at=NOW))

    assert words_to("completed_with_evidence", late) == [
        "A snapshot of operation op-1 appears that is active and not older than the operation's completion."
    ]


def test_evidence_from_before_the_completion_will_not_do() -> None:
    """The operation will complete later than now, so the snapshot that there is will be older than that."""
    early = facts(a_run("running"), an_operation("running", "pending"), a_snapshot("es-1", minute=-5))

    assert len(words_to("completed_proof_incomplete", early)) == 2
    assert words_to("completed_with_evidence", early)[2] == (
        "A snapshot of operation op-1 appears that is active and not older than the operation's completion."
    )


def test_what_was_skipped_and_what_is_not_accounted_for_has_to_change() -> None:
    incomplete = facts(a_run(counts=Counts(12, 9, 0, 2, 0, 1)), an_operation(), a_snapshot())

    assert words_to("completed_with_evidence", incomplete) == [
        "The counts of restore run rr-1 change: succeeded 9 → 12, skipped 2 → 0, not applied 1 → 0."
    ]


def test_under_a_deleted_operation_another_one_is_needed() -> None:
    assert words_to("completed_with_evidence", facts(a_run(), DELETED, a_snapshot())) == [
        "Restore run rr-1 names another operation, say new-operation; it names op-1, which was deleted.",
        "A snapshot of operation new-operation appears that is active and not older than the operation's completion.",
    ]


def test_identifiers_that_stand_for_unknown_ones_are_never_those_of_known_ones() -> None:
    taken = facts(a_run(operation_run_id="new-operation"), None, a_snapshot("new-snapshot", "failed"))
    taken = taken._replace(evidence=(taken.evidence[0]._replace(operation_run_id="new-operation"),))
    deleted = taken._replace(operation=DELETED._replace(id="new-operation"))

    for known in (taken, deleted):
        edits = edits_of(explained(known)["better_states"][-1]["steps"])
        assert {edit["id"] for edit in edits if edit["entity"] == "evidence_snapshot"} == {"new-snapshot-2"}


def test_what_could_not_be_read_has_to_be_sent_again() -> None:
    unreadable = facts(a_run(), an_operation(), a_snapshot(), unreadable="evidence_snapshot/es-9")

    (better,) = explained(unreadable)["better_states"]

    assert better["steps"] == [
        {
            "words": "A readable event comes of evidence_snapshot/es-9.",
            "correction": False,
            "edits": [{"entity": "evidence_snapshot", "id": "es-9", "field": "unreadable", "from": True, "to": False}],
        }
    ]


@pytest.mark.parametrize(("status", "correction"), [("running", False), ("failed", True)])
def test_what_was_final_is_only_changed_by_a_correction(status: str, correction: bool) -> None:
    known = facts(a_run(status, counts=Counts(12, 9)), None)

    steps = explained(known)["better_states"][-1]["steps"]

    assert [step["correction"] for step in steps[:2]] == [correction, correction]
    assert steps[-1]["correction"] is False


def test_a_fact_has_its_source_and_an_age() -> None:
    source = Source("restore.restore-runs.v1", 3, 125, NOW - 90_000)
    known = facts(a_run(sequence=7, source=source), an_operation()._replace(source=source._replace(timestamp=NOW + 5)))

    run, operation = explained(known)["facts"]

    assert (run["entity"], run["id"], run["sequence"], run["age_ms"]) == ("restore_run", "rr-1", 7, 90_000)
    assert run["source"] == {
        "topic": "restore.restore-runs.v1", "partition": 3, "offset": 125, "timestamp": NOW - 90_000,
    }  # fmt: skip
    assert run["fields"]["status"] == "completed"
    assert operation["age_ms"] == 0  # stamped by a clock that is ahead of ours


def test_a_fact_of_unknown_source_has_no_age_and_one_that_is_only_marked_no_fields() -> None:
    *_, marked = explained(facts(a_run(), None, unreadable="operation_run/op-1"))["facts"]

    assert marked == {
        "entity": "operation_run", "id": "op-1", "fields": None, "sequence": None, "source": None, "age_ms": None,
        "unreadable": True,
    }  # fmt: skip
    assert explained(facts(a_run(), None))["facts"][0]["age_ms"] is None


def test_the_timeline_is_the_documents_with_ages() -> None:
    (moment,) = explained(PROVEN)["timeline"]

    assert moment == {
        "revision": 1,
        "state": "completed_with_evidence",
        "changed_at": "2026-11-01T10:01:00.000Z",
        "status": "Completed with evidence available",
        "age_ms": 9 * MINUTE_MS,
    }


def test_a_document_that_was_decided_otherwise_is_told_from_this_decision() -> None:
    old = a_document(PROVEN, state="needs_review", policy=7)

    assert explain(old, NOW)["state"] == "completed_with_evidence"
    assert explain(old, NOW)["stored"] == {"state": "needs_review", "rule": "evidence_current", "policy": 7}
    assert explained(PROVEN)["stored"] is None
