"""Records and their bytes: what is written is what is read, and equal records are equal bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decision import decode, encode
from contracts.facts import EvidenceSnapshot, OperationRun, Source
from projections.record import (
    INTERNAL_KINDS,
    DeletedRun,
    InternalRecord,
    Key,
    Kind,
    OperationRecord,
    RunRecord,
    SnapshotRecord,
    decode_record,
    encode_internal,
)
from projections.workspace import Workspace
from tests.projections.builders import Fold, folded, restore_that_went_well, run, unreadable
from tests.projections.histories import WITH_ORDERS, History, histories, small_limits

OPERATION = Key("operation", "t-1", "op-1")


@settings(max_examples=150)
@given(histories(WITH_ORDERS))
def test_every_record_of_any_history_is_read_as_it_was_written(history: History) -> None:
    with small_limits():
        fold = folded(history)
        for key, data in fold.stored().items():
            record = decode_record(key, data)
            written = fold.workspace.find(key)
            if isinstance(record, RunRecord):
                assert encode(record.stored or {}) == data
                assert isinstance(written, RunRecord)
                record, written = replace(record, stored=None), replace(written, stored=None)
            else:
                assert encode_internal(record) == data
            assert record == written


IDS = st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True)
NUMBERS = st.integers(0, 2**63 - 1)
TIMES = st.one_of(st.none(), st.integers(-(10**10), 10**13))
SOURCES = st.one_of(st.none(), st.builds(Source, IDS, st.integers(0, 99), NUMBERS, NUMBERS))
OPERATIONS = st.builds(
    OperationRun,
    IDS,
    IDS,
    st.sampled_from([None, "queued", "running", "completed"]),
    st.sampled_from([None, "succeeded", "failed"]),
    TIMES,
    TIMES,
    st.booleans(),
    st.one_of(st.none(), NUMBERS),
    SOURCES,
)
SNAPSHOTS = st.builds(
    EvidenceSnapshot,
    IDS,
    IDS,
    st.sampled_from(["queued", "active"]),
    IDS,
    TIMES,
    TIMES,
    st.booleans(),
    NUMBERS,
    SOURCES,
)
RECORDS: dict[Kind, st.SearchStrategy[InternalRecord]] = {
    "deleted-run": st.builds(DeletedRun, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    "operation": st.builds(
        OperationRecord,
        st.one_of(st.none(), OPERATIONS),
        st.sets(IDS, max_size=5),
        st.lists(SNAPSHOTS, max_size=4).map(lambda snapshots: {s.id: s for s in snapshots}),
        st.sets(IDS, max_size=3),
        st.one_of(st.none(), NUMBERS),
    ),
    "snapshot": st.builds(
        SnapshotRecord,
        NUMBERS,
        st.one_of(st.none(), IDS),
        st.booleans(),
        st.booleans(),
        st.one_of(st.none(), NUMBERS),
    ),
}


def test_there_is_a_strategy_for_each_kind() -> None:
    assert set(RECORDS) == set(INTERNAL_KINDS)


@given(st.sampled_from(INTERNAL_KINDS).flatmap(lambda kind: st.tuples(st.just(kind), RECORDS[kind])))
def test_every_internal_record_is_read_as_it_was_written(drawn: tuple[Kind, InternalRecord]) -> None:
    kind, record = drawn
    data = encode_internal(record)
    read = decode_record(Key(kind, "t-1", "x"), data)
    assert not isinstance(read, RunRecord)
    assert read == record
    assert encode_internal(read) == data


def test_equal_records_are_equal_bytes_in_whatever_order_they_were_filled() -> None:
    names = [f"n-{number}" for number in range(50)]
    record = OperationRecord(runs=set(names), unreadable=set(names))
    record.snapshots = {id: EvidenceSnapshot(id, "t-1", "active", "op-1", sequence=1) for id in reversed(names)}
    value = decode(encode_internal(record))
    assert value["runs"] == value["unreadable"] == sorted(names)
    assert [snapshot["id"] for snapshot in value["snapshots"]] == sorted(names)


def test_a_run_is_marked_only_by_its_own_mark() -> None:
    fold = Fold(*restore_that_went_well(), unreadable("operation_run"))
    data = fold.stored()[Key("run", "t-1", "rr-1")]
    record = decode_record(Key("run", "t-1", "rr-1"), data)
    assert isinstance(record, RunRecord)
    assert record.marked is False


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (Key("run", "t-1", "rr-1"), "t-1/rr-1"),
        (Key("deleted-run", "t-1", "rr-1"), "deleted-run/t-1/rr-1"),
        (Key("operation", "t-1", "op-1"), "operation/t-1/op-1"),
        (Key("snapshot", "t-1", "es-1"), "snapshot/t-1/es-1"),
    ],
)
def test_a_key_is_what_its_topic_says(key: Key, text: str) -> None:
    assert str(key) == text


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b'{"sequence": 1}', b"\xff", b'{"diagnostics": {}}'])
@pytest.mark.parametrize("kind", ["run", *INTERNAL_KINDS])
def test_bytes_that_are_none_of_ours_raise_what_the_worker_expects(kind: Kind, data: bytes) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_record(Key(kind, "t-1", "x"), data)


# The workspace


def test_a_partial_workspace_is_asked_only_for_what_it_was_told_of() -> None:
    """What was not loaded might exist: to take it for absent would lose facts."""
    workspace = Workspace()
    workspace.load(OPERATION, None)
    assert workspace.operation("t-1", "op-1") is None
    assert not workspace.knows(Key("run", "t-1", "rr-1"))
    with pytest.raises(KeyError):
        workspace.run("t-1", "rr-1")


def test_what_was_and_is_absent_is_no_change() -> None:
    workspace = Workspace()
    workspace.load(OPERATION, None)
    workspace.put(OPERATION, OperationRecord(runs={"rr-1"}))
    workspace.put(OPERATION, None)
    assert list(workspace.changes()) == []


def test_what_is_gone_is_a_change() -> None:
    workspace = Workspace()
    workspace.load(OPERATION, OperationRecord(runs={"rr-1"}))
    workspace.put(OPERATION, None)
    assert list(workspace.changes()) == [(OPERATION, None)]


def test_changes_come_in_the_order_of_first_writes() -> None:
    workspace = Workspace(complete=True)
    keys = [Key("snapshot", "t-1", id) for id in ("b", "a", "c")]
    for key in [*keys, keys[0]]:
        workspace.put(key, SnapshotRecord(1, None, kept=False))
    assert [key for key, _ in workspace.changes()] == keys


def test_only_a_records_present_deadline_counts() -> None:
    workspace = Workspace(complete=True)
    key = Key("snapshot", "t-1", "es-1")
    for due in (30, 20, 40):
        workspace.put(key, SnapshotRecord(1, "op-1", kept=True, due=due))
    assert workspace.next_deadline(39) is None
    assert workspace.next_deadline(40) == (40, key)
    assert workspace.next_deadline(10**6) is None


def test_deadlines_come_by_time_and_then_by_key() -> None:
    workspace = Workspace()
    for id, due in [("c", 10), ("a", 20), ("b", 10)]:
        workspace.load(Key("snapshot", "t-1", id), SnapshotRecord(1, "op-1", kept=True, due=due))
    taken = [workspace.next_deadline(20) for _ in range(3)]
    assert [(due, key.id) for due, key in filter(None, taken)] == [(10, "b"), (10, "c"), (20, "a")]


def test_a_run_of_the_story_is_read_with_its_timeline() -> None:
    fold = Fold(*restore_that_went_well(), run(2, "failed", at=5))
    record = decode_record(Key("run", "t-1", "rr-1"), fold.stored()[Key("run", "t-1", "rr-1")])
    assert isinstance(record, RunRecord)
    assert [(t.revision, t.state) for t in record.timeline] == [
        (1, "completed_proof_incomplete"),
        (3, "completed_with_evidence"),
        (4, "failed"),
    ]
