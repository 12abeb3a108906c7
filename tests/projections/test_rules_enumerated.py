"""Every case there is, decided, and held against a second opinion and against what is proven.

The numbers are stated here and in docs/decisions.md: 1,176,120 cases, 411,642 of counts and 11,765 of evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from contracts.decision import RANK
from contracts.facts import Facts, facts_from_json
from projections import cases
from projections.document import describe
from projections.rules import RULES, decide
from tests.projections import never_more_than_proven, second_opinion

Every = Callable[[], Iterator[Facts]]

LISTS: dict[str, tuple[Every, int]] = {
    "every case": (cases.every_case, 1_176_120),
    "every count case": (cases.every_count_case, 411_642),
    "every evidence case": (cases.every_evidence_case, 11_765),
}

DOCUMENT_STEP = {"every case": 13, "every count case": 13, "every evidence case": 1}
"""A document costs as much as twenty decisions, so only each 13th is written where the list is long. 13 divides no
number of values of any input, so that every value of each comes up with every value of each other."""


def _describable(facts: Facts) -> dict[str, Any]:
    """What the second opinion has an opinion on, of the first one's document."""
    document = describe(facts, decide(facts))
    return {
        **{name: document[name] for name in ("primary_next_action", "operation_proof", "post_run_evidence")},
        "result_summary": document["result_summary"],
        "claims": document["claims"]["allowed"],
        "rule": document["diagnostics"]["rule"],
        "inconsistencies": document["diagnostics"]["inconsistencies"],
    }


@pytest.mark.parametrize("name", LISTS)
def test_two_formulations_of_the_rules_decide_every_case_alike(name: str) -> None:
    every, number = LISTS[name]
    decided = 0
    for facts in every():
        assert decide(facts).name == second_opinion.rule(facts), facts
        decided += 1
    assert decided == number


def test_the_numbers_that_the_documentation_states_are_those_of_the_lists() -> None:
    stated = (cases.NUMBER_OF_CASES, cases.NUMBER_OF_COUNT_CASES, cases.NUMBER_OF_EVIDENCE_CASES)
    assert stated == tuple(number for _, number in LISTS.values())


@pytest.mark.parametrize("name", LISTS)
def test_two_formulations_describe_a_case_alike_and_neither_claims_more_than_is_proven(name: str) -> None:
    every, _ = LISTS[name]
    for facts in islice(every(), 0, None, DOCUMENT_STEP[name]):
        rule = decide(facts)
        assert _describable(facts) == second_opinion.page(facts, rule.name), facts
        never_more_than_proven.check(facts, rule.state, describe(facts, rule))


def test_every_rule_decides_some_case() -> None:
    assert {decide(facts).name for facts in cases.every_case()} == {rule.name for rule in RULES}


def test_the_inputs_in_a_document_are_enough_to_decide_again() -> None:
    for facts in islice(cases.every_case(), 0, None, 499):
        rule = decide(facts)
        again = facts_from_json(describe(facts, rule)["diagnostics"]["inputs"])
        assert decide(again) is rule
        assert describe(again, rule) == describe(facts, rule)


def _worse(facts: Facts) -> Iterator[Facts]:
    """The same facts with one thing worse, or one thing less known to be good."""
    run = facts.run
    yield facts._replace(unreadable=("restore_run/rr-1",))
    yield facts._replace(evidence=())
    yield facts._replace(evidence=tuple(s._replace(expired=True) for s in facts.evidence))
    yield facts._replace(run=run._replace(counts=run.counts._replace(failed=1)))
    yield facts._replace(run=run._replace(counts=run.counts._replace(non_applied=1)))
    yield facts._replace(run=run._replace(attention="not_executed"))
    if run.status == "completed":
        yield facts._replace(run=run._replace(status="partial"))


def test_worse_facts_never_make_a_better_state() -> None:
    for facts in islice(cases.every_case(), 0, None, 97):
        rank = RANK[decide(facts).state]
        for worse in _worse(facts):
            assert RANK[decide(worse).state] <= rank, (facts, worse)
