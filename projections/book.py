"""docs/decisions.md, made from the tables that decide: `python -m projections.book` writes it, `--check` compares.

The page is for people who answer for what is claimed and read no code. So it can't be written beside the rules, it has
to be made from them. `--check` also compares the policy's digest: whoever changes a rule or a word raises
`projections.rules.POLICY`, because stored documents are decided again only then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from contracts.decision import FORBIDDEN_CLAIMS, STATES, State, encode
from projections import cases, examples
from projections.attention import GROUNDS
from projections.document import describe
from projections.evidence import CAUSES
from projections.inconsistencies import INCONSISTENCIES
from projections.matrix import CONTINUE_PREPARATION, COUNT_CLAIMS, WORDS, Words
from projections.rules import DIGEST, POLICY, RULES, Rule, decide

PATH: Final = Path(__file__).parents[1] / "docs" / "decisions.md"

INTRODUCTION: Final = """\
<!-- Made by `python -m projections.book` from the tables in projections/. Changes made here are lost. -->

# How a restore is judged

For every restore run exactly one of seven states is shown. Which one follows from what three sources say: the
**restore run** itself, the **operation run** that executed it, and the **evidence snapshots** taken of that operation
afterwards. This page states the rules completely. It is made from the same tables that the program decides with, so it
can't differ from what the program does.

The source of the states and of their wording is the
[state contract](restore-result-state-contract.txt); passages quoted below are from there.
The contract lists what triggers each state, but not which state wins when several are triggered. The rules below add
that order. Where they deviate from the contract on purpose, this is marked, and the deviation always claims less.

This is policy {policy}.

## Words

**Linked.** A run is linked to an operation when it names one and that operation is not known to be deleted. Whether
anything was seen of the operation yet does not matter.

**Outcome.** What the operation that the run names came to. When the operation is deleted afterwards, its last outcome
still counts; its status and its proof do not.

**Current evidence.** A snapshot of the linked operation, of the same tenant, which is not deleted, whose status is
active, which has not expired, and which was not generated before the operation completed (where both times are known).
Of several the one generated last is shown; of those generated at the same time the one with the greatest id.

**Attention.** What a source says about how a result is to be looked at, or what follows from the facts, whichever is
worse. [More below.](#attention)

**Not known.** A count that no source gave is not zero. It is never shown as zero and never treated as zero.
"""

ORDER: Final = """\
## The rules

They are read from the top. The first rule that holds decides, and no later one is looked at. Below each rule stands
what is still awaited from the sources then; where nothing is, the restore may stay so for good.
"""

SUMMARY: Final = """\
## Result summary

Counts that are known are shown as they are: the total, those that succeeded, and then those above zero of failed,
skipped, partial and not applied. For example "12 items: 10 succeeded, 2 skipped". Without a total the parts stand
alone. When nothing remains to be named, the known zeros are ("0 failed"). When no count is known at all, the words
given with each state above are shown.
"""

CLAIMS: Final = """\
## Claims

A claim is a statement that may be made about the restore, for example in a report to a customer. Each document lists
the claims that are allowed, and no others may be made. "Preview evidence exists" is allowed only where a preview
exists: the run's status is previewed, or it is a dry run that is completed, partial or completed_with_errors. After
the rules {silent} no claim is allowed.

Whatever the state, these are forbidden: {forbidden}. They appear in no text that this program words.
"""

EVIDENCE: Final = """\
## Why evidence is unavailable

Where an operation is linked and none of its evidence is current, the document names the cause. It is read off the
newest stored snapshot; snapshots of unknown time count as the oldest, and of those of the same time the one with the
greatest id is the newest. A snapshot that has expired is called so even if it is also older than the completion.
"""

ATTENTION: Final = """\
## Attention

A source may say how a result is to be looked at: from good to bad completed, completed_with_follow_up, partial,
failed, not_executed. Beside that the facts speak for themselves; the first line that holds counts. The worse of the
two decides.
"""

CONTRADICTIONS: Final = """\
## Contradictions

Sources may contradict each other. That never stops a decision and never improves one. It is named under the
diagnostics, in this order.
"""

COMPLETENESS: Final = """\
## Completeness

The inputs of a decision are words from small lists, and counts and times of which only comparisons matter. So all
cases can be listed, and they are: **{cases:,}** combinations of dry run, run status, given attention, kinds of
counts, kinds of operation, kinds of evidence and unreadable input; beside them **{counts:,}** in which every kind of
count is combined with run status, outcome and given attention; and **{evidence:,}** in which up to two snapshots of
every kind are combined under every kind of operation. A test decides each of them and compares with a second
formulation of these rules that was written separately. Another test knows no rules: it checks that evidence, claims
and words of success appear only where the facts for them are there.
"""

EXAMPLES: Final = """\
## Examples

One complete document for each state, as it is published.
"""


@dataclass(frozen=True, slots=True)
class _Table:
    """A Markdown table."""

    head: Sequence[str]
    rows: Iterable[Sequence[str]]

    def lines(self) -> Iterator[str]:
        yield f"| {' | '.join(self.head)} |"
        yield f"|{' --- |' * len(self.head)}"
        for row in self.rows:
            yield f"| {' | '.join(row)} |"
        yield ""


def book() -> str:
    """The whole page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION.format(policy=POLICY)
    yield ORDER
    yield from _rule_table()
    for number, rule in enumerate(RULES, 1):
        yield from _rule(number, rule)
    yield "## The seven states\n"
    for number, state in enumerate(STATES, 1):
        yield from _state(number, state, WORDS[state])
    yield SUMMARY
    yield _claims()
    yield EVIDENCE
    yield from _Table(("cause", "meaning"), [(f"`{cause}`", text) for cause, text in CAUSES.items()]).lines()
    yield ATTENTION
    yield from _Table(("attention", "follows when"), [(f"`{g.attention}`", g.when) for g in GROUNDS]).lines()
    yield CONTRADICTIONS
    yield from _Table(("code", "when"), [(f"`{row.code}`", row.when) for row in INCONSISTENCIES]).lines()
    yield COMPLETENESS.format(
        cases=cases.NUMBER_OF_CASES, counts=cases.NUMBER_OF_COUNT_CASES, evidence=cases.NUMBER_OF_EVIDENCE_CASES
    )
    yield from _examples()


def _rule_table() -> Iterator[str]:
    rows = [
        (
            str(number),
            f"[{rule.name}](#{number}-{rule.name})" + (" *" if rule.deviation else ""),
            rule.when,
            WORDS[rule.state].status,
        )
        for number, rule in enumerate(RULES, 1)
    ]
    yield from _Table(("", "rule", "holds when", "shown as"), rows).lines()
    yield "\\* deviates from the contract on purpose.\n"


def _rule(number: int, rule: Rule) -> Iterator[str]:
    yield f"### {number} {rule.name}\n"
    yield f"**{rule.when}** → {WORDS[rule.state].status} (`{rule.state}`)\n"
    yield f"{rule.why}\n"
    for passage in rule.contract:
        yield f"> {passage.words}\n>\n> — state contract, state {passage.state}\n"
    if rule.deviation:
        yield f"**Deliberate deviation.** {rule.deviation}\n"
    yield f"**Still awaited.** {rule.awaits or 'Nothing.'}\n"


def _state(number: int, state: State, words: Words) -> Iterator[str]:
    yield f"### State {number}: {words.title}\n"
    action = words.action.label
    if state == "not_executed":
        action = f"{action} (where a preview exists); {CONTINUE_PREPARATION.label} (otherwise)"
    proof = {
        "unavailable": "Unavailable",
        "in_progress": "In progress; unavailable when the operation that the run names was deleted",
        "available": "Available where an operation is linked; otherwise unavailable",
    }[words.operation_proof]
    claims = [f'"{claim}"' for claim in words.claims]
    if state == "needs_review":
        claims += [f'"{claim}" (where that count is above 0)' for _, claim in COUNT_CLAIMS]
    rows = [
        ("State", f"`{state}`"),
        ("Reached by", ", ".join(rule.name for rule in RULES if rule.state == state)),
        ("Visible status", words.status),
        ("Reason", words.reason),
        ("Impact", words.impact),
        ("Primary next action", action),
        ("Operation proof", proof),
        ("Post-run evidence", "Available where it is current" if words.evidence_shown else "Unavailable"),
        ("Result summary", f'Known counts; without any: "{words.summary}"'),
        ("Claims allowed", "; ".join(claims) or "None"),
        ("Diagnostics", "Collapsed"),
    ]
    yield from _Table(("", ""), rows).lines()


def _claims() -> str:
    return CLAIMS.format(
        silent=" and ".join(rule.name for rule in RULES if not rule.claims_allowed),
        forbidden=", ".join(f'"{claim}"' for claim in FORBIDDEN_CLAIMS),
    )


def _examples() -> Iterator[str]:
    yield EXAMPLES
    for state in STATES:
        example = examples.EXAMPLES[state]
        yield f"### {WORDS[state].status}\n"
        yield f"{example.story}\n"
        yield "```json"
        yield json.dumps(examples.document(example), indent=2)
        yield "```\n"


def digest() -> str:
    """What the rules decide, and what is said then, in one number: it changes when a rule or a wording does.

    Every case is decided, and a part of each list is described: all wording comes up in it many times. The inputs that
    a document repeats are left out, since they are neither rule nor wording.
    """
    number = {rule.name: index for index, rule in enumerate(RULES)}
    said = hashlib.sha256(bytes(number[decide(facts).name] for facts in cases.every_case()))
    for rule in RULES:
        said.update(encode({"rule": rule.name, "state": rule.state, "when": rule.when}))
    for every, step in ((cases.every_case, 307), (cases.every_count_case, 307), (cases.every_evidence_case, 7)):
        for facts in islice(every(), 0, None, step):
            document = describe(facts, decide(facts))
            del document["diagnostics"]["inputs"]
            said.update(encode(document))
    return said.hexdigest()[:16]


def _faults(page: str) -> Iterator[str]:
    """What is out of date, each with what to do."""
    if not PATH.exists() or PATH.read_text(encoding="utf-8") != page:
        yield f"{PATH.name} is out of date: run python -m projections.book"
    found = digest()
    if found != DIGEST:
        yield (
            f"the rules or their wording differ from those of policy {POLICY} (digest {DIGEST}, found {found}): "
            f"raise POLICY in projections/rules.py and set DIGEST there to {found}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m projections.book", description="Make docs/decisions.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it is out of date")
    options = parser.parse_args(arguments)
    page = book()
    if not options.check:
        PATH.write_text(page, encoding="utf-8")
        print(f"wrote {PATH}")
    faults = list(_faults(page))
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
