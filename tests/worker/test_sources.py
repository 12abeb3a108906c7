from __future__ import annotations

import pytest

from contracts.events import Changed, Decoder, Deleted, Event, Record
from contracts.facts import Counts, EvidenceSnapshot, OperationRun, RestoreRun
from contracts.topics import Topics
from worker.sources import FORMS, Form, SourceEvent, input_record, operation_data, run_data, snapshot_data

AT = 1_800_000_000_000
DECODER = Decoder(Topics(), 1, "murmur2")


def decoded(event: SourceEvent, form: Form) -> Event:
    record = input_record(event, form, Topics())
    return DECODER.decode(Record(record.topic, 0, 0, AT, b"t-1", record.value, record.headers))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sequence", [1, 2])
def test_a_run_is_read_as_it_was_told(form: Form, sequence: int) -> None:
    data = run_data("partial", AT, operation="op-1", counts={"total": 3, "failed": 1}, attention="partial")

    event = decoded(SourceEvent("restore_run", "t-1", "rr-1", sequence, data, AT), form)

    assert isinstance(event, Changed)
    assert isinstance(event.facts, RestoreRun)
    assert (event.id, event.tenant_id, event.sequence) == ("rr-1", "t-1", sequence)
    assert (event.facts.status, event.facts.operation_run_id, event.facts.attention) == ("partial", "op-1", "partial")
    assert (event.facts.counts, event.facts.updated_at) == (Counts(total=3, failed=1), AT)


@pytest.mark.parametrize("form", FORMS)
def test_an_operation_is_read_as_it_was_told(form: Form) -> None:
    data = operation_data("completed", "succeeded", started_at=AT - 1, completed_at=AT)

    event = decoded(SourceEvent("operation_run", "t-1", "op-1", 1, data, AT), form)

    assert isinstance(event, Changed)
    assert isinstance(event.facts, OperationRun)
    assert (event.facts.outcome, event.facts.started_at, event.facts.completed_at) == ("succeeded", AT - 1, AT)


@pytest.mark.parametrize("form", FORMS)
def test_a_snapshot_is_read_as_it_was_told(form: Form) -> None:
    data = snapshot_data("active", operation="op-1", generated_at=AT, expires_at=AT + 1)

    event = decoded(SourceEvent("evidence_snapshot", "t-1", "es-1", 1, data, AT), form)

    assert isinstance(event, Changed)
    assert isinstance(event.facts, EvidenceSnapshot)
    assert (event.facts.generated_at, event.facts.expires_at) == (AT, AT + 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sequence", [7, 8])
def test_a_deletion_is_read_as_it_was_told(form: Form, sequence: int) -> None:
    event = decoded(SourceEvent("restore_run", "t-1", "rr-1", sequence, None, AT), form)

    assert isinstance(event, Deleted)
    assert (event.id, event.tenant_id, event.sequence) == ("rr-1", "t-1", sequence)
