"""What people read is the state contract's, word for word, and what may not be said is said nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from contracts.decision import FORBIDDEN_CLAIMS, STATES, State
from projections import cases
from projections.because import BLANKS, SENTENCES
from projections.document import describe
from projections.evidence import CAUSES
from projections.inconsistencies import INCONSISTENCIES
from projections.matrix import CONTINUE_PREPARATION, COUNT_CLAIMS, WORDS
from projections.rules import RULES, Rule, decide

CONTRACT = Path(__file__).parents[2] / "docs" / "restore-result-state-contract.txt"


def _sections() -> dict[int, str]:
    """The contract's states by number, each as one line of text."""
    parts = re.split(r"^(\d)\) ", CONTRACT.read_text(), flags=re.MULTILINE)
    return {int(number): " ".join(text.split()) for number, text in zip(parts[1::2], parts[2::2], strict=True)}


SECTIONS = _sections()
SECTION_OF: dict[State, str] = {
    state: text for state in STATES for text in SECTIONS.values() if f"State: {state} " in text
}


def _field(state: State, name: str) -> str:
    """What the contract says of a state under this name."""
    match = re.search(rf"- {name}: (.*?) - ", SECTION_OF[state] + " - ")
    assert match is not None, (state, name)
    return match[1]


def test_the_contract_has_these_seven_states() -> None:
    assert set(SECTION_OF) == set(WORDS) == set(STATES)
    assert len(SECTIONS) == 7


@pytest.mark.parametrize("state", STATES)
def test_status_reason_and_impact_are_the_contracts(state: State) -> None:
    words = WORDS[state]
    assert SECTION_OF[state].startswith(f"{words.title} - ")
    assert words.status == _field(state, "Visible status")
    assert words.reason == _field(state, "Reason")
    assert words.impact == _field(state, "Impact")
    assert _field(state, "Diagnostics default") == "Collapsed"


@pytest.mark.parametrize("state", STATES)
def test_the_next_action_is_the_contracts(state: State) -> None:
    labels = WORDS[state].action.label
    if state == "not_executed":
        labels = f"{labels} / {CONTINUE_PREPARATION.label.lower()} (contextual to available actions)"
    assert labels == _field(state, "Primary next action")


@pytest.mark.parametrize("state", STATES)
def test_proof_and_evidence_are_the_contracts(state: State) -> None:
    words = WORDS[state]
    proof = words.operation_proof.replace("_", " ").capitalize()
    assert _field(state, "Operation proof state").startswith(proof)
    evidence = _field(state, "Post-run evidence state")
    assert words.evidence_shown == (evidence != "Unavailable")


@pytest.mark.parametrize("state", STATES)
def test_what_is_said_without_counts_is_the_contracts(state: State) -> None:
    quoted = re.findall(
        r'"([^"]*)"', SECTION_OF[state].split("- Result summary:")[1].split("- Allowed proof claims:")[0]
    )
    assert [WORDS[state].summary] == (quoted or ["Result summary unavailable"])


@pytest.mark.parametrize("state", STATES)
def test_claims_are_the_contracts(state: State) -> None:
    text = SECTION_OF[state].split("- Allowed proof claims:")[1]
    quoted = [claim for claim in re.findall(r'"([^"]*)"', text) if claim.lower() not in _forbidden()]
    claims = [*WORDS[state].claims, *([COUNT_CLAIMS[0][1]] if state == "needs_review" else [])]
    assert claims == quoted


def _forbidden() -> tuple[str, ...]:
    return tuple(claim.lower() for claim in FORBIDDEN_CLAIMS)


def test_the_forbidden_claims_are_the_contracts() -> None:
    text = SECTION_OF["completed_with_evidence"].split("forbidden:")[1]
    assert re.findall(r'"([^"]*)"', text) == list(FORBIDDEN_CLAIMS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_quotes_what_the_contract_says(rule: Rule) -> None:
    assert rule.contract
    for passage in rule.contract:
        assert _without_spaces(passage.words) in _without_spaces(SECTIONS[passage.state]), passage


def _without_spaces(text: str) -> str:
    """The contract's text has words run together in places; a quotation sets the spaces again."""
    return "".join(text.split())


def test_a_rule_explains_itself_in_sentences() -> None:
    for rule in RULES:
        for text in (rule.when, rule.why, rule.deviation or "Nothing."):
            assert re.fullmatch(r"[A-Z].*\.", text), text
            assert "  " not in text, text


def _texts() -> Iterator[str]:
    """Every text that this package words for documents, changes, explanations and pages."""
    for words in WORDS.values():
        yield from (words.title, words.status, words.reason, words.impact, words.action.label, words.summary)
        yield from words.claims
    for rule in RULES:
        yield from (rule.name, rule.state, rule.when, rule.why, rule.deviation or "")
    yield from (sentence.template for sentence in SENTENCES.values())
    yield from (claim for _, claim in COUNT_CLAIMS)
    yield from (text for row in INCONSISTENCIES for text in (row.code, row.when))
    yield from CAUSES.values()


def test_forbidden_claims_are_in_no_text() -> None:
    for text in _texts():
        assert not any(claim in text.lower() for claim in _forbidden()), text


def test_every_sentence_is_said_and_filled() -> None:
    said = set()
    for facts in (*islice(cases.every_case(), 0, None, 61), *cases.every_evidence_case()):
        rule = decide(facts)
        sentences = describe(facts, rule)["diagnostics"]["because"]
        assert sentences, facts
        for sentence in sentences:
            assert re.fullmatch(r"[A-Z][^{}]*\.", sentence), sentence
            assert not re.search(r"None|, ,|: \.", sentence), sentence
            said.add(sentence)
    for sentence in SENTENCES.values():
        pattern = re.sub(r"\\\{\w+\\\}", "[^.]+", re.escape(sentence.template))
        assert any(re.fullmatch(pattern, text) for text in said), sentence.template


def test_a_template_has_only_blanks_that_can_be_filled() -> None:
    for sentence in SENTENCES.values():
        assert set(re.findall(r"\{(.*?)\}", sentence.template)) <= set(BLANKS)
