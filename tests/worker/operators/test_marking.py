"""A value is shown as far as it can be read, and the place of its error is marked, whatever is in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.printable import printable
from contracts.strict_json import NotJson, parse
from worker.operators.marking import MAX_WIDTH, place_of, value_lines

VALUE = json.dumps({"id": "rr-1", "metadata": {"counts": {"failed": -1}}, "list": [{"a": 1}, {"a": 2}]}).encode()


def marked(value: bytes | None, detail: str) -> list[str]:
    return [line.text.strip() for line in value_lines(value, detail) if line.marked]


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("$.id", '"id": "rr-1",'),
        ("$.metadata.counts.failed", '"failed": -1'),
        ("$.metadata.counts", '"counts": {'),
        ("$.list[1].a", '"a": 2'),
        ("$.metadata.counts.total", '"counts": {'),
        ("$.status", "{"),
        ("$", "{"),
    ],
)
def test_the_place_of_the_error_is_marked(place: str, line: str) -> None:
    assert marked(VALUE, f"{place}: expected something, got nothing") == [line]


@pytest.mark.parametrize("detail", ["key: expected a tenant id, got nothing", "header ce_type: expected x, got y", ""])
def test_a_place_that_is_not_in_the_value_marks_nothing_there(detail: str) -> None:
    assert marked(VALUE, detail) == []


def test_a_path_into_a_column_of_json_marks_the_column() -> None:
    value = json.dumps({"after": {"metadata": json.dumps({"counts": {"failed": -1}})}}).encode()
    (line,) = marked(value, "$.after.metadata.counts.failed: expected an integer, got -1")
    assert line.startswith('"metadata": ')


@pytest.mark.parametrize(
    ("value", "line", "caret"),
    [
        (b'{"id": NaN}', '{"id": NaN}', 7),
        (b'{\n  "id": 1,\n  "id": 2\n}', '"id": 2', None),
        ('{"näme": tru}'.encode(), '{"näme": tru}', None),
    ],
)
def test_where_text_is_no_json_its_place_is_marked(value: bytes, line: str, caret: int | None) -> None:
    with pytest.raises(NotJson) as error:
        parse(value)
    lines = value_lines(value, f"$: {error.value}")

    at = next(at for at, shown in enumerate(lines) if shown.marked)
    assert lines[at].text.strip() == line
    assert lines[at + 1].text.endswith("^")
    assert caret is None or lines[at + 1].text.index("^") == caret


def test_what_is_no_text_is_shown_as_bytes() -> None:
    lines = value_lines(bytes(range(256)) * 2, "$: expected strict JSON, got something")

    assert lines[4].text == "00000040: 4041 4243 4445 4647 4849 4a4b 4c4d 4e4f  @ABCDEFGHIJKLMNO"
    assert lines[-1].text == "… 256 bytes more"


def test_of_a_large_value_the_lines_around_the_error_are_shown() -> None:
    value = json.dumps({f"field_{number}": number for number in range(1_000)}).encode()
    lines = value_lines(value, "$.field_500: expected a text, got 500", limit=20)

    assert len(lines) == 22
    assert [line.text for line in (lines[0], lines[-1])] == ["… 491 lines before", "… 491 lines more"]
    assert [line.text.strip() for line in lines if line.marked] == ['"field_500": 500,']


def test_nothing_is_shown_as_null() -> None:
    assert [line.text for line in value_lines(None, "")] == ["null"]


def test_json_that_is_too_deep_is_shown_as_text() -> None:
    (line,) = value_lines(b"[" * 100_000, "$: expected strict JSON (too deep), got x")
    assert line.text.startswith("[[[[")


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode), st.text(max_size=80))
def test_whatever_comes_lines_are_printable_and_not_too_long(value: bytes, place: str) -> None:
    for line in value_lines(value, f"{place}: expected x at line 1 column 9, got y"):
        assert printable(line.text) == line.text
        assert len(line.text) <= MAX_WIDTH + 1


def test_a_detail_begins_with_its_place() -> None:
    assert place_of("header ce_type: expected a value, got nothing") == "header ce_type"
    assert place_of("expected at most 1000 restore runs") == ""
