"""What operators ask of the worker through the ops topic: read strictly, and never a reason to stop."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.commands import MAX_NUMBER, Command, CommandDecoder, Dismiss, Forget, Recompute, Replay
from contracts.events import Ignored, Record, Rejected
from tests.contracts.records import HOME, PARTITIONS, TOPICS, TRACEPARENT, binary

DECODER = CommandDecoder(PARTITIONS, "murmur2")
RECOMPUTE = Record(TOPICS.ops, HOME, 3, 5000, b"t-1", b'{"restore_run_id": "rr-1"}', (("op", b"recompute"),))
FORGET = RECOMPUTE._replace(
    value=b'{"kind": "operation", "id": "op-1", "what": "sequence"}', headers=(("op", b"forget"),)
)
DISMISS = Record(TOPICS.ops, HOME, 3, 5000, None, None, (("op", b"dismiss"), ("letter", b"17")))
TRAIL = (("actor", b"ada@ops"), ("reason", b""), ("request", b"5f1c"))
OPERATIONS = "one of recompute, replay, forget, dismiss"
SOURCE = binary()._replace(offset=7, timestamp=4000)


def decode(record: Record) -> Command:
    return DECODER.decode(record)


def complaint(record: Record) -> str:
    command = decode(record)
    assert isinstance(command, Rejected), command
    return f"{command.reason}: {command.detail}"


def replay(**places: Any) -> Record:
    """SOURCE, to be taken again; a header given as `...` is left out."""
    named = {
        "op": b"replay",
        "rp_topic": SOURCE.topic.encode(),
        "rp_partition": b"%d" % SOURCE.partition,
        "rp_offset": b"7",
        "rp_timestamp": b"4000",
        **places,
    }
    headers = (*SOURCE.headers, *((name, value) for name, value in named.items() if value is not ...))
    return SOURCE._replace(topic=TOPICS.ops, offset=3, timestamp=5000, headers=headers)


def test_a_run_is_to_be_decided_again() -> None:
    assert decode(RECOMPUTE) == Recompute("t-1", "rr-1")


def test_whoever_asked_and_why_does_not_matter_here() -> None:
    assert decode(RECOMPUTE._replace(headers=RECOMPUTE.headers + TRAIL)) == Recompute("t-1", "rr-1")


@pytest.mark.parametrize("kind", ["run", "deleted-run", "operation", "snapshot"])
@pytest.mark.parametrize("what", ["sequence", "everything"])
def test_a_stored_record_is_to_be_forgotten(kind: Any, what: Any) -> None:
    value = b'{"kind": "%s", "id": "x-1", "what": "%s"}' % (kind.encode(), what.encode())
    assert decode(FORGET._replace(value=value)) == Forget("t-1", kind, "x-1", what)
    assert decode(FORGET._replace(value=value, headers=FORGET.headers + TRAIL)) == Forget("t-1", kind, "x-1", what)


@pytest.mark.parametrize("key", [None, b"", b"t-1", b"\xff", b"{}"])
def test_a_letter_can_be_dismissed_whatever_its_key_and_wherever_it_lies(key: bytes | None) -> None:
    """Many a record was set aside because of its key or its partition."""
    for partition in range(PARTITIONS):
        assert decode(DISMISS._replace(key=key, partition=partition, headers=DISMISS.headers + TRAIL)) == Dismiss(17)


def test_a_commands_trace_is_handed_on() -> None:
    traced = (*RECOMPUTE.headers, ("traceparent", TRACEPARENT.encode()))
    assert decode(RECOMPUTE._replace(headers=traced)) == Recompute("t-1", "rr-1", TRACEPARENT)
    other = (*RECOMPUTE.headers, ("traceparent", b"free text"))
    assert decode(RECOMPUTE._replace(headers=other)) == Recompute("t-1", "rr-1", None)


def test_a_source_record_is_to_be_taken_again_as_it_was() -> None:
    """Topic, offset, timestamp, key, value and headers are those of its first time."""
    assert decode(replay()) == Replay(SOURCE)
    assert decode(replay(actor=b"ada", reason=b"outage", request=b"5f1c")) == Replay(SOURCE)


def test_a_replayed_record_may_be_a_dead_letters() -> None:
    assert decode(replay(letter=b"17")) == Replay(SOURCE, letter=17)
    assert decode(replay(letter=b"no number")) == Replay(SOURCE)


def test_a_replayed_record_keeps_headers_that_are_called_as_a_commands_are() -> None:
    """Of headers with one name the last is the command's; those before it were there before."""
    source = SOURCE._replace(headers=(*SOURCE.headers, ("reason", b"its own"), ("op", b"c"), ("letter", b"a")))
    order = replay(reason=b"outage", letter=b"17")
    assert decode(order._replace(headers=source.headers + order.headers[len(SOURCE.headers) :])) == Replay(source, 17)


def test_a_null_value_without_an_order_says_nothing() -> None:
    assert decode(Record(TOPICS.ops, HOME, 3, 5000, b"t-1", None)) == Ignored()


def test_a_null_value_may_be_replayed() -> None:
    assert decode(replay()._replace(value=None)) == Replay(SOURCE._replace(value=None))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"headers": ()}, f"not_an_event: header op: expected {OPERATIONS}, got nothing"),
        ({"headers": (("op", None),)}, f"not_an_event: header op: expected {OPERATIONS}, got nothing"),
        (
            {"headers": (("op", b"Recompute"),)},
            f'not_an_event: header op: expected {OPERATIONS}, got "Recompute"',
        ),
        ({"value": b"[]"}, "schema_violation: $.restore_run_id: expected an identifier"),
        ({"value": b"{}"}, "schema_violation: $.restore_run_id: expected an identifier"),
        ({"value": b'{"restore_run_id": "a/b"}'}, "schema_violation: $.restore_run_id: expected an identifier"),
        ({"value": b'{"restore_run_id": true}'}, "schema_violation: $.restore_run_id: expected an identifier"),
        ({"value": b"{"}, "not_json: $: expected strict JSON"),
        ({"value": b'{"restore_run_id": "a", "restore_run_id": "b"}'}, "not_json: $: expected each key once"),
        ({"value": None}, "not_json: $: expected strict JSON"),
        ({"key": None}, "key_mismatch: key: expected a tenant id, got nothing"),
        ({"key": b"\xff"}, "key_mismatch: key: expected a tenant id, got"),
        ({"partition": (HOME + 1) % PARTITIONS}, f"partition_mismatch: partition: expected {HOME}, got"),
    ],
)
def test_what_is_no_order_to_decide_again_is_refused(changes: dict[str, Any], expected: str) -> None:
    assert complaint(RECOMPUTE._replace(**changes)).startswith(expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"value": b"{}"}, "schema_violation: $.kind: expected one of run, deleted-run, operation, snapshot, got noth"),
        ({"value": b"7"}, "schema_violation: $.kind: expected one of run, deleted-run, operation, snapshot, got 7"),
        ({"value": b'{"kind": "run"}'}, "schema_violation: $.id: expected an identifier"),
        ({"value": b'{"kind": "run", "id": "a/b"}'}, "schema_violation: $.id: expected an identifier"),
        ({"value": b'{"kind": ["run"], "id": "a"}'}, "schema_violation: $.kind: expected one of run"),
        (
            {"value": b'{"kind": "run", "id": "a", "what": "all"}'},
            'schema_violation: $.what: expected one of sequence, everything, got "all"',
        ),
        ({"value": None}, "not_json: $: expected strict JSON"),
        ({"key": None}, "key_mismatch: key: expected a tenant id, got nothing"),
        ({"partition": (HOME + 1) % PARTITIONS}, f"partition_mismatch: partition: expected {HOME}, got"),
    ],
)
def test_what_does_not_say_exactly_what_is_to_be_forgotten_is_refused(changes: dict[str, Any], expected: str) -> None:
    assert complaint(FORGET._replace(**changes)).startswith(expected)


@pytest.mark.parametrize("letter", [None, b"", b"-1", b"x", b"9" * 40])
def test_a_dismissal_that_names_no_letter_is_refused(letter: bytes | None) -> None:
    headers: Any = (("op", b"dismiss"), ("letter", letter))
    expected = f"not_an_event: header letter: expected decimal digits, up to {MAX_NUMBER}"
    assert complaint(DISMISS._replace(headers=headers)).startswith(expected)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ({"rp_topic": ...}, "not_an_event: header rp_topic: expected a topic's name, got nothing"),
        ({"rp_topic": b""}, 'not_an_event: header rp_topic: expected a topic\'s name, got ""'),
        (
            {"rp_offset": ...},
            f"not_an_event: header rp_offset: expected decimal digits, up to {MAX_NUMBER}, got nothing",
        ),
        ({"rp_offset": b"-1"}, "not_an_event: header rp_offset: expected decimal digits"),
        ({"rp_timestamp": None}, "not_an_event: header rp_timestamp: expected decimal digits"),
        ({"rp_partition": b"1" * 99}, "not_an_event: header rp_partition: expected decimal digits"),
        (
            {"rp_partition": b"77"},
            f"partition_mismatch: header rp_partition: expected {HOME}, where this record is, got 77",
        ),
    ],
)
def test_a_place_that_is_none_is_refused(places: dict[str, Any], expected: str) -> None:
    assert complaint(replay(**places)).startswith(expected)


@pytest.mark.parametrize("digits", ["9" * 5000, str(2**63), "9" * 40])
def test_a_number_that_kafka_has_not_is_refused(digits: str) -> None:
    """Python reads 4,300 digits at most, and JSON writers 64 bits: neither may stop the work."""
    assert complaint(replay(rp_offset=digits.encode())).startswith("not_an_event: header rp_offset")
    assert complaint(replay(rp_timestamp=digits.encode())).startswith("not_an_event: header rp_timestamp")
    assert isinstance(decode(replay(rp_offset=str(MAX_NUMBER).encode())), Replay)


@given(
    st.one_of(st.none(), st.binary(max_size=30)),
    st.one_of(st.none(), st.binary(max_size=60)),
    st.lists(
        st.tuples(
            st.sampled_from(["op", "letter", "rp_topic", "rp_partition", "rp_offset", "rp_timestamp", "traceparent"]),
            st.one_of(
                st.none(),
                st.sampled_from([b"recompute", b"replay", b"forget", b"dismiss", b"0", b"7"]),
                st.binary(max_size=30),
            ),
        ),
        max_size=8,
    ),
)
def test_nothing_that_comes_in_raises_and_every_complaint_is_one_short_line(
    key: bytes | None, value: bytes | None, headers: list[Any]
) -> None:
    command = decode(Record(TOPICS.ops, HOME, 3, 5000, key, value, tuple(headers)))
    if isinstance(command, Rejected):
        assert command.detail.isprintable()
        assert len(command.detail) < 300
