"""The official SDK as the peer: what it writes we read, what we write it reads; both of its Kafka bindings."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import kafka as binding
from cloudevents.core.v1.event import CloudEvent
from cloudevents.v1.http import CloudEvent as OldCloudEvent
from cloudevents.v1.kafka import KafkaMessage as OldMessage
from cloudevents.v1.kafka import from_binary as old_from_binary
from cloudevents.v1.kafka import to_binary as old_to_binary
from cloudevents.v1.kafka import to_structured as old_to_structured

from contracts.decision import encode
from contracts.documents import change_headers
from contracts.events import Record
from contracts.facts import ENTITIES, Entity
from tests.contracts.records import HOME, TOPIC, TRACEPARENT, accepted, binary, deleted, state, structured
from tests.contracts.test_documents import a_change


def attributes(entity: Entity, verb: str = "changed", **more: Any) -> dict[str, Any]:
    """What a producer sets; the SDK adds id, specversion and time."""
    return {
        "type": f"restore.{entity}.{verb}",
        "source": "urn:platform",
        "partitionkey": "t-1",
        "sequence": "5",
        "traceparent": TRACEPARENT,
        **more,
    }


def received(message: Any, entity: Entity) -> Record:
    key = message.key if isinstance(message.key, bytes) else message.key.encode()
    value = message.value if isinstance(message.value, bytes) else message.value.encode()
    return Record(TOPIC[entity], HOME, 7, 1_793_527_200_000, key, value, tuple(message.headers.items()))


@pytest.mark.parametrize("entity", ENTITIES)
@pytest.mark.parametrize("more", [{}, {"datacontenttype": "application/json"}], ids=["", "with content type"])
class TestWhatItWritesWeRead:
    def test_binary(self, entity: Entity, more: dict[str, Any]) -> None:
        message = binding.to_binary_event(CloudEvent(attributes(entity, **more), state(entity)))
        assert accepted(received(message, entity)) == accepted(binary(entity=entity, traceparent=TRACEPARENT))

    def test_structured(self, entity: Entity, more: dict[str, Any]) -> None:
        message = binding.to_structured_event(CloudEvent(attributes(entity, **more), state(entity)))
        assert accepted(received(message, entity)) == accepted(structured(entity=entity, traceparent=TRACEPARENT))

    def test_structured_from_bytes(self, entity: Entity, more: dict[str, Any]) -> None:
        data = json.dumps(state(entity)).encode()
        message = binding.to_structured_event(CloudEvent(attributes(entity, **more), data))
        assert b"data_base64" in message.value
        assert accepted(received(message, entity)) == accepted(structured(entity=entity, traceparent=TRACEPARENT))

    def test_deletions(self, entity: Entity, more: dict[str, Any]) -> None:
        event = CloudEvent(attributes(entity, "deleted", **more), {"id": "x-1", "tenant_id": "t-1"})
        for write in (binding.to_binary_event, binding.to_structured_event):
            assert deleted(received(write(event), entity)).id == "x-1"

    def test_structured_by_the_older_binding(self, entity: Entity, more: dict[str, Any]) -> None:
        """It marks the record with the data's content type, or with none."""
        message = old_to_structured(OldCloudEvent(attributes(entity, **more), state(entity)))
        assert message.headers == ({"content-type": b"application/json"} if more else {})
        assert accepted(received(message, entity)) == accepted(structured(entity=entity, traceparent=TRACEPARENT))


@pytest.mark.parametrize("entity", ENTITIES)
def test_binary_by_the_older_binding_is_read(entity: Entity) -> None:
    message = old_to_binary(OldCloudEvent(attributes(entity, datacontenttype="application/json"), state(entity)))
    assert accepted(received(message, entity)) == accepted(binary(entity=entity, traceparent=TRACEPARENT))


class TestWhatWeWriteItReads:
    def test_a_change_is_a_cloudevent_in_binary_mode(self) -> None:
        change = a_change()
        headers = dict(change_headers(change, "restore", TRACEPARENT))
        event = binding.from_binary_event(binding.KafkaMessage(headers, b"t-1/rr-1", encode(change)))
        assert event.get_data() == change
        assert event.get_attributes() == {
            "specversion": "1.0",
            "id": "t-1/rr-1/9",
            "type": "restore.decision.changed",
            "source": "urn:restore-projector:restore",
            "subject": "t-1/rr-1",
            "time": datetime(2026, 11, 1, 10, 1, tzinfo=UTC),
            "datacontenttype": "application/json",
            "tenant": "t-1",
            "fromstate": "completed_proof_incomplete",
            "tostate": "completed_with_evidence",
            "severity": "info",
            "direction": "progress",
            "origin": "live",
            "partitionkey": "t-1/rr-1",
        }

    def test_attributes_without_a_value_are_absent(self) -> None:
        change = a_change(to_state=None, from_state=None)
        event = binding.from_binary_event(
            binding.KafkaMessage(dict(change_headers(change, "restore", None)), b"t-1/rr-1", encode(change))
        )
        assert event.get_extension("fromstate") is None
        assert event.get_extension("tostate") is None

    def test_the_older_binding_reads_it_too(self) -> None:
        change = a_change()
        headers = dict(change_headers(change, "restore", TRACEPARENT))
        event = old_from_binary(OldMessage(headers, "t-1/rr-1", encode(change)))
        assert event.get_data() == change
        assert event["time"] == "2026-11-01T10:01:00.000Z"

    def test_the_time_is_ours_as_the_sdk_would_invent_one(self) -> None:
        headers = [pair for pair in change_headers(a_change(), "restore", None) if pair[0] != "ce_time"]
        event = binding.from_binary_event(binding.KafkaMessage(dict(headers), None, b"{}"))
        assert event.get_time() != datetime(2026, 11, 1, 10, 1, tzinfo=UTC)
        assert ("ce_time", b"2026-11-01T10:01:00.000Z") in change_headers(a_change(), "restore", None)
