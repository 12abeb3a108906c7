"""A run's file gives back every record as it lay in Kafka, whatever bytes were in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import Record
from contracts.incident import (
    RECORDS_OF,
    SCHEMA,
    Incident,
    IncidentRecord,
    is_incident,
    read_incident,
    record_from_json,
    record_to_json,
)
from contracts.violations import InvalidInput

ABOUT = {
    "tenant_id": "t-1", "restore_run_id": "rr-1", "made_at": "2026-11-01T10:00:00.000Z", "version": "1.0", "policy": 1,
    "prefix": "restore", "partition": 0, "partitions": 4, "partitioner": "murmur2", "deletion_memory_ms": 1,
    "max_value_bytes": 524288,
}  # fmt: skip
NOTHING: dict[str, Any] = {"schema": SCHEMA, "about": ABOUT, "document": None, **{what: [] for what in RECORDS_OF}}

BYTES = st.one_of(
    st.none(), st.binary(max_size=20), st.text(max_size=20).map(lambda text: text.encode(errors="ignore"))
)
NAMES = st.binary(max_size=8).map(lambda name: name.decode(errors="surrogateescape"))
RECORDS = st.builds(
    Record,
    st.sampled_from(["restore.restore-runs.v1", "restore.projection.ops.v1"]),
    st.integers(0, 99),
    st.integers(0, 2**63 - 1),
    st.integers(-(2**63), 2**63 - 1),
    BYTES,
    BYTES,
    st.lists(st.tuples(NAMES, BYTES), max_size=3).map(tuple),
)


@given(record=RECORDS)
def test_a_record_comes_back_as_it_lay_in_kafka(record: Record) -> None:
    written = json.dumps(record_to_json(record))
    assert record_from_json(IncidentRecord.model_validate(json.loads(written))) == record


def test_text_can_be_read_by_a_person() -> None:
    shown = record_to_json(Record("in", 0, 1, 0, b"t-1", '{"a":"ä"}'.encode(), (("ce_id", b"7"), ("x", b"\xff"))))
    assert (shown["key"], shown["value"], shown["time"]) == ("t-1", '{"a":"ä"}', "1970-01-01T00:00:00.000Z")
    assert shown["headers"] == [["ce_id", "7"], ["x", {"base64": "/w=="}]]


def test_a_file_of_a_run_of_which_nothing_is_known_is_one() -> None:
    assert is_incident(NOTHING)
    assert isinstance(read_incident(NOTHING), Incident)
    assert not is_incident({"schema": "restore.decision-state/1"})
    assert not is_incident([NOTHING])


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"schema": "restore.incident/2"}, r"\$\.schema: .*'restore.incident/1', got \"restore.incident/2\""),
        ({"inputs": [{"topic": "in"}]}, r"\$\.inputs\[0\]\.partition: .*Field required"),
        ({"about": {**ABOUT, "partitions": 0}}, r"\$\.about\.partitions: .* greater than or equal to 1, got 0"),
        ({"document": []}, r"\$\.document: .*dictionary, got an array"),
    ],
)
def test_what_is_none_is_refused_with_the_place(changed: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        read_incident({**NOTHING, **changed})


def test_what_is_no_base64_is_refused() -> None:
    found = IncidentRecord.model_validate({**record_to_json(Record("in", 0, 1, 0, None, None)), "key": {"base64": "A"}})
    with pytest.raises(InvalidInput, match="base64"):
        record_from_json(found)
