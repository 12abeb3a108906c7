"""What commands write is what the worker reads, and says who asked, why, and in which invocation."""

from __future__ import annotations

from contracts.commands import CommandDecoder, Dismiss, Forget, Recompute, Replay
from contracts.events import Record
from contracts.orders import (
    Order,
    Trail,
    dismiss_order,
    forget_order,
    headers_of_order,
    recompute_order,
    replay_order,
)
from tests.contracts.records import HOME, PARTITIONS, TOPICS, binary

DECODER = CommandDecoder(PARTITIONS, "murmur2")
TRAIL = Trail("ada@pc", "outage of the 3rd, žluťoučký", "0123456789abcdef" * 2)
SOURCE = binary()._replace(offset=7, timestamp=4000)

HOSTILE = SOURCE._replace(headers=(("op", b"dismiss"), ("letter", b"5"), ("request", b"x"), *SOURCE.headers))


def written(order: Order) -> Record:
    """The order as it lies in the ops topic."""
    return Record(TOPICS.ops, order.partition, 3, 5000, order.key, order.value, (*order.headers, *TRAIL.headers))


def test_a_run_is_decided_again_by_its_order() -> None:
    assert DECODER.decode(written(recompute_order(HOME, "t-1", "rr-1"))) == Recompute("t-1", "rr-1")


def test_what_comes_of_an_order_can_be_found_by_the_request() -> None:
    order = recompute_order(HOME, "t-1", "rr-1", TRAIL.traceparent)
    command = DECODER.decode(written(order))
    assert isinstance(command, Recompute)
    assert command.traceparent is not None
    assert TRAIL.request in command.traceparent


def test_a_source_record_comes_back_as_it_was() -> None:
    for source in (SOURCE, SOURCE._replace(value=None), HOSTILE):
        assert DECODER.decode(written(replay_order(source))) == Replay(source)
        assert DECODER.decode(written(replay_order(source, letter=4))) == Replay(source, 4)


def test_an_order_says_who_asked_and_why_and_in_which_invocation() -> None:
    named = headers_of_order(written(replay_order(SOURCE)))
    assert named["actor"].decode() == TRAIL.actor
    assert named["reason"].decode() == TRAIL.reason
    assert named["request"].decode() == TRAIL.request


def test_a_source_record_cannot_speak_for_an_order() -> None:
    """It may have headers of the same names: they stay its own."""
    named = headers_of_order(written(replay_order(HOSTILE)))
    assert named["op"] == b"replay"
    assert named["request"].decode() == TRAIL.request
    assert "letter" not in named


def test_a_dead_letter_is_named_by_its_offset() -> None:
    assert headers_of_order(written(replay_order(SOURCE, letter=12)))["letter"] == b"12"
    assert DECODER.decode(written(dismiss_order(HOME, None, 12))) == Dismiss(12)


def test_what_is_to_be_forgotten_is_named_by_kind_and_id() -> None:
    order = written(forget_order(HOME, "t-1", "operation", "op-1", "sequence"))
    assert DECODER.decode(order) == Forget("t-1", "operation", "op-1", "sequence")


def test_what_is_no_order_has_no_headers_of_one() -> None:
    assert headers_of_order(SOURCE) == {}
