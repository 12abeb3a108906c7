"""Records that are events: three forms, three entities, and what may vary without being wrong."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from contracts.events import Decoder, Ignored, Record
from contracts.facts import (
    ENTITIES,
    MAX_SEQUENCE,
    NO_COUNTS,
    Counts,
    Entity,
    EvidenceSnapshot,
    OperationRun,
    RestoreRun,
    Source,
)
from contracts.ids import PARTITIONERS, Partitioner, partition_of
from contracts.topics import Topics
from tests.contracts import debezium
from tests.contracts.records import (
    HOME,
    TOPIC,
    TRACEPARENT,
    accepted,
    binary,
    ce_event,
    ce_headers,
    complaint,
    decode,
    deleted,
    record,
    rejected,
    state,
    structured,
)

TEN = 1_793_527_200_000
"""2026-11-01T10:00:00Z in ms"""
MINUTE = 60_000


def source(entity: Entity) -> Source:
    return Source(TOPIC[entity], HOME, 7, TEN)


def facts_of(entity: Entity, sequence: int) -> RestoreRun | OperationRun | EvidenceSnapshot:
    """The facts in the examples of interfaces, section 3."""
    place = source(entity)
    if entity == "restore_run":
        counts = Counts(12, 12, 0, 0, 0, 0)
        return RestoreRun("rr-1", "t-1", "completed", False, "op-1", counts, "completed", TEN, sequence, place)
    if entity == "operation_run":
        began = TEN - 2 * MINUTE
        return OperationRun("op-1", "t-1", "completed", "succeeded", began, TEN, False, sequence, place)
    return EvidenceSnapshot("es-1", "t-1", "active", "op-1", TEN + MINUTE, None, False, sequence, place)


@pytest.mark.parametrize("entity", ENTITIES)
class TestEachFormSaysTheSame:
    def test_binary(self, entity: Entity) -> None:
        event = accepted(binary(entity=entity))
        assert event.facts == facts_of(entity, 5)
        assert (event.entity, event.tenant_id, event.id, event.sequence) == (entity, "t-1", event.facts.id, 5)
        assert event.source == event.facts.source == source(entity)

    def test_structured(self, entity: Entity) -> None:
        assert accepted(structured(entity=entity)) == accepted(binary(entity=entity))

    def test_debezium(self, entity: Entity) -> None:
        event = accepted(debezium.change(entity))
        assert event.facts == facts_of(entity, debezium.LSN)
        assert event == accepted(debezium.with_schema(entity))

    def test_deleted(self, entity: Entity) -> None:
        gone = {"id": "x-1", "tenant_id": "t-1"}
        events = [
            deleted(binary(gone, entity=entity, verb="deleted")),
            deleted(structured(gone, entity=entity, verb="deleted")),
            deleted(debezium.change(entity, op="d", before={"id": "x-1", "revision": 5}, after=None)),
        ]
        assert len(set(events)) == 1
        assert (events[0].entity, events[0].tenant_id, events[0].id, events[0].sequence) == (entity, "t-1", "x-1", 5)
        assert events[0].source == source(entity)


@pytest.mark.parametrize(
    "raw",
    [
        record(None, {}),
        record(None, ce_headers()),
        record(None, {"content-type": "application/cloudevents+json"}),
        record(None, {}, key=None, partition=99),
    ],
)
def test_a_null_value_is_ignored_in_every_form_and_wherever_it_lies(raw: Record) -> None:
    assert isinstance(decode(raw), Ignored)


class TestHeaders:
    """Names and media types without regard to case, parameters allowed."""

    @pytest.mark.parametrize(
        "content_type",
        ["application/json", "Application/JSON", "application/json; charset=utf-8", " application/json ;x=y", ...],
    )
    def test_content_types_of_a_binary_event(self, content_type: Any) -> None:
        accepted(binary(content_type=content_type))

    @pytest.mark.parametrize(
        "content_type", ["application/cloudevents+json", "APPLICATION/CloudEvents+JSON;charset=UTF-8"]
    )
    def test_content_types_of_a_structured_event(self, content_type: str) -> None:
        accepted(record(ce_event(), {"content-type": content_type}))

    def test_names_in_any_case(self) -> None:
        headers = {name.title(): value for name, value in ce_headers().items()}
        assert "Ce_Type" in headers
        assert accepted(record(state(), headers)) == accepted(binary())

    def test_a_structured_event_with_the_attributes_as_headers_too_is_structured(self) -> None:
        headers = ce_headers(ce_sequence="6", content_type="application/cloudevents+json")
        assert accepted(record(ce_event(), headers)).sequence == 5

    def test_a_structured_event_without_its_content_type_is_known_by_its_shape(self) -> None:
        assert accepted(record(ce_event(), {"content-type": "application/json"})) == accepted(structured())
        assert accepted(record(ce_event(), {})) == accepted(structured())

    def test_a_header_twice_with_one_value(self) -> None:
        twice = binary()
        accepted(twice._replace(headers=twice.headers + twice.headers))

    def test_headers_of_others_are_not_looked_at(self) -> None:
        accepted(record(state(), {**ce_headers(), "ce_time": "not a time", "x": b"\xff", "dl_reason": "not_json"}))
        accepted(record(debezium.envelope(), {"content-type": "text/plain", "ce_comexampleother": "x"}))


class TestTraceparent:
    OTHER = TRACEPARENT.replace("4bf9", "0000")

    def test_the_header_goes_before_the_attribute(self) -> None:
        raw = binary(traceparent=TRACEPARENT, ce_traceparent=self.OTHER)
        assert accepted(raw).traceparent == TRACEPARENT
        assert accepted(binary(ce_traceparent=TRACEPARENT)).traceparent == TRACEPARENT
        assert accepted(structured(traceparent=TRACEPARENT)).traceparent == TRACEPARENT
        in_both = record(ce_event(traceparent=self.OTHER), {"traceparent": TRACEPARENT})
        assert accepted(in_both).traceparent == TRACEPARENT
        assert accepted(debezium.change()._replace(headers=in_both.headers)).traceparent == TRACEPARENT

    def test_a_deletion_and_a_refusal_have_it_too(self) -> None:
        gone = {"id": "rr-1", "tenant_id": "t-1"}
        assert deleted(binary(gone, verb="deleted", traceparent=TRACEPARENT)).traceparent == TRACEPARENT
        for refused in (binary(state(status="?")), binary(ce_sequence=...), binary(b"{")):
            traced = refused._replace(headers=(*refused.headers, ("traceparent", TRACEPARENT.encode())))
            assert rejected(traced).traceparent == TRACEPARENT

    def test_the_last_of_several_counts(self) -> None:
        raw = binary(traceparent=self.OTHER)
        again = raw._replace(headers=(*raw.headers, ("Traceparent", TRACEPARENT.encode())))
        assert accepted(again).traceparent == TRACEPARENT

    @pytest.mark.parametrize("text", ["", "Healthy", TRACEPARENT + "\n", TRACEPARENT.upper(), "ff" + TRACEPARENT[2:]])
    def test_free_text_is_not_passed_on(self, text: str) -> None:
        assert accepted(binary(traceparent=text)).traceparent is None
        assert accepted(structured(traceparent=text)).traceparent is None
        assert accepted(structured(traceparent=5)).traceparent is None


class TestSequence:
    @pytest.mark.parametrize(
        ("text", "number"),
        [("0", 0), ("5", 5), ("0000000000000000000000000005", 5), ("9223372036854775807", MAX_SEQUENCE)],
    )
    def test_decimal_digits(self, text: str, number: int) -> None:
        assert accepted(binary(ce_sequence=text)).sequence == number
        assert accepted(structured(sequence=text)).sequence == number
        assert accepted(debezium.change(after=debezium.row(revision=text))).sequence == number

    def test_a_json_integer_where_there_is_json(self) -> None:
        assert accepted(structured(sequence=5)).sequence == 5
        assert accepted(debezium.change(after=debezium.row(revision=5))).sequence == 5


class TestWhatMayVary:
    def test_unknown_fields_are_ignored_at_every_level(self) -> None:
        odd = {"x": [1, {"y": None}], "Status": "failed"}
        data = state(**odd, metadata={"counts": {"total": 12, "percent": 0.5}, **odd}, result_attention={**odd})
        facts = accepted(binary(data)).facts
        assert isinstance(facts, RestoreRun)
        assert facts.counts == Counts(total=12)
        accepted(structured(data, x=[odd]))

    def test_what_is_optional_may_be_absent_or_null(self) -> None:
        optional = {
            "restore_run": ("operation_run_id", "metadata", "result_attention", "updated_at"),
            "operation_run": ("outcome", "started_at", "completed_at"),
            "evidence_snapshot": ("operation_run_id", "generated_at", "expires_at"),
        }
        for entity in ENTITIES:
            absent = accepted(binary(state(entity, **dict.fromkeys(optional[entity], ...)), entity=entity))
            null = accepted(binary(state(entity, **dict.fromkeys(optional[entity])), entity=entity))
            assert absent == null
            assert not any(getattr(absent.facts, name, None) for name in optional[entity])

    @pytest.mark.parametrize(
        "metadata", [..., None, {}, {"counts": None}, {"counts": {}}, {"counts": {"total": None}}, {"note": "x"}]
    )
    def test_counts_that_are_not_there_are_not_known(self, metadata: Any) -> None:
        facts = accepted(binary(state(metadata=metadata))).facts
        assert isinstance(facts, RestoreRun)
        assert facts.counts == NO_COUNTS

    @pytest.mark.parametrize("attention", [..., None, {}, {"state": None}, {"summary": "x"}])
    def test_attention_that_is_not_there_is_not_known(self, attention: Any) -> None:
        facts = accepted(binary(state(result_attention=attention))).facts
        assert isinstance(facts, RestoreRun)
        assert facts.attention is None

    def test_an_integer_is_an_id(self) -> None:
        data = state(id=42, tenant_id=7, operation_run_id=0)
        home = partition_of("7", 4, "murmur2")
        event = accepted(binary(data)._replace(key=b"7", partition=home))
        assert (event.id, event.tenant_id) == ("42", "7")
        assert isinstance(event.facts, RestoreRun)
        assert event.facts.operation_run_id == "0"
        gone = binary({"id": 42, "tenant_id": 7}, verb="deleted")._replace(key=b"7", partition=home)
        assert (deleted(gone).id, deleted(gone).tenant_id) == ("42", "7")

    def test_a_time_is_cut_to_milliseconds(self) -> None:
        facts = accepted(binary(state(updated_at="2026-11-01T12:00:00.0019+02:00"))).facts
        assert isinstance(facts, RestoreRun)
        assert facts.updated_at == TEN + 1

    def test_a_deletion_needs_nothing_but_the_names(self) -> None:
        deleted(binary({"id": "rr-1", "tenant_id": "t-1", "status": 5, "metadata": "?"}, verb="deleted"))

    def test_structured_data_in_base64(self) -> None:
        text = base64.b64encode(json.dumps(state()).encode()).decode()
        assert accepted(structured(data=..., data_base64=text)) == accepted(structured())

    def test_a_structured_event_without_datacontenttype(self) -> None:
        accepted(structured(datacontenttype=...))
        accepted(structured(datacontenttype=None))
        accepted(structured(datacontenttype="Application/Json; charset=utf-8"))


@pytest.mark.parametrize("partitioner", PARTITIONERS)
def test_a_record_lies_where_the_chosen_partitioner_puts_it(partitioner: Partitioner) -> None:
    decoder = Decoder(Topics(), 64, partitioner)
    home = partition_of("t-1", 64, partitioner)
    assert decoder.decode(binary()._replace(partition=home)).entity == "restore_run"  # type: ignore[union-attr]
    elsewhere = decoder.decode(binary()._replace(partition=(home + 1) % 64))
    assert elsewhere.reason == "partition_mismatch"  # type: ignore[union-attr]


def test_topics_with_another_prefix() -> None:
    topics = Topics("eu")
    decoder = Decoder(topics, 4, "murmur2")
    event = decoder.decode(binary()._replace(topic="eu.restore-runs.v1"))
    assert event.source.topic == "eu.restore-runs.v1"  # type: ignore[union-attr]


def test_a_value_of_exactly_the_limit_is_read() -> None:
    value = json.dumps(state()).encode()
    topics = Topics()
    assert Decoder(topics, 4, "murmur2", len(value)).decode(binary(value)) == decode(binary())
    assert complaint(binary(b"x" * 524_289)).startswith("too_large")
    assert complaint(binary(b"x" * 524_288)).startswith("not_json")
