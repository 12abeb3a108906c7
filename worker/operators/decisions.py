"""Do documents say what a fresh decision says, and do records name each other? Pure: of records that belong together.

A document is held against two things: the facts of its run and operation as they are stored, and what this version's
rules make of the facts that the document itself names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from contracts.decision import decode
from contracts.facts import facts_from_json, facts_to_json
from projections.afresh import decided_afresh
from projections.deciding import facts_of
from projections.formats import DOCUMENT, NewerFormat, upgraded
from projections.links import contradictions
from projections.record import Key, RunRecord
from projections.rules import POLICY
from projections.workspace import Workspace
from worker.operators.differences import Difference, Name
from worker.operators.ledger import name_of

NAMED_FIELDS: Final = 5


def compare_decisions(number: int, workspace: Workspace, *, decide: bool) -> Iterator[Difference]:
    """What contradicts itself among these records of a partition.

    `decide`: False where a newer policy has decided, of which this version can say nothing.
    """
    torn = set()
    for key, what in contradictions(workspace):
        torn.add(key)
        yield Difference("one_sided_link", number, name_of(key).decode(), "a link from both ends", what)
    for key in workspace.existing():
        record = workspace.find(key)
        if decide and isinstance(record, RunRecord) and key not in torn:
            yield from _compare_document(number, workspace, key, record)


def _compare_document(number: int, workspace: Workspace, key: Key, record: RunRecord) -> Iterator[Difference]:
    document = record.stored
    assert document is not None, "as it was read"

    def differs(name: Name, expected: str, got: str) -> Difference:
        return Difference(name, number, name_of(key).decode(), expected, got, run=(key.tenant, key.id))

    stored = facts_to_json(facts_of(workspace, record))
    named = facts_to_json(facts_from_json(upgraded(DOCUMENT, document)["diagnostics"]["inputs"]))
    if named != stored:
        yield differs("other_facts", "the facts that are stored", f"others: {_fields(stored, named)}")
    contradiction = own_contradiction(document)
    if contradiction is not None:
        older = document["policy"] < POLICY
        yield differs("older_policy" if older else "contradicts_its_facts", *contradiction)


def own_contradiction(document: dict[str, Any]) -> tuple[str, str] | None:
    """What this version decides of a document's own facts, and what it says instead; None if it says the same.

    Raises KeyError, TypeError or ValueError for what is no document of ours, NewerFormat for one of a newer version.
    """
    rule, fields = decided_afresh(document)
    if all(document.get(name) == value for name, value in fields.items()):
        return None
    says = (
        f"{document['state']!s:.40} by rule {document['diagnostics']['rule']!s:.40}, policy {document['policy']!s:.20}"
    )
    return (
        f"{rule.state} by rule {rule.name}, as policy {POLICY} decides its facts",
        f"{says}; other than fresh: {_fields(fields, document)}",
    )


def contradicts_itself(value: bytes) -> bool:
    """Whether the bytes are a document whose decision does not follow from its own facts; False if they are none."""
    with suppress(KeyError, TypeError, ValueError, AttributeError, NewerFormat):
        return own_contradiction(decode(value)) is not None
    return False


def _fields(expected: Mapping[str, Any], got: Mapping[str, Any]) -> str:
    names = [name for name, value in expected.items() if got.get(name) != value]
    return ", ".join(names[:NAMED_FIELDS]) + (", …" if len(names) > NAMED_FIELDS else "")
