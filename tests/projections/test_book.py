"""docs/decisions.md is what the tables make of it, and a changed rule or word shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.decision import STATES
from projections import because, book, rules
from projections.examples import EXAMPLES, document
from projections.matrix import WORDS
from projections.rules import DIGEST, RULES

KEYS = [
    "schema",
    "tenant_id",
    "restore_run_id",
    "operation_run_id",
    "revision",
    "state",
    "previous_state",
    "status",
    "reason",
    "impact",
    "primary_next_action",
    "operation_proof",
    "post_run_evidence",
    "result_summary",
    "claims",
    "diagnostics",
    "timeline",
    "policy",
    "changed_at",
    "updated_at",
]


def test_the_page_is_up_to_date_and_so_is_the_digest() -> None:
    assert book.main(["--check"]) == 0


def test_a_page_that_is_out_of_date_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(book, "PATH", tmp_path / "decisions.md")
    monkeypatch.setattr(book, "digest", lambda: DIGEST)
    assert book.main(["--check"]) == 1
    assert "decisions.md is out of date: run python -m projections.book" in capsys.readouterr().err
    assert book.main([]) == 0
    assert book.main(["--check"]) == 0


def _swap_two_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    table = list(rules._TABLE)
    table[-2], table[-3] = table[-3], table[-2]
    monkeypatch.setattr(rules, "_TABLE", tuple(table))


def _change_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(because.SENTENCES, "dry run", because.Sentence("The run is dry."))


def _change_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WORDS, "completed_with_evidence", replace(WORDS["completed_with_evidence"], reason="Done."))


@pytest.mark.parametrize("change", [_swap_two_rules, _change_a_sentence, _change_a_reason])
def test_a_changed_rule_or_word_asks_for_a_new_policy(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change(monkeypatch)
    assert book.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert f"differ from those of policy 1 (digest {DIGEST}, found " in said
    assert "raise POLICY in projections/rules.py" in said


def test_every_rule_has_a_row_and_a_section_that_its_link_finds() -> None:
    page = book.book()
    for number, rule in enumerate(RULES, 1):
        assert f"| {number} | [{rule.name}](#{number}-{rule.name})" in page
        assert f"\n### {number} {rule.name}\n" in page


def test_what_deviates_from_the_contract_is_marked() -> None:
    page = book.book()
    assert page.count("**Deliberate deviation.**") == sum(rule.deviation is not None for rule in RULES)
    marked = re.findall(r"\| \[(\w+)\]\(#[\w-]+\) \* \|", page)
    assert marked == [rule.name for rule in RULES if rule.deviation]


@pytest.mark.parametrize("state", STATES)
def test_each_state_has_an_example_that_is_in_that_state(state: str) -> None:
    example = next(example for name, example in EXAMPLES.items() if name == state)
    shown = document(example)
    assert shown["state"] == state
    assert list(shown) == KEYS
    assert shown["timeline"][-1]["state"] == state
    assert json.dumps(shown, indent=2) in book.book()
