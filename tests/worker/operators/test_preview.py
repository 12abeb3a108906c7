"""What a version would change, found in documents: counted, and shown in 80 columns."""

from __future__ import annotations

from typing import Any, Final

import pytest

from contracts.decision import encode
from contracts.events import Record
from contracts.facts import Counts
from tests.projections.builders import Fold, operation, run, snapshot
from tests.versions import decided_by
from worker.cli.preview import as_json, as_text
from worker.errors import Unfit
from worker.operators.preview import Ledger, Preview, judge

UNTOLD: Final = Counts(total=12)
"""What version 2 wants reviewed, and version 1 does not."""
CANCELLED: Final = (operation(outcome="cancelled"), snapshot())
"""What version 3 does not want reviewed any more, and version 1 does."""


def document(*inputs: Any, id: str = "rr-1", tenant: str = "t-1", **fields: Any) -> dict[str, Any]:
    """A run's document by version 1, with current evidence unless inputs are given."""
    given = inputs or (operation(tenant=tenant), snapshot(tenant=tenant))
    return Fold(run(id=id, tenant=tenant, **fields), *given).document(id, tenant=tenant)


def record(document: dict[str, Any] | None, key: str | None = None) -> Record:
    name = key or ("" if document is None else f"{document['tenant_id']}/{document['restore_run_id']}")
    return Record("state", 0, 7, 0, name.encode(), None if document is None else encode(document), ())


def previewed(*documents: dict[str, Any], version: int = 2, samples: int = 3) -> Preview:
    """What a version makes of documents, all of one partition."""
    found, ledger = Preview(samples), Ledger()
    with decided_by(version):
        for one in documents:
            ledger.take(record(one))
        found.add(ledger)
    return found


def text(found: Preview, version: int = 2) -> str:
    with decided_by(version):
        return "\n".join(as_text(found))


def json(found: Preview, version: int = 2) -> dict[str, Any]:
    with decided_by(version):
        return as_json(found)


def test_what_the_same_rules_decide_is_the_same() -> None:
    found = previewed(document(), document(id="rr-2", counts=UNTOLD), version=1)
    assert (found.runs, found.changed_state, found.changed_otherwise, found.more_permissive) == (2, 0, 0, 0)
    assert text(found, 1).splitlines()[0] == "2 runs decided by policy 1, nothing written; 0 would differ."


def test_a_stricter_rule_is_counted_by_former_and_new_state_with_samples() -> None:
    untold = [document(id=f"rr-{n}", counts=UNTOLD) for n in range(5)]
    found = previewed(document(id="rr-9"), *untold)
    assert {states: (row.count, row.samples) for states, row in found.matrix.items()} == {
        ("completed_with_evidence", "completed_with_evidence"): (1, ["t-1/rr-9"]),
        ("completed_with_evidence", "needs_review"): (5, ["t-1/rr-0", "t-1/rr-1", "t-1/rr-2"]),
    }
    assert found.more_permissive == 0
    assert found.rules == {("completed_with_evidence", "needs_review", "evidence_current", "needs_review"): 5}


def test_a_laxer_rule_is_more_permissive() -> None:
    found = previewed(document(*CANCELLED), version=3)
    assert [(states, row.samples) for states, row in found.permissive.items()] == [
        (("needs_review", "completed_with_evidence", "nearer to proof"), ["t-1/rr-1"])
    ]


def test_other_words_of_the_same_state_are_counted_by_what_differs() -> None:
    """Version 2 says more about a run that failed."""
    found = previewed(document(status="failed"))
    assert [(fields, row.count) for fields, row in found.fields.items()] == [(("diagnostics.because",), 1)]
    assert (found.changed_state, found.changed_otherwise) == (0, 1)


def test_of_each_run_the_last_document_counts() -> None:
    first, last = document(counts=UNTOLD), document()
    assert previewed(first, last).changed_state == 0
    assert previewed(last, first).changed_state == 1
    assert previewed(last, first).runs == 1


def test_a_run_that_was_removed_does_not_count() -> None:
    ledger, found = Ledger(), Preview(3)
    ledger.take(record(document()))
    ledger.take(record(None, key="t-1/rr-1"))
    found.add(ledger)
    assert found.runs == 0
    assert text(found, 1) == "0 runs decided by policy 1, nothing written; 0 would differ."


def test_partitions_add_up() -> None:
    found = Preview(2)
    with decided_by(2):
        for tenant in ("t-3", "t-1", "t-2"):
            ledger = Ledger()
            ledger.take(record(document(tenant=tenant, counts=UNTOLD)))
            found.add(ledger)
    (row,) = found.matrix.values()
    assert (found.runs, row.count, row.samples) == (3, 3, ["t-1/rr-1", "t-2/rr-1"])


def test_what_came_of_runs_alike_is_kept_once() -> None:
    """A million runs are a million keys, and a few hundred findings."""
    ledger = Ledger()
    for n in range(50):
        ledger.take(record(document(id=f"rr-{n}")))
    ledger.settle()
    assert len({id(found) for found in ledger.found.values()}) == 1


def test_documents_that_wait_for_the_next_of_their_run_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.operators.preview.WAITING", 3)
    ledger = Ledger()
    for n in range(8):
        ledger.take(record(document(id=f"rr-{n}")))
    assert len(ledger.found) == 6


def test_a_document_that_only_a_newer_version_can_read_ends_it() -> None:
    newer = {**document(), "schema": "restore.decision-state/2"}
    with pytest.raises(Unfit, match="state partition 0 offset 7: state document of format 2, and this version reads 1"):
        previewed(newer)


def test_a_field_that_this_version_does_not_write_any_more_differs() -> None:
    former = document()
    former["claims"]["hoped"] = []
    former["impact"] = "None."
    assert judge(former).fields == ("claims.hoped", "impact")


# For people


MIXED: Final = [
    document(),
    *(document(id=f"rr-{n}", counts=UNTOLD) for n in range(20, 24)),
    document(id="rr-3", status="failed"),
]


def test_a_person_sees_the_matrix_the_rules_and_samples() -> None:
    assert (
        text(previewed(*MIXED))
        == """\
6 runs decided by policy 2, nothing written; 5 would differ.
No run would become more permissive.

Now (a row each) and then (a column each)

                                   4       5       6
4 completed_with_evidence          1       4       .
6 failed                           .       .       1
5 needs_review

Changes of state

       4  completed_with_evidence -> needs_review
          rule evidence_current -> needs_review
          t-1/rr-20, t-1/rr-21, t-1/rr-22, ...

The same state, but another document

       1  diagnostics.because
          t-1/rr-3"""
    )


def test_the_more_permissive_come_first() -> None:
    lines = text(previewed(document(*CANCELLED), document(id="rr-2"), version=3), 3).splitlines()
    assert lines[:7] == [
        "2 runs decided by policy 3, nothing written; 1 would differ.",
        "1 run would become more permissive.",
        "",
        "More permissive",
        "",
        "       1  needs_review -> completed_with_evidence",
        "          nearer to proof",
    ]


def test_nothing_is_wider_than_80_columns_but_a_name_that_is() -> None:
    long = "r" * 128
    found = previewed(*MIXED, *(document(id=f"{n}{long[:60]}", counts=UNTOLD) for n in range(5)), samples=20)
    assert max(map(len, text(found).splitlines())) <= 80
    assert f"t-1/{long}" in text(previewed(document(id=long, counts=UNTOLD)))


# For programs


def test_a_program_is_told_the_same() -> None:
    told = json(previewed(*MIXED, samples=1))
    assert told["matrix"][0] == {
        "from": "completed_with_evidence",
        "to": "needs_review",
        "direction": "regression",
        "runs": 4,
        "samples": ["t-1/rr-20"],
        "rules": [{"from": "evidence_current", "to": "needs_review", "runs": 4}],
    }
    assert told["same_state"] == [{"fields": ["diagnostics.because"], "runs": 1, "samples": ["t-1/rr-3"]}]
    numbers = {name: told[name] for name in told if isinstance(told[name], int)}
    assert numbers == {
        "policy": 2,
        "runs": 6,
        "would_change_state": 4,
        "would_change_otherwise": 1,
        "would_become_more_permissive": 0,
    }
    assert told["decided_with"] == {"1": 6}


def test_a_program_is_told_why_a_run_is_more_permissive() -> None:
    (row,) = json(previewed(document(*CANCELLED), version=3), 3)["more_permissive"]
    assert row == {
        "from": "needs_review",
        "to": "completed_with_evidence",
        "why": "nearer to proof",
        "runs": 1,
        "samples": ["t-1/rr-1"],
    }
