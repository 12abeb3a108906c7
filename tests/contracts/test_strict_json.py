"""JSON that every reader understands alike, and nothing else."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.letters import MEANINGS
from contracts.strict_json import MAX_DEPTH, NotJson, parse

any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)

REFUSED = {
    "nothing": b"",
    "white space only": b" ",
    "two values": b"{} {}",
    "a trailing zero byte": b"{}\x00",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "bytes that are not UTF-8": b'{"a":"\xff"}',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "a lone high surrogate": rb'{"a":"\ud800"}',
    "a lone low surrogate": rb'{"a":"\udc00"}',
    "a surrogate as a key": rb'{"\ud800":1}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "-Infinity": b'{"a":-Infinity}',
    "a number beyond a double": b'{"a":1e400}',
    "the same, negative": b'{"a":[-1e400]}',
    "an integer beyond a double": b"1" * 400,
    "an integer beyond Python's limit": b"1" * 5000,
    "a key twice": b'{"a":1,"a":1}',
    "a key twice, once escaped": rb'{"a":1,"\u0061":2}',
    "a key twice, deep inside": b'[{"x":{"a":1,"b":2,"a":3}}]',
    "nested too deep": b"[" * (MAX_DEPTH + 1) + b"1" + b"]" * (MAX_DEPTH + 1),
    "nested very deep": b'{"a":' * 50_000,
    "a single quoted string": b"{'a':1}",
    "a comment": b'{"a":1/*x*/}',
    "a trailing comma": b"[1,]",
    "a leading zero": b"[01]",
    "a plus": b"[+1]",
    "no digit after the dot": b"[1.]",
    "a control character": b'"\n"',
    "an escape that is none": rb'"\x41"',
    "a literal in capitals": b"[True]",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_two_readers_could_understand_differently_is_refused(data: bytes) -> None:
    with pytest.raises(NotJson) as refused:
        parse(data)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("depth", [1, 50, MAX_DEPTH])
def test_nesting_is_read_up_to_the_limit(depth: int) -> None:
    assert parse(b"[" * depth + b"1" + b"]" * depth) == json.loads("[" * depth + "1" + "]" * depth)
    assert str(MAX_DEPTH) in MEANINGS["not_json"]


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, -(2**64), 10**300])
def test_integers_of_any_size_stay_integers(number: int) -> None:
    read = parse(str(number).encode())
    assert read == number
    assert type(read) is int


def test_floats_stay_floats() -> None:
    assert type(parse(b"1.0")) is float
    assert type(parse(b"1e2")) is float
    assert math.copysign(1, parse(b"-0.0")) == -1  # type: ignore[arg-type]


@given(any_json)
def test_whatever_the_standard_library_writes_is_read_alike(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(NotJson):
        parse(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected strict JSON (EOF while parsing a value at line 1 column 0), got nothing"),
        (b'{"a":1,"a":2}', 'expected each key once in an object (twice at line 1 column 12), got "{"a":1,"a":2}"'),
        (
            b'{\n  "a": 1,\n  "b": ?\n}',
            'expected strict JSON (expected value at line 3 column 8), got "{�  "a": 1,�  "b": ?�}"',
        ),
    ],
)
def test_a_refusal_says_what_was_expected_where_and_shows_the_place(data: bytes, message: str) -> None:
    with pytest.raises(NotJson) as refused:
        parse(data)
    assert str(refused.value) == message


def test_of_something_long_the_place_is_shown_and_not_more() -> None:
    with pytest.raises(NotJson) as refused:
        parse(b'{"padding":"' + b"x" * 5000 + b'","here":nope,' + b"y" * 5000)
    assert "here" in refused.value.got
    assert len(refused.value.got) <= len('""…') + 80
