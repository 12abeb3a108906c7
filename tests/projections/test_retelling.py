"""A run's own records, told again alone, come to what all records of its partition made of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.events import Record
from projections.inputs import InputDecoder
from projections.retelling import Retold, differences, retell
from tests.contracts.records import HOME, PARTITIONS, TOPICS, binary, state

DECODE = InputDecoder(TOPICS, PARTITIONS, "murmur2").decode
BEGAN = 1_793_527_200_000
MEMORY_MS = 3_600_000
NOW = BEGAN + 3_600_000
EXPIRES = BEGAN + 600_000


def placed(records: list[tuple[int, Record]]) -> Iterator[Record]:
    """Records as they lie in their topics, each stamped so many ms after the beginning."""
    for offset, (after, record) in enumerate(records):
        yield record._replace(partition=HOME, offset=offset, timestamp=BEGAN + after)


def told(*records: tuple[int, Record], now: int = NOW) -> Retold:
    shuffled = list(placed(list(records)))[::-1]
    return retell(shuffled, TOPICS.inputs, DECODE, "t-1", "rr-1", present=now, deletion_memory_ms=MEMORY_MS)


RUN = binary(state())
OPERATION = binary(state("operation_run"), entity="operation_run")
EVIDENCE = binary(state("evidence_snapshot", expires_at="2026-11-01T10:10:00Z"), entity="evidence_snapshot")


def test_each_record_says_what_it_did_and_time_as_well() -> None:
    retold = told((0, RUN), (200, OPERATION), (400, EVIDENCE), (500, EVIDENCE))
    assert [(step.at - BEGAN, step.outcome, step.state, step.revision) for step in retold.steps] == [
        (0, "applied", "completed_proof_incomplete", 1),
        (200, "applied", "completed_proof_incomplete", 2),
        (400, "applied", "completed_with_evidence", 3),
        (500, "stale", "completed_with_evidence", 3),
        (EXPIRES - BEGAN, "due", "completed_proof_incomplete", 4),
    ]
    assert retold.steps[2].says == "evidence_snapshot es-1 changed, sequence 5"
    assert retold.document is not None
    assert retold.document["revision"] == 4


def test_what_is_not_due_yet_has_not_happened() -> None:
    retold = told((0, RUN), (200, OPERATION), (400, EVIDENCE), now=EXPIRES)
    assert retold.steps[-1].state == "completed_with_evidence"


def test_records_are_told_in_the_order_of_their_timestamps_not_of_the_file() -> None:
    """Those of one topic in the order of their offsets, whatever their timestamps say."""
    later = binary(state(status="failed"), ce_sequence="9")
    retold = told((0, RUN), (900, OPERATION), (100, later))
    assert [step.says.split()[0] + str(step.at - BEGAN) for step in retold.steps] == [
        "restore_run0", "restore_run100", "operation_run900",
    ]  # fmt: skip


def test_a_record_that_cannot_be_read_says_why() -> None:
    retold = told((0, RUN), (10, binary(state(status="nonsense"), ce_sequence="9")))
    assert retold.steps[-1].outcome == "dead_letter"
    assert retold.steps[-1].says.startswith("cannot be read: schema_violation: $.status: expected one of")
    assert retold.document is not None
    assert "unreadable_input" in retold.document["diagnostics"]["inconsistencies"]


def test_a_run_of_which_nothing_came_has_no_document() -> None:
    assert told((0, OPERATION)).document is None


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"a": 1, "b": [1, {"c": 2}]}, {"a": 1, "b": [1, {"c": 2}]}, []),
        ({"a": 1}, {"a": 2}, ["$.a: published 2, told 1"]),
        ({"b": [1, {"c": 2}]}, {"b": [1, {"c": 3}]}, ["$.b[1].c: published 3, told 2"]),
        ({"b": [1]}, {"b": []}, ["$.b: published [], told [1]"]),
        ({"a": 1}, {"b": 1}, ["$.b: only in what was published", "$.a: only in what is told"]),
    ],
)
def test_where_two_documents_differ_is_said(one: object, other: object, found: list[str]) -> None:
    assert list(differences(one, other)) == found
