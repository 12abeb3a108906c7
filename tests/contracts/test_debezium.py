"""Debezium's change events: wrapper, operations, rows, sequences, columns of JSON, and what is none of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts.events import Changed, Ignored, Mark
from contracts.facts import MAX_SEQUENCE, NO_COUNTS, Counts, Entity, RestoreRun
from contracts.forms import TABLES
from tests.contracts.debezium import LSN, change, envelope, row, source, with_schema
from tests.contracts.records import (
    COUNTS,
    accepted,
    binary,
    complaint,
    decode,
    deleted,
    record,
    rejected,
    state,
    structured,
)


def counts_of(event: Changed) -> Counts:
    assert isinstance(event.facts, RestoreRun)
    return event.facts.counts


@pytest.mark.parametrize("write", [change, with_schema])
@pytest.mark.parametrize("entity", TABLES)
class TestOperations:
    @pytest.mark.parametrize("op", ["c", "u", "r"])
    def test_create_update_and_snapshot_read_give_the_row_after(self, write: Any, entity: Entity, op: str) -> None:
        before = row(entity, status="?") if op == "u" else None
        event = accepted(write(entity, op=op, before=before))
        assert event.facts == accepted(binary(entity=entity)).facts._replace(sequence=LSN)

    def test_delete_gives_the_row_before(self, write: Any, entity: Entity) -> None:
        event = deleted(write(entity, op="d", before=row(entity), after=None))
        assert (event.tenant_id, event.id, event.sequence) == ("t-1", state(entity)["id"], LSN)

    def test_a_deleted_row_needs_only_its_id(self, write: Any, entity: Entity) -> None:
        """REPLICA IDENTITY DEFAULT gives the primary key alone, other columns null."""
        before = {**dict.fromkeys(row(entity)), "id": 42}
        assert deleted(write(entity, op="d", before=before, after=None)).id == "42"

    def test_truncate_and_message_have_no_row(self, write: Any, entity: Entity) -> None:
        assert rejected(write(entity, op="t", before=None, after=None)).reason == "not_an_event"
        message = {"op": "m", "before": ..., "after": ..., "message": {"prefix": "x", "content": "eA=="}}
        assert rejected(write(entity, **message)).reason == "not_an_event"

    @pytest.mark.parametrize("op", ["t", "C", "", "create", None, 1, ["c"]])
    def test_another_operation_is_an_unknown_type(self, write: Any, entity: Entity, op: Any) -> None:
        event = rejected(write(entity, op=op))
        assert event.reason == "unknown_type"
        assert "op: expected c, u, d or r, got" in event.detail


class TestSequence:
    def test_the_revision_goes_before_the_logs_position(self) -> None:
        assert accepted(change(after=row(revision=9))).sequence == 9
        assert accepted(change(after=row(revision="0009"))).sequence == 9
        assert deleted(change(op="d", before=row(revision=10), after=row(revision=11))).sequence == 10

    def test_the_revision_is_taken_from_the_row_that_counts(self) -> None:
        assert accepted(change(before=row(revision=8), after=row(revision=9))).sequence == 9
        assert accepted(change(before=row(revision=8), after=row())).sequence == LSN

    def test_without_a_revision_the_logs_position(self) -> None:
        assert accepted(change()).sequence == LSN
        assert accepted(change(source=source(lsn=str(LSN)))).sequence == LSN
        assert accepted(change(source=source(lsn=MAX_SEQUENCE))).sequence == MAX_SEQUENCE

    def test_a_revision_that_is_null_does_not_fall_back(self) -> None:
        """The log's position is larger than any revision: later rows that have one would be stale for ever."""
        assert complaint(change(after=row(revision=None))) == (
            "missing_sequence: $.after.revision: expected decimal digits, up to 9223372036854775807, got null"
        )

    @pytest.mark.parametrize(("filler", "status"), [(0, ""), (None, None)])
    def test_a_deleted_row_that_was_not_told_has_no_revision(self, filler: Any, status: Any) -> None:
        """Without REPLICA IDENTITY FULL Debezium fills the columns that it was not told, with 0 where null can't be."""
        gone = change(op="d", before={"id": "rr-1", "status": status, "revision": filler}, after=None)
        assert complaint(gone) == (
            "missing_sequence: $.before.revision, which needs REPLICA IDENTITY FULL: "
            "expected decimal digits, up to 9223372036854775807, got nothing"
        )
        assert rejected(gone).marks == Mark("restore_run", "t-1", "rr-1", None)

    def test_a_revision_of_0_is_one_where_the_row_was_told(self) -> None:
        assert deleted(change(op="d", before=row(revision=0), after=None)).sequence == 0
        assert deleted(change(op="d", before={"id": "rr-1", "revision": 0}, after=None)).sequence == 0
        assert deleted(change(op="d", before=row(revision=0, status=[]), after=None)).sequence == 0

    @pytest.mark.parametrize("without", [source(lsn=None), source(lsn=...), source(lsn="0/16E6FA8"), {}, None, ...])
    def test_neither_is_missing(self, without: Any) -> None:
        event = rejected(change(source=without))
        assert event.reason == "missing_sequence"
        assert event.detail.startswith("$.after.revision or $.source.lsn: expected decimal digits")
        assert event.marks == Mark("restore_run", "t-1", "rr-1", None)


class TestTables:
    def test_another_table_on_the_topic_is_an_unknown_type(self) -> None:
        assert complaint(with_schema(source=source(table="operation_runs"))) == (
            'unknown_type: $.payload.source.table: expected restore_runs on this topic, got "operation_runs"'
        )
        assert rejected(change(source=source(table=None))).reason == "unknown_type"

    def test_a_change_that_names_no_table_is_its_topics(self) -> None:
        accepted(change(source=source(table=...)))
        accepted(change(source=None, after=row(revision=1)))


class TestColumnsOfJson:
    def test_strings_and_objects_are_read_alike(self) -> None:
        assert counts_of(accepted(change())) == Counts(**COUNTS)
        as_objects = row(metadata={"counts": COUNTS}, result_attention={"state": "completed"})
        assert accepted(change(after=as_objects)) == accepted(change())

    @pytest.mark.parametrize("text", [None, "null", "{}", '{"counts":null}', '{"counts":{}}', ' {"x":1}\n'])
    def test_counts_may_be_unknown(self, text: str | None) -> None:
        assert counts_of(accepted(change(after=row(metadata=text)))) == NO_COUNTS

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            '{"counts":{"failed":0,"failed":1}}',
            '{"x":NaN}',
            '{"x":1e400}',
            "[" * 300,
            "__debezium_unavailable_value",
        ],
    )
    def test_json_in_a_string_is_read_as_strictly(self, text: str) -> None:
        """A large column that did not change is __debezium_unavailable_value without REPLICA IDENTITY FULL."""
        event = rejected(change(after=row(metadata=text)))
        assert event.reason == "schema_violation"
        assert event.detail.startswith('$.after.metadata: expected an object or null, got "')
        assert event.marks == Mark("restore_run", "t-1", "rr-1", LSN)

    def test_a_violation_inside_has_its_path(self) -> None:
        wrong = json.dumps({"counts": {"failed": "1"}})
        assert complaint(with_schema(after=row(metadata=wrong))).startswith(
            "schema_violation: $.payload.after.metadata.counts.failed: expected an integer"
        )
        assert complaint(change(after=row(result_attention='{"state":"?"}'))).startswith(
            "schema_violation: $.after.result_attention.state: expected one of"
        )
        assert complaint(change(after=row(result_attention='"partial"'))).startswith(
            'schema_violation: $.after.result_attention: expected an object or null, got "partial"'
        )

    def test_an_earlier_field_goes_first(self) -> None:
        assert "$.after.status:" in complaint(change(after=row(metadata="{", status="?")))

    def test_strings_are_no_json_in_a_cloudevent(self) -> None:
        as_string = state(metadata="{}")
        assert rejected(binary(as_string)).reason == "schema_violation"
        assert rejected(structured(as_string)).reason == "schema_violation"

    def test_other_tables_have_no_such_columns(self) -> None:
        accepted(change("operation_run", after=row("operation_run", metadata="{", result_attention="{")))


class TestRows:
    def test_a_row_that_is_missing_beside_another_is_a_violation(self) -> None:
        assert complaint(change(before=row(), after=None)) == (
            "schema_violation: $.after: expected an object, got null"
        )
        assert complaint(change(op="d", before=None, after=row())) == (
            "schema_violation: $.before: expected an object, got null"
        )
        assert rejected(change(before=row(), after=None)).marks is None

    @pytest.mark.parametrize("nothing", [None, ..., "x", 5, []])
    def test_no_row_at_all_is_no_event(self, nothing: Any) -> None:
        for op in ("c", "u", "d", "r"):
            assert rejected(change(op=op, before=nothing, after=nothing)).reason == "not_an_event"

    def test_the_key_is_the_tenant_of_a_deleted_row(self) -> None:
        gone = change(op="d", before={"id": "rr-1", "tenant_id": "t-2"}, after=None)
        assert deleted(gone).tenant_id == "t-1"
        for key in (None, b"", b"t 1", b"\xff", b'{"id":42}'):
            event = rejected(gone._replace(key=key))
            assert (event.reason, event.marks) == ("key_mismatch", None)
            assert event.detail.startswith("key: expected a tenant id, got ")

    def test_the_key_must_be_the_tenant_of_any_other_row(self) -> None:
        assert rejected(change(after=row(tenant_id="t-2"))).reason == "key_mismatch"
        assert rejected(change(after=row(tenant_id=None))).reason == "schema_violation"

    def test_integers_are_ids(self) -> None:
        event = accepted(change(after=row(id=1042, operation_run_id=77)))
        assert event.id == "1042"
        assert isinstance(event.facts, RestoreRun)
        assert event.facts.operation_run_id == "77"


class TestWhatIsNone:
    @pytest.mark.parametrize(
        "value",
        [
            {"ts_ms": 1_793_527_200_000},
            {"schema": {}, "payload": None},
            {"schema": {}, "payload": "x"},
            {"schema": {}, "payload": {"ts_ms": 1}},
            {"payload": {}},
            {**row(), "__op": "u", "__deleted": "false"},
            {"source": source(), "op": "u"},
            [envelope()],
        ],
        ids=["heartbeat", "null", "text", "wrapped heartbeat", "empty", "flattened row", "no rows", "array"],
    )
    def test_no_change_event(self, value: Any) -> None:
        assert rejected(record(value, {})).reason == "not_an_event"

    def test_a_source_that_is_no_object(self) -> None:
        assert rejected(change(source="platform")).reason == "not_an_event"

    def test_the_tombstone_after_a_deletion_is_ignored(self) -> None:
        assert isinstance(decode(record(None, {})), Ignored)
