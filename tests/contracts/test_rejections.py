"""Every reason for a dead letter, what it says, which goes first, and what is marked as unreadable."""

from __future__ import annotations

import itertools
import json
from typing import Any, get_args

import pytest

from contracts.events import Changed, Decoder, Mark, Record, Rejected
from contracts.facts import COUNT_NAMES, RUN_STATUSES, Entity
from contracts.ids import partition_of
from tests.contracts import debezium
from tests.contracts.drafts import FAULTS, MAX_BYTES, Fault, Form, draft, spoil
from tests.contracts.records import (
    HOME,
    PARTITIONS,
    TOPICS,
    accepted,
    binary,
    ce_event,
    complaint,
    decode,
    record,
    rejected,
    state,
    structured,
)

SMALL = Decoder(TOPICS, PARTITIONS, "murmur2", MAX_BYTES)

SOME_FAULTS = [
    (form, faults)
    for form in get_args(Form)
    for size in range(len(FAULTS) + 1)
    for faults in itertools.combinations(FAULTS, size)
]
"""Every subset of the faults, in each form: 3 times 512."""


def spoiled(form: Form, faults: tuple[Fault, ...]) -> Record:
    d = draft(form)
    for fault in faults:
        spoil(d, form, fault)
    return d.record()


class TestPrecedence:
    def test_the_first_reason_that_holds_is_given_whatever_else_is_wrong(self) -> None:
        for form, faults in SOME_FAULTS:
            event = SMALL.decode(spoiled(form, faults))
            if not faults:
                assert isinstance(event, Changed), event
                continue
            assert isinstance(event, Rejected), (form, faults)
            assert event.reason == FAULTS[faults[0]], (form, faults, event)

    def test_an_entity_is_marked_after_two_reasons_and_only_where_the_record_lies_at_home(self) -> None:
        for form, faults in SOME_FAULTS:
            event = SMALL.decode(spoiled(form, faults))
            if not isinstance(event, Rejected):
                continue
            unreadable = event.reason in {"missing_sequence", "schema_violation"}
            at_home = "foreign key" not in faults and "foreign partition" not in faults
            sequence = debezium.LSN if form == "debezium" else 5
            mark = Mark("restore_run", "t-1", "rr-1", None if event.reason == "missing_sequence" else sequence)
            assert event.marks == (mark if unreadable and at_home else None), (form, faults)


COMPLAINTS = {
    # headers
    "binary, wrong version": (
        binary(ce_specversion="0.3"),
        'not_an_event: header ce_specversion: expected 1.0, got "0.3"',
    ),
    "binary, no version": (
        binary(ce_specversion=...),
        "not_an_event: header ce_specversion: expected a value, got nothing",
    ),
    "binary, no id": (binary(ce_id=...), "not_an_event: header ce_id: expected a value, got nothing"),
    "binary, empty id": (binary(ce_id=""), "not_an_event: header ce_id: expected a value, got an empty one"),
    "binary, no source": (binary(ce_source=...), "not_an_event: header ce_source: expected a value, got nothing"),
    "binary, no type": (binary(ce_type=...), "not_an_event: header ce_type: expected a value, got nothing"),
    "binary, not JSON by its content type": (
        binary(content_type="application/avro"),
        'not_an_event: header content-type: expected application/json, got "application/avro"',
    ),
    "structured in another format": (
        record(ce_event(), {"content-type": "application/cloudevents+avro"}),
        'not_an_event: header content-type: expected application/cloudevents+json, got "application/cloudevents+avro"',
    ),
    "a batch": (
        record([ce_event()], {"content-type": "application/cloudevents-batch+json"}),
        (
            "not_an_event: header content-type: expected application/cloudevents+json,"
            ' got "application/cloudevents-batch+json"'
        ),
    ),
    "two types": (
        binary()._replace(headers=(*binary().headers, ("CE_Type", b"restore.restore_run.deleted"))),
        (
            "not_an_event: header ce_type: expected one value,"
            ' got "restore.restore_run.changed" and "restore.restore_run.deleted"'
        ),
    ),
    # JSON
    "empty": (
        binary(b""),
        "not_json: $: expected strict JSON (EOF while parsing a value at line 1 column 0), got nothing",
    ),
    "duplicate keys": (
        binary(b'{"id":"a","id":"b"}'),
        'not_json: $: expected each key once in an object (twice at line 1 column 16), got "{"id":"a","id":"b"}"',
    ),
    # shape
    "binary, an array": (binary([]), "not_an_event: $: expected an object, got an array"),
    "binary, null": (binary(b"null"), "not_an_event: $: expected an object, got null"),
    "structured, an array": (
        record([], {"content-type": "application/cloudevents+json"}),
        "not_an_event: $: expected an object, got an array",
    ),
    "structured, no id": (
        structured(id=...),
        "not_an_event: $.id: expected a string that is not empty, got nothing",
    ),
    "structured, an id of another type": (
        structured(id=5),
        "not_an_event: $.id: expected a string that is not empty, got 5",
    ),
    "structured, no source": (
        structured(source=""),
        'not_an_event: $.source: expected a string that is not empty, got ""',
    ),
    "structured, type null": (
        structured(type=None),
        "not_an_event: $.type: expected a string that is not empty, got null",
    ),
    "structured, wrong version": (
        structured(specversion="1.1"),
        'not_an_event: $.specversion: expected "1.0", got "1.1"',
    ),
    "structured, no data": (structured(data=...), "not_an_event: $.data: expected an object, got nothing"),
    "structured, data in a string": (
        structured(data="{}"),
        'not_an_event: $.data: expected an object, got "{}"',
    ),
    "structured, data of another type": (
        structured(datacontenttype="text/xml"),
        'not_an_event: $.datacontenttype: expected application/json, got "text/xml"',
    ),
    "structured, no base64": (
        structured(data=..., data_base64="?"),
        'not_an_event: $.data_base64: expected base64, got "?"',
    ),
    "structured, data twice": (
        structured(data_base64="e30="),
        'not_an_event: $.data_base64: expected base64, and no data beside it, got "e30="',
    ),
    "structured, no JSON in base64": (
        structured(data=..., data_base64="ew=="),
        'not_json: $.data_base64: expected strict JSON (EOF while parsing an object at line 1 column 1), got "{"',
    ),
    "neither form": (
        record(state(), {}),
        "not_an_event: $.op: expected a Debezium operation, or a CloudEvent's headers, got nothing",
    ),
    "no object": (
        record(b"5", {}),
        "not_an_event: $: expected a CloudEvent, by its headers, or a Debezium change event, got 5",
    ),
    # type
    "a type of another entity": (
        binary(ce_type="restore.operation_run.changed"),
        (
            "unknown_type: header ce_type: expected restore.restore_run.changed or .deleted on this topic,"
            ' got "restore.operation_run.changed"'
        ),
    ),
    "a type in capitals": (
        structured(type="Restore.restore_run.changed"),
        (
            "unknown_type: $.type: expected restore.restore_run.changed or .deleted on this topic,"
            ' got "Restore.restore_run.changed"'
        ),
    ),
    # sequence
    "no sequence": (
        binary(ce_sequence=...),
        "missing_sequence: header ce_sequence: expected decimal digits, up to 9223372036854775807, got nothing",
    ),
    "no digits": (
        structured(sequence="5a"),
        'missing_sequence: $.sequence: expected decimal digits, up to 9223372036854775807, got "5a"',
    ),
    # key and partition
    "no key": (
        binary()._replace(key=None),
        'key_mismatch: key: expected the tenant id "t-1", got nothing',
    ),
    "another tenant's key": (
        binary()._replace(key=b"t-2"),
        'key_mismatch: key: expected the tenant id "t-1", got "t-2"',
    ),
    "a key in JSON": (
        binary()._replace(key=b'"t-1"'),
        'key_mismatch: key: expected the tenant id "t-1", got ""t-1""',
    ),
    "another partition": (
        binary()._replace(partition=HOME + 1),
        f'partition_mismatch: partition: expected {HOME} (murmur2 of "t-1", 4 partitions), got {HOME + 1}',
    ),
}


@pytest.mark.parametrize(("raw", "expected"), COMPLAINTS.values(), ids=COMPLAINTS)
def test_a_refusal_says_where_what_was_expected_and_what_came(raw: Record, expected: str) -> None:
    assert complaint(raw) == expected


def test_too_large_is_found_without_parsing() -> None:
    event = SMALL.decode(binary(b"[" * 5000))
    assert event == Rejected("too_large", "value: expected at most 4000 bytes, got 5000 bytes")


@pytest.mark.parametrize(
    "text",
    ["", " 5", "5 ", "+5", "-5", "5.0", "0x5", "5e3", "\u0665", "9223372036854775808", "1" * 129, "0" * 129, "null"],
)
def test_a_sequence_that_is_not_decimal_digits_in_range_is_missing(text: str) -> None:
    assert rejected(binary(ce_sequence=text)).reason == "missing_sequence"
    assert rejected(structured(sequence=text)).reason == "missing_sequence"
    assert rejected(debezium.change(after=debezium.row(revision=text))).reason == "missing_sequence"


@pytest.mark.parametrize("value", [None, True, -1, 5.0, 2**63, [5], {"n": 5}])
def test_a_sequence_of_another_json_type_is_missing(value: Any) -> None:
    assert rejected(structured(sequence=value)).reason == "missing_sequence"
    assert rejected(debezium.change(after=debezium.row(revision=value))).reason == "missing_sequence"


AN_ID = "an identifier (1 to 128 of A-Z a-z 0-9 . _ -, but not . or ..) or an integer from 0"
A_TIME = "an RFC 3339 time with a zone, of the years 1 to 9999, like 2026-11-01T10:00:00Z"
A_COUNT = "an integer from 0 to 9007199254740991, or null where it is not known"

VIOLATIONS: list[tuple[Entity, dict[str, Any], str]] = [
    ("restore_run", {"id": ...}, f"$.id: expected {AN_ID}, got nothing"),
    ("restore_run", {"id": None}, f"$.id: expected {AN_ID}, got null"),
    ("restore_run", {"id": ""}, f'$.id: expected {AN_ID}, got ""'),
    ("restore_run", {"id": ".."}, f'$.id: expected {AN_ID}, got ".."'),
    ("restore_run", {"id": "a/b"}, f'$.id: expected {AN_ID}, got "a/b"'),
    ("restore_run", {"id": -1}, f"$.id: expected {AN_ID}, got -1"),
    ("restore_run", {"id": 1.0}, f"$.id: expected {AN_ID}, got 1.0"),
    ("restore_run", {"id": True}, f"$.id: expected {AN_ID}, got true"),
    ("restore_run", {"id": 10**128}, f"$.id: expected {AN_ID}, got 1{'0' * 79}…"),
    ("restore_run", {"tenant_id": ...}, f"$.tenant_id: expected {AN_ID}, got nothing"),
    ("restore_run", {"tenant_id": "é"}, f'$.tenant_id: expected {AN_ID}, got "é"'),
    ("restore_run", {"status": ...}, f"$.status: expected one of {', '.join(RUN_STATUSES)}, got nothing"),
    ("restore_run", {"status": None}, f"$.status: expected one of {', '.join(RUN_STATUSES)}, got null"),
    ("restore_run", {"status": "Completed"}, f'$.status: expected one of {", ".join(RUN_STATUSES)}, got "Completed"'),
    ("restore_run", {"is_dry_run": ...}, "$.is_dry_run: expected true or false, got nothing"),
    ("restore_run", {"is_dry_run": 0}, "$.is_dry_run: expected true or false, got 0"),
    ("restore_run", {"is_dry_run": "false"}, '$.is_dry_run: expected true or false, got "false"'),
    ("restore_run", {"operation_run_id": ""}, f'$.operation_run_id: expected {AN_ID}, or null, got ""'),
    ("restore_run", {"metadata": "{}"}, '$.metadata: expected an object or null, got "{}"'),
    ("restore_run", {"metadata": []}, "$.metadata: expected an object or null, got an array"),
    ("restore_run", {"metadata": {"counts": [1]}}, "$.metadata.counts: expected an object or null, got an array"),
    (
        "restore_run",
        {"metadata": {"counts": {"failed": 2**53}}},
        f"$.metadata.counts.failed: expected {A_COUNT}, got 9007199254740992",
    ),
    ("restore_run", {"result_attention": "partial"}, '$.result_attention: expected an object or null, got "partial"'),
    (
        "restore_run",
        {"result_attention": {"state": "good"}},
        (
            "$.result_attention.state: expected one of completed, completed_with_follow_up, partial, failed,"
            ' not_executed, or null, got "good"'
        ),
    ),
    ("restore_run", {"updated_at": "yesterday"}, f'$.updated_at: expected {A_TIME}, or null, got "yesterday"'),
    ("restore_run", {"updated_at": 1793527200}, f"$.updated_at: expected {A_TIME}, or null, got 1793527200"),
    (
        "restore_run",
        {"updated_at": "2026-11-01T10:00:00"},
        f'$.updated_at: expected {A_TIME}, or null, got "2026-11-01T10:00:00"',
    ),
    ("operation_run", {"status": "failed"}, '$.status: expected one of queued, running, completed, got "failed"'),
    (
        "operation_run",
        {"outcome": ""},
        (
            "$.outcome: expected one of pending, succeeded, partially_succeeded, failed, blocked, cancelled, or null,"
            ' got ""'
        ),
    ),
    ("operation_run", {"started_at": {}}, f"$.started_at: expected {A_TIME}, or null, got an object"),
    ("operation_run", {"completed_at": False}, f"$.completed_at: expected {A_TIME}, or null, got false"),
    (
        "evidence_snapshot",
        {"status": "current"},
        '$.status: expected one of queued, generating, active, superseded, expired, failed, got "current"',
    ),
    ("evidence_snapshot", {"operation_run_id": 0.5}, f"$.operation_run_id: expected {AN_ID}, or null, got 0.5"),
    (
        "evidence_snapshot",
        {"expires_at": "2026-02-30T00:00:00Z"},
        f'$.expires_at: expected {A_TIME}, or null, got "2026-02-30T00:00:00Z"',
    ),
]


@pytest.mark.parametrize(("entity", "changes", "expected"), VIOLATIONS)
def test_a_violation_has_the_exact_path(entity: Entity, changes: dict[str, Any], expected: str) -> None:
    wrong = state(entity, **changes)
    assert complaint(binary(wrong, entity=entity)) == f"schema_violation: {expected}"
    below = expected.replace("$.", "$.data.", 1)
    assert complaint(structured(wrong, entity=entity)) == f"schema_violation: {below}"


@pytest.mark.parametrize("name", COUNT_NAMES)
@pytest.mark.parametrize("count", ["1", "", True, False, 1.0, 1e3, -1, 2**53, 2**64, [], {}])
def test_a_count_is_an_integer_and_nothing_that_looks_like_one(name: str, count: Any) -> None:
    event = rejected(binary(state(metadata={"counts": {name: count}})))
    assert event.reason == "schema_violation"
    assert event.detail.startswith(f"$.metadata.counts.{name}: expected {A_COUNT}, got ")


def test_a_count_as_large_as_json_can_carry_exactly() -> None:
    accepted(binary(state(metadata={"counts": {"total": 2**53 - 1}})))


def test_the_first_violation_in_the_order_of_the_fields_is_told() -> None:
    everything = {"updated_at": 1, "metadata": 1, "status": 1, "tenant_id": -1, "id": -1}
    assert "$.id:" in complaint(binary(everything))
    assert "$.tenant_id:" in complaint(binary({**everything, "id": "rr-1"}))
    assert "$.status:" in complaint(binary({**everything, "id": "rr-1", "tenant_id": "t-1"}))


def test_a_deletion_that_does_not_name_its_entity_is_a_violation() -> None:
    assert complaint(binary({"tenant_id": "t-1"}, verb="deleted")) == (
        f"schema_violation: $.id: expected {AN_ID}, got nothing"
    )
    assert complaint(structured({"id": "rr-1"}, verb="deleted")) == (
        f"schema_violation: $.data.tenant_id: expected {AN_ID}, got nothing"
    )


JSON_THAT_IS_NONE = [
    '"x": NaN', '"x": Infinity', '"x": 1e400', '"id": "rr-1"', r'"x": "\ud800"', '"x": ' + "[" * 300 + "]" * 300
]  # fmt: skip


@pytest.mark.parametrize("member", JSON_THAT_IS_NONE)
def test_json_is_strict_in_fields_that_are_ignored_too(member: str) -> None:
    lax = (json.dumps(state())[:-1] + f", {member}}}").encode()
    assert rejected(binary(lax)).reason == "not_json"
    event = json.dumps(ce_event(data={"X": 1})).encode().replace(b'{"X": 1}', lax)
    assert rejected(record(event, {"content-type": "application/cloudevents+json"})).reason == "not_json"
    change = json.dumps(debezium.envelope(after={"X": 1})).encode().replace(b'{"X": 1}', lax)
    assert rejected(record(change, {})).reason == "not_json"


def test_what_came_is_quoted_in_80_printable_characters_at_most() -> None:
    event = rejected(binary(state(status="é\n\x1b[31m\u202e" + "x" * 500)))
    assert event.detail.endswith('got "é��[31m�' + "x" * 72 + '"…')
    assert event.detail.isprintable()


class TestMarks:
    """Which entity shows `unreadable_input` (interfaces, section 7)."""

    @pytest.mark.parametrize("entity", ["restore_run", "operation_run", "evidence_snapshot"])
    def test_a_violation_marks_the_entity_with_the_sequence_that_came(self, entity: Entity) -> None:
        data = state(entity, status="?")
        assert rejected(binary(data, entity=entity)).marks == Mark(entity, "t-1", data["id"], 5)
        assert rejected(structured(data, entity=entity)).marks == Mark(entity, "t-1", data["id"], 5)

    def test_a_sequence_that_is_unreadable_marks_without_one(self) -> None:
        assert rejected(binary(ce_sequence="x")).marks == Mark("restore_run", "t-1", "rr-1", None)
        gone = binary({"id": "rr-1", "tenant_id": "t-1"}, verb="deleted", ce_sequence="x")
        assert rejected(gone).marks == Mark("restore_run", "t-1", "rr-1", None)

    @pytest.mark.parametrize("field", ["id", "tenant_id"])
    @pytest.mark.parametrize("value", [..., None, "", "a/b", -1, 1.5, True, [], {}])
    def test_without_a_readable_id_or_tenant_nothing_is_marked(self, field: str, value: Any) -> None:
        event = rejected(binary(state(**{field: value})))
        assert (event.reason, event.marks) == ("schema_violation", None)
        event = rejected(binary(state(**{field: value}), ce_sequence=...))
        assert (event.reason, event.marks) == ("missing_sequence", None)

    def test_ids_that_are_integers_are_readable(self) -> None:
        home = partition_of("7", PARTITIONS, "murmur2")
        event = rejected(binary(state(id=42, tenant_id=7, status="?"))._replace(key=b"7", partition=home))
        assert event.marks == Mark("restore_run", "7", "42", 5)

    def test_another_tenants_key_or_partition_marks_nothing(self) -> None:
        wrong = binary(state(status="?"))
        for elsewhere in (wrong._replace(key=b"t-2"), wrong._replace(key=None), wrong._replace(partition=HOME + 1)):
            event = rejected(elsewhere)
            assert (event.reason, event.marks) == ("schema_violation", None)

    def test_a_deleted_row_is_its_keys(self) -> None:
        raw = debezium.change(op="d", before={"id": "rr-1", "tenant_id": "t-2", "revision": None}, after=None)
        assert rejected(raw).marks == Mark("restore_run", "t-1", "rr-1", None)
        assert rejected(raw._replace(key=b"t 1")).marks is None
        assert rejected(raw._replace(key=b"")).marks is None
        assert rejected(raw._replace(key=b"\xff")).marks is None
        assert rejected(raw._replace(key=None)).marks is None


def test_a_record_that_is_refused_is_refused_alike_every_time() -> None:
    raw = binary(state(status="?"))
    assert decode(raw) == decode(raw)


def test_a_header_of_nothing_is_an_empty_one() -> None:
    headers: Any = (*binary(ce_id=...).headers, ("ce_id", None), ("traceparent", None), ("x", None))
    assert complaint(binary()._replace(headers=headers)) == (
        "not_an_event: header ce_id: expected a value, got an empty one"
    )
    twice: Any = (*binary().headers, ("ce_id", None))
    assert complaint(binary()._replace(headers=twice)) == (
        'not_an_event: header ce_id: expected one value, got "e-1" and ""'
    )


def test_a_topic_of_no_entity_is_an_unknown_type() -> None:
    assert complaint(binary()._replace(topic="restore.projection.ops.v1")) == (
        "unknown_type: topic: expected one of restore.restore-runs.v1, restore.operation-runs.v1,"
        ' restore.evidence-snapshots.v1, got "restore.projection.ops.v1"'
    )
