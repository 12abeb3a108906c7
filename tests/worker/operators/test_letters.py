"""Which dead letters there are, which are asked for, and what the ops topic says was done about them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.commands import CommandDecoder
from contracts.events import Record
from contracts.letters import letter_headers
from contracts.orders import Order, Trail, dismiss_order, recompute_order, replay_order
from contracts.topics import Topics
from worker.operators.letters import (
    Bits,
    Entry,
    Handled,
    Handling,
    Place,
    Selection,
    read_handling,
    topic_named,
)
from worker.operators.tally import Tally

TOPICS = Topics()
NOW = 1_793_527_200_000
TRAIL = Trail("ann@ops", "sent wrongly", "ab" * 16)
DECODER = CommandDecoder(4, "murmur2")


def source(offset: int = 7, key: bytes | None = b"t-1", headers: tuple[tuple[str, bytes], ...] = ()) -> Record:
    return Record(TOPICS.restore_runs, 3, offset, NOW - 500, key, b"{}", headers)


def set_aside(record: Record, at: int = NOW, offset: int = 120, reason: str = "schema_violation") -> Record:
    headers = tuple(letter_headers(record, reason, "$.status: expected a status, got nothing"))  # type: ignore[arg-type]
    return Record(TOPICS.dead_letters, record.partition, offset, at, record.key, record.value, headers)


def written(order: Order, offset: int = 5, at: int = NOW + 60_000) -> Record:
    headers = tuple((name, value or b"") for name, value in (*order.headers, *TRAIL.headers))
    return Record(TOPICS.ops, order.partition, offset, at, order.key, order.value, headers)


def test_a_letter_is_named_by_its_place() -> None:
    assert Place.parse("3:120") == Place(3, 120)
    assert str(Place(3, 120)) == "3:120"


@pytest.mark.parametrize("text", ["", "3", "3:", ":3", "3:-1", "3:1:1", "a:1", "3:99999999999999999999", "٣:1"])
def test_what_names_no_letter_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="expected a dead letter's name, <partition>:<offset>, like 3:120, got "):
        Place.parse(text)


def test_a_letter_says_what_it_was_and_why_it_is_there() -> None:
    entry = Entry.of(set_aside(source(headers=(("ce_id", b"1"),))))

    assert (entry.place, entry.reason, entry.tenant) == (Place(3, 120), "schema_violation", "t-1")
    assert entry.headers == (("ce_id", b"1"),)
    assert entry.before == ()


def test_what_is_taken_again_lies_where_it_lay_and_keeps_what_it_went_through() -> None:
    again = set_aside(Entry.of(set_aside(source())).source, reason="not_json", offset=121)

    entry = Entry.of(again)
    assert entry.source._replace(headers=()) == source()
    assert [letter.reason for letter in entry.before] == ["schema_violation"]
    assert entry.reason == "not_json"


def test_a_record_that_somebody_else_wrote_is_an_entry_without_a_letter() -> None:
    entry = Entry.of(Record(TOPICS.dead_letters, 0, 1, NOW, b"\xff", None))

    assert (entry.letter, entry.reason, entry.tenant) == (None, "unknown", None)


@pytest.mark.parametrize(
    ("order", "deed"), [(replay_order(source(), 120), "redriven"), (dismiss_order(3, None, 120), "dismissed")]
)
def test_an_order_that_names_a_letter_is_its_handling(order: Order, deed: str) -> None:
    assert read_handling(written(order), DECODER) == (
        Place(3, 120),
        Handling(deed, NOW + 60_000, "ann@ops", "sent wrongly", "ab" * 16, 5),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    "order",
    [
        recompute_order(3, "t-1", "rr-1"),
        replay_order(source()),
        replay_order(source(headers=(("letter", b"120"),))),
        replace(dismiss_order(3, None, 120), headers=(("op", b"dismiss"), ("letter", b"12x"))),
        replace(replay_order(source(), 120), headers=(("op", b"replay"), ("letter", b"120"))),
    ],
    ids=["recompute", "replay", "a source's own header", "no number", "no order"],
)
def test_what_is_no_order_about_a_letter_handles_none(order: Order) -> None:
    assert read_handling(written(order), DECODER) is None


@given(st.sets(st.integers(0, 2_000)), st.integers(0, 50))
def test_bits_are_a_set_of_numbers(numbers: set[int], low: int) -> None:
    bits = Bits(low)
    for number in [*numbers, *numbers]:
        bits.add(number)

    kept = {number for number in numbers if number >= low}
    assert {number for number in range(2_010) if number in bits} == kept
    assert len(bits) == len(kept)


def test_only_letters_that_are_kept_take_room() -> None:
    handled = Handled({3: (100, 200)})
    for offset in (99, 120, 200, 10**15):
        handled.add(Place(3, offset))
    handled.add(Place(4, 120))

    assert [offset for offset in range(300) if Place(3, offset) in handled] == [120]
    assert Place(4, 120) not in handled


@pytest.mark.parametrize(
    ("selection", "selects"),
    [
        (Selection(), True),
        (Selection(reasons=frozenset({"schema_violation", "not_json"})), True),
        (Selection(reasons=frozenset({"not_json"})), False),
        (Selection(tenants=frozenset({"t-1"})), True),
        (Selection(tenants=frozenset({"t-2"})), False),
        (Selection(topics=frozenset({TOPICS.restore_runs})), True),
        (Selection(topics=frozenset({TOPICS.operation_runs})), False),
        (Selection(since=NOW), True),
        (Selection(since=NOW + 1), False),
        (Selection(until=NOW + 1), True),
        (Selection(until=NOW), False),
        (Selection(reasons=frozenset({"schema_violation"}), tenants=frozenset({"t-2"})), False),
    ],
)
def test_a_selection_selects_what_all_of_its_options_allow(selection: Selection, selects: bool) -> None:
    assert selection.selects(Entry.of(set_aside(source()))) == selects


def test_a_topic_has_a_short_name() -> None:
    assert topic_named("restore-runs", TOPICS.inputs, "restore") == TOPICS.restore_runs
    assert topic_named(TOPICS.ops, TOPICS.inputs, "restore") == TOPICS.ops
    with pytest.raises(ValueError, match=r"^expected restore-runs, .*, projection\.ops, got "):
        topic_named("runs", TOPICS.inputs, "restore")


@pytest.mark.parametrize("limit", [0, 1, 3, 100])
def test_a_tally_counts_all_and_keeps_the_newest_without_their_values(limit: int) -> None:
    tally = Tally(limit)
    for at, reason in enumerate(["not_json", "schema_violation", "not_json", "too_large", "not_json"]):
        offset = [40, 10, 30, 0, 20][at]
        tally.add(Entry.of(set_aside(source(), NOW + offset, offset, reason)), handled=reason == "too_large")

    assert (tally.open, tally.handled) == (4, 1)
    assert [(reason, count.open, count.oldest, count.newest) for reason, count in tally.by_reason()] == [
        ("not_json", 3, NOW + 20, NOW + 40),
        ("schema_violation", 1, NOW + 10, NOW + 10),
        ("too_large", 0, NOW, NOW),
    ]
    assert [listed.entry.place.offset for listed in tally.newest] == [40, 30, 20, 10, 0][:limit]
    assert {(listed.entry.record.value, listed.bytes) for listed in tally.newest} <= {(None, 2)}
