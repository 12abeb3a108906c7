"""From records of the four inputs to inputs of the fold: whose time counts, and as whose record it is set aside."""

from __future__ import annotations

import pytest

from contracts.commands import REPLAY_HEADERS, Recompute
from contracts.events import Changed, Record, Rejected
from projections.inputs import InputDecoder
from tests.contracts.records import HOME, PARTITIONS, TOPICS, binary
from tests.projections.builders import Fold

DECODER = InputDecoder(TOPICS, PARTITIONS, "murmur2")
MICROSECONDS = 1_793_527_200_000_000


def replayed(source: Record, topic: str | None = None) -> Record:
    """An order to take a record again, given an hour after it."""
    place = (topic or source.topic, source.partition, source.offset, source.timestamp)
    named = zip(REPLAY_HEADERS, (str(part).encode() for part in place), strict=True)
    headers = (*source.headers, ("op", b"replay"), *named)
    return source._replace(topic=TOPICS.ops, offset=99, timestamp=source.timestamp + 3_600_000, headers=headers)


def test_an_event_is_merged_at_its_records_time() -> None:
    record = binary()
    input = DECODER.decode(record)
    assert isinstance(input.event, Changed)
    assert (input.at, input.record, input.origin) == (record.timestamp, record, "live")


def test_a_replayed_event_keeps_its_identity_but_has_the_commands_time() -> None:
    source = binary()
    input = DECODER.decode(replayed(source))
    assert input.event == DECODER.decode(source).event
    assert (input.at, input.record, input.origin) == (source.timestamp + 3_600_000, source, "replay")


def test_a_replayed_record_that_is_no_event_is_set_aside_as_itself() -> None:
    source = binary(ce_sequence="x")
    input = DECODER.decode(replayed(source))
    assert isinstance(input.event, Rejected)
    assert (input.event.reason, input.record) == ("missing_sequence", source)


def test_only_records_of_the_entities_topics_can_be_replayed() -> None:
    """An order to replay an order would never end."""
    for topic in (TOPICS.ops, TOPICS.decision_state, "elsewhere"):
        event = DECODER.decode(replayed(binary(), topic)).event
        assert isinstance(event, Rejected)
        assert event.reason == "unknown_type"


def test_an_order_to_decide_again_is_merged_at_its_own_time() -> None:
    record = Record(TOPICS.ops, HOME, 3, 5000, b"t-1", b'{"restore_run_id": "rr-1"}', (("op", b"recompute"),))
    input = DECODER.decode(record)
    assert (input.event, input.at, input.record) == (Recompute("t-1", "rr-1"), 5000, record)


def test_a_dismissal_passes_by_as_what_says_nothing() -> None:
    record = Record(TOPICS.ops, HOME, 3, 5000, b"t-1", None, (("op", b"dismiss"), ("letter", b"7")))
    assert Fold().take(DECODER.decode(record)) == ["ignored"]


@pytest.mark.parametrize("timestamp", [MICROSECONDS, 2**63 - 1])
def test_a_timestamp_beyond_all_times_is_the_last_one(timestamp: int) -> None:
    """A producer that stamps in microseconds does not stop the worker; its record's place is told as it is."""
    input = DECODER.decode(binary()._replace(timestamp=timestamp))
    fold = Fold(input)
    assert fold.document()["updated_at"] == "9999-12-31T23:59:59.999Z"
    assert fold.last_change["changed_at"] == "9999-12-31T23:59:59.999Z"
    assert fold.inputs()["restore_run"]["source"]["timestamp"] == timestamp
