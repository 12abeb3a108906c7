"""Facts as they may come, at random: what holds for the listed cases holds for all."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from contracts.decision import decode, encode
from contracts.facts import (
    ATTENTION_STATES,
    COUNT_NAMES,
    OPERATION_STATUSES,
    OUTCOMES,
    RUN_STATUSES,
    SNAPSHOT_STATUSES,
    Counts,
    EvidenceSnapshot,
    Facts,
    OperationRun,
    RestoreRun,
)
from projections.document import describe
from projections.rules import decide
from tests.projections import never_more_than_proven, second_opinion

IDS = st.sampled_from(["a", "B", "op-1", "op-2"])
TENANTS = st.sampled_from(["t-1", "t-1", "t-1", "t-2"])
TIMES = st.none() | st.integers(1_793_520_000_000, 1_793_520_000_004)
"""Close together, so that before, at and after all come up."""
COUNTS = st.builds(Counts, **dict.fromkeys(COUNT_NAMES, st.none() | st.integers(0, 3) | st.integers(0, 2**53)))
RUNS = st.builds(
    RestoreRun,
    id=IDS,
    tenant_id=st.just("t-1"),
    status=st.sampled_from(RUN_STATUSES) | st.just("completed"),
    is_dry_run=st.sampled_from([False, False, False, True]),
    operation_run_id=st.none() | IDS,
    counts=COUNTS | st.integers(0, 3).map(Counts),
    attention=st.none() | st.sampled_from(ATTENTION_STATES),
    updated_at=TIMES,
    sequence=st.none(),
    source=st.none(),
)
OPERATIONS = st.builds(
    OperationRun,
    id=IDS,
    tenant_id=TENANTS,
    status=st.sampled_from(OPERATION_STATUSES),
    outcome=st.none() | st.sampled_from(OUTCOMES),
    started_at=st.none(),
    completed_at=TIMES,
    deleted=st.booleans(),
    sequence=st.none(),
    source=st.none(),
)
SNAPSHOTS = st.builds(
    EvidenceSnapshot,
    id=IDS,
    tenant_id=TENANTS,
    status=st.sampled_from(SNAPSHOT_STATUSES) | st.just("active"),
    operation_run_id=st.none() | IDS,
    generated_at=TIMES,
    expires_at=TIMES,
    expired=st.booleans(),
    sequence=st.none(),
    source=st.none(),
)


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    """Mostly facts that belong together, now and then some that do not; snapshot ids are unique."""
    run = draw(RUNS)
    operation = draw(st.none() | OPERATIONS)
    if operation is not None and run.operation_run_id is not None and draw(st.integers(0, 5)):
        operation = operation._replace(id=run.operation_run_id, tenant_id=run.tenant_id)
    evidence = draw(st.lists(SNAPSHOTS, max_size=4, unique_by=lambda s: s.id))
    if draw(st.integers(0, 3)):
        evidence = [s._replace(operation_run_id=run.operation_run_id, tenant_id=run.tenant_id) for s in evidence]
    return Facts(run, operation, tuple(evidence), draw(st.sampled_from([(), (), (), ("operation_run/op-1",)])))


@given(any_facts())
def test_two_formulations_of_the_rules_agree(facts: Facts) -> None:
    rule = decide(facts)
    assert rule.name == second_opinion.rule(facts)
    document, page = describe(facts, rule), second_opinion.page(facts, rule.name)
    page["claims"] = {**document["claims"], "allowed": page["claims"]}
    page["diagnostics"] = {**document["diagnostics"], "rule": page.pop("rule")}
    page["diagnostics"]["inconsistencies"] = page.pop("inconsistencies")
    assert {**document, **page} == document


@given(any_facts())
def test_no_document_says_more_than_is_proven(facts: Facts) -> None:
    rule = decide(facts)
    never_more_than_proven.check(facts, rule.state, describe(facts, rule))


@given(any_facts(), st.randoms(use_true_random=False))
def test_the_order_in_which_snapshots_are_kept_changes_no_byte(facts: Facts, random: Random) -> None:
    shuffled = list(facts.evidence)
    random.shuffle(shuffled)
    other = facts._replace(evidence=tuple(shuffled))
    assert encode(describe(other, decide(other))) == encode(describe(facts, decide(facts)))


@given(any_facts())
def test_a_document_survives_its_own_bytes(facts: Facts) -> None:
    document = describe(facts, decide(facts))
    assert decode(encode(document)) == document
