"""What a record may cost before it is refused: memory and work in proportion to its bytes, whatever they are.

Records as large as they may be, of what is dearest to parse, through every decoder. Memory is what Python has
allocated at the highest (tracemalloc), time that of the processor.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pytest

from contracts.commands import CommandDecoder
from contracts.events import MAX_VALUE_BYTES, Decoder, Record, Rejected
from tests.contracts import debezium
from tests.contracts.records import (
    DECODER,
    HOME,
    PARTITIONS,
    TOPICS,
    binary,
    ce_event,
    ce_headers,
    record,
    state,
)  # fmt: skip
from tests.contracts.test_fuzz import check

BYTES_PER_BYTE: Final = 80
"""Of memory for one of a value, at most: each of a million keys of two bytes is a text, an entry and a number."""
SMALL: Final = 4 << 20
SECONDS: Final = 1.0
"""Of the processor; the dearest took 0.04."""
MILLION: Final = 64 << 20
"""The largest that the setting LIMITS__VALUE_BYTES allows: for what does not fit into its default."""


def filled(pattern: Callable[[int], str], size: int, before: str = "", after: str = "") -> str:
    """As many parts as fit into the size, each of its own number."""
    parts, used, at = [], len(before) + len(after), 0
    while used < size:
        part = pattern(at)
        used += len(part) + 1
        parts.append(part)
        at += 1
    return before + ",".join(parts[:-1]) + after


def dear(size: int) -> dict[str, str]:
    """JSON of so many bytes or a little less."""
    half = size // 2
    return {
        "arrays in arrays": "[" * half + "]" * half,
        "objects in objects": '{"a":' * (size // 6) + "1" + "}" * (size // 6),
        "arrays side by side": filled(lambda _: "[]", size, "[", "]"),
        "keys": filled(lambda at: f'"{at:x}":0', size, "{", "}"),
        "the same key": filled(lambda _: '"a":0', size, "{", "}"),
        "numbers": filled(lambda _: "1e5", size, "[", "]"),
        "one number": "9" * size,
        "one exponent": "1e" + "9" * (size - 2),
        "one fraction": "0." + "9" * (size - 2),
        "escapes": '"' + "\\u00e9" * ((size - 2) // 6) + '"',
        "surrogates": '"' + "\\ud83d" * ((size - 2) // 6) + '"',
        "quotes": '"' * size,
        "blanks": " " * size,
    }


def records(value: str, place: str) -> dict[str, Record]:
    """The value where a decoder of each form looks: alone, as a field that it reads and as one that it does not."""
    data = json.dumps(state(**{place: ...})).removesuffix("}") + f', "{place}": {value}}}'
    event = json.dumps(ce_event(data=...)).removesuffix("}") + f', "data": {data}}}'
    envelope = debezium.envelope("restore_run")
    change = json.dumps({**envelope, "after": None}).replace('"after": null', f'"after": {data}')
    column = json.dumps(debezium.envelope("restore_run", after={**debezium.row("restore_run"), "metadata": value}))
    media = {"content-type": "application/cloudevents+json"}
    return {
        "alone": record(value.encode(), ce_headers()),
        "binary": record(data.encode(), ce_headers()),
        "structured": record(event.encode(), media),
        "debezium": record(change.encode(), {}),
        "wrapped": record(f'{{"schema": {value}, "payload": {change}}}'.encode(), {}),
        "a column of JSON": record(column.encode(), {}),
    }


def peak(act: Callable[[], Any]) -> tuple[int, Any]:
    """The memory that it took at its highest, in bytes, and what it returned."""
    tracemalloc.start()
    try:
        found = act()
        return tracemalloc.get_traced_memory()[1], found
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("what", dear(100))
@pytest.mark.parametrize("place", ["metadata", "unknown"])
def test_a_value_of_any_kind_costs_memory_in_proportion_to_its_bytes(what: str, place: str) -> None:
    decoder = Decoder(TOPICS, PARTITIONS, "murmur2", MAX_VALUE_BYTES)
    for form, one in records(dear(MAX_VALUE_BYTES // 3)[what], place).items():
        began = time.process_time()
        event = decoder.decode(one)
        took = time.process_time() - began
        used, again = peak(partial(decoder.decode, one))
        assert event == again
        assert used <= SMALL + BYTES_PER_BYTE * len(one.value or b""), (form, used, event)
        assert took <= SECONDS, (form, took, event)
        check(one, event)


def test_a_million_keys_where_a_setting_lets_so_much_in() -> None:
    value = filled(lambda at: f'"{at:x}":0', 10_500_000, "{", "}")
    assert value.count(":") >= 1_000_000

    used, event = peak(
        partial(Decoder(TOPICS, PARTITIONS, "murmur2", MILLION).decode, record(value.encode(), ce_headers()))
    )

    assert isinstance(event, Rejected)
    assert event.reason == "schema_violation"
    assert used <= BYTES_PER_BYTE * len(value)


def test_what_is_larger_than_the_limit_is_not_even_looked_at() -> None:
    used, event = peak(partial(DECODER.decode, record(b"[" * (MAX_VALUE_BYTES + 1), ce_headers())))

    assert isinstance(event, Rejected)
    assert event.reason == "too_large"
    assert used < 10_000


@pytest.mark.parametrize("name", ["ce_type", "ce_\x1b[2J", "content-type", "traceparent", "x" * 10_000])
def test_headers_of_any_number_and_length(name: str) -> None:
    """As many as fit into a record that a topic takes; the last of a name counts, or it is refused."""
    many = ((name, b"5" * 10),) * 20_000
    long = ((name, b"5" * 1_000_000),)
    for headers in (many, long):
        one = binary()._replace(headers=(*binary().headers, *headers))
        used, event = peak(partial(DECODER.decode, one))
        check(one, event)
        assert used <= SMALL + 5 * 1_000_000


@pytest.mark.parametrize("what", dear(100))
def test_orders_of_operators_are_bounded_as_well(what: str) -> None:
    decoder = CommandDecoder(PARTITIONS, "murmur2")
    value = dear(MAX_VALUE_BYTES)[what].encode()
    for operation in (b"recompute", b"replay", b"\x1b[2J"):
        order = Record(TOPICS.ops, HOME, 0, 0, b"t-1", value, (("op", operation),))
        used, command = peak(partial(decoder.decode, order))
        assert isinstance(command, Rejected)
        assert command.detail.isprintable()
        assert used <= SMALL + BYTES_PER_BYTE * len(value)
