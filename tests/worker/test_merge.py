"""Four inputs, one order: that of their records' timestamps, as far as it is known."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contracts.events import Record
from contracts.topics import Topics
from worker.merge import RECORD_BYTES, Merge

RUNS, OPERATIONS, SNAPSHOTS, OPS = INPUTS = Topics().inputs


def record(topic: str, offset: int, at: int, value: bytes | None = None) -> Record:
    return Record(topic, 0, offset, at, b"t-1", value)


def merging(*records: Record) -> Merge:
    merge = Merge(INPUTS)
    for each in records:
        merge.add(each)
    return merge


def taken(merge: Merge, limit: int = 100, ended: Any = INPUTS) -> list[tuple[str, int]]:
    return [(r.topic, r.offset) for r in merge.take(limit, ended)]


def test_records_come_in_the_order_of_their_timestamps() -> None:
    merge = merging(record(RUNS, 0, 30), record(OPERATIONS, 0, 10), record(OPERATIONS, 1, 40), record(SNAPSHOTS, 0, 20))
    assert taken(merge) == [(OPERATIONS, 0), (SNAPSHOTS, 0), (RUNS, 0), (OPERATIONS, 1)]


def test_equal_ones_come_in_the_order_of_the_topics_table() -> None:
    merge = merging(*(record(topic, 0, 5) for topic in reversed(INPUTS)))
    assert taken(merge) == [(RUNS, 0), (OPERATIONS, 0), (SNAPSHOTS, 0), (OPS, 0)]


def test_within_a_topic_the_order_is_the_offsets() -> None:
    """Whatever the timestamps say: a late one holds up what lies behind it."""
    merge = merging(record(RUNS, 0, 90), record(RUNS, 1, 10), record(OPERATIONS, 0, 50))
    assert taken(merge) == [(OPERATIONS, 0), (RUNS, 0), (RUNS, 1)]


def test_no_more_than_the_limit_is_taken() -> None:
    merge = merging(*(record(RUNS, offset, offset) for offset in range(5)))
    assert taken(merge, 3) == [(RUNS, 0), (RUNS, 1), (RUNS, 2)]
    assert taken(merge, 3) == [(RUNS, 3), (RUNS, 4)]
    assert taken(merge, 3) == []


def test_nothing_is_taken_while_an_empty_input_may_hold_the_next_record() -> None:
    merge = merging(record(RUNS, 0, 10))
    assert taken(merge, ended=(SNAPSHOTS, OPS)) == []
    assert len(merge) == 1
    assert taken(merge, ended=(OPERATIONS, SNAPSHOTS, OPS)) == [(RUNS, 0)]


def test_it_stops_where_an_input_has_run_empty() -> None:
    """That input's next record is not known, and might be earlier than all others'."""
    merge = merging(record(RUNS, 0, 10), record(OPERATIONS, 0, 20), record(RUNS, 1, 30))
    assert taken(merge, ended=(SNAPSHOTS, OPS)) == [(RUNS, 0), (OPERATIONS, 0)]
    merge.add(record(OPERATIONS, 1, 25))
    assert taken(merge, ended=(SNAPSHOTS, OPS)) == [(OPERATIONS, 1)]


def test_an_input_that_is_known_to_have_ended_may_hold_records_all_the_same() -> None:
    merge = merging(record(RUNS, 0, 10), record(OPERATIONS, 0, 20))
    assert taken(merge) == [(RUNS, 0), (OPERATIONS, 0)]


def test_empty_inputs_are_named() -> None:
    merge = merging(record(OPERATIONS, 0, 10))
    assert merge.empty() == [RUNS, SNAPSHOTS, OPS]


def test_what_is_given_back_comes_again_first() -> None:
    merge = merging(record(RUNS, 0, 10), record(OPERATIONS, 0, 20), record(RUNS, 1, 30), record(OPERATIONS, 1, 40))
    first = merge.take(3, INPUTS)
    merge.give_back(first[1:])
    assert merge.next_offset(RUNS) == 1
    assert merge.next_offset(OPERATIONS) == 0
    assert taken(merge) == [(OPERATIONS, 0), (RUNS, 1), (OPERATIONS, 1)]


def test_the_next_offset_is_the_first_buffered_ones() -> None:
    merge = merging(record(RUNS, 7, 10), record(RUNS, 9, 20))
    assert merge.next_offset(RUNS) == 7
    assert merge.next_offset(OPERATIONS) is None
    merge.take(1, INPUTS)
    assert merge.next_offset(RUNS) == 9


def test_memory_is_counted_by_input_and_given_free() -> None:
    merge = merging(record(RUNS, 0, 10, b"x" * 100), record(OPERATIONS, 0, 20))
    assert (merge.buffered_bytes(RUNS), merge.buffered_bytes(OPERATIONS)) == (RECORD_BYTES + 100, RECORD_BYTES)
    back = merge.take(2, INPUTS)
    assert (merge.buffered_bytes(RUNS), merge.buffered_bytes(OPERATIONS), len(merge)) == (0, 0, 0)
    merge.give_back(back)
    assert (merge.buffered_bytes(RUNS), merge.buffered_bytes(OPERATIONS), len(merge)) == (
        RECORD_BYTES + 100,
        RECORD_BYTES,
        2,
    )


# At random

LOGS = st.fixed_dictionaries({topic: st.lists(st.integers(0, 20), max_size=8) for topic in INPUTS})


STEPS = st.lists(
    st.tuples(st.permutations(INPUTS), st.lists(st.integers(0, 3), min_size=4, max_size=4), st.integers(1, 5)),
    max_size=12,
)


@given(LOGS, STEPS, st.integers(0, 3))
def test_however_it_is_polled_and_taken_the_order_is_the_same(
    logs: dict[str, list[int]], steps: list[Any], given_back: int
) -> None:
    """Any interleaving of polls, any limit, things given back: what matters is only what the logs hold."""
    waiting = {topic: [record(topic, offset, at) for offset, at in enumerate(times)] for topic, times in logs.items()}
    at_once = merging(*(each for records in waiting.values() for each in records)).take(10**6, INPUTS)
    merge, found = Merge(INPUTS), []
    for topics, counts, limit in [*steps, (INPUTS, [10**6] * 4, 10**6)]:
        for topic, count in zip(topics, counts, strict=True):
            for each in waiting[topic][:count]:
                merge.add(each)
            del waiting[topic][:count]
        took = merge.take(limit, [topic for topic in INPUTS if not waiting[topic]])
        kept = max(0, len(took) - given_back)
        merge.give_back(took[kept:])
        found += took[:kept]
    assert found + merge.take(10**6, INPUTS) == at_once


@given(LOGS)
def test_each_record_comes_once_and_never_after_a_later_head(logs: dict[str, list[int]]) -> None:
    records = [record(topic, offset, at) for topic, times in logs.items() for offset, at in enumerate(times)]
    order = merging(*records).take(10**6, INPUTS)
    assert sorted(order, key=repr) == sorted(records, key=repr)
    left = {topic: [r for r in records if r.topic == topic] for topic in INPUTS}
    for each in order:
        heads = [queue[0] for queue in left.values() if queue]
        assert each == min(heads, key=lambda r: (r.timestamp, INPUTS.index(r.topic)))
        left[each.topic].pop(0)
