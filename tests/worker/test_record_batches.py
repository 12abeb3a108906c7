"""Record batches: read as kafka-python reads them, written byte for byte as it writes them, and what it cannot read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from worker import record_batches
from worker.header_names import RawName
from worker.ports import Output
from worker.record_batches import encode_record, read_batches_here, read_records

NOT_UTF8 = b"caf\xe9"
LZ4 = 3
NOW = 1_790_000_000_000

SIZES = st.sampled_from([0, 1, 63, 64, 8191, 8192, 70_000])
"""Around where a length takes one byte more."""
BYTES = st.none() | st.binary(max_size=80) | SIZES.map(bytes)
HEADERS = st.lists(st.tuples(st.text(max_size=70), BYTES), max_size=70).map(tuple)
OUTPUTS = st.lists(st.builds(Output, st.just("topic"), st.just(0), BYTES, BYTES, HEADERS), min_size=1, max_size=80)


def written_by_kafka_python(outputs: list[Output], *, compression: int = 0, step_ms: int = 0) -> bytes:
    """A batch with these records, each so much later than the one before."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=compression, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1 << 30,
    )  # fmt: skip
    for offset, output in enumerate(outputs):
        builder.append(offset, NOW + offset * step_ms, output.key, output.value, output.headers)
    return bytes(builder.build())


@contextmanager
def kafka_python_alone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DefaultRecordBatch, "__iter__", record_batches._iterate)
        yield


def told(record: Any) -> tuple[Any, ...]:
    return (
        record.offset, record.timestamp, record.timestamp_type, record.key, record.value, tuple(record.headers),
        record.size_in_bytes, record.checksum, record.validate_crc(),
    )  # fmt: skip


@given(OUTPUTS, st.sampled_from([0, LZ4]), st.sampled_from([0, 1, 100, -7]))
def test_a_batch_is_read_as_kafka_python_reads_it(outputs: list[Output], compression: int, step_ms: int) -> None:
    data = written_by_kafka_python(outputs, compression=compression, step_ms=step_ms)
    with kafka_python_alone():
        expected = [told(record) for record in DefaultRecordBatch(data)]
    assert [told(record) for record in read_records(DefaultRecordBatch(data))] == expected


@given(OUTPUTS, st.data())
def test_damage_is_noticed_where_kafka_python_notices_it(outputs: list[Output], data: st.DataObject) -> None:
    """Or where it does not and all that follows can be read; what neither of them does is raise anything else."""
    good = written_by_kafka_python(outputs)
    header = DefaultRecordBatch.HEADER_STRUCT.size
    at = data.draw(st.integers(header, len(good) - 1))
    cut = data.draw(st.sampled_from([good[:at], good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :]]))
    ours: list[tuple[Any, ...]] | None
    try:
        ours = [told(record) for record in read_records(DefaultRecordBatch(cut))]
    except CorruptRecordError:
        ours = None
    with kafka_python_alone():
        try:
            theirs = [told(record) for record in DefaultRecordBatch(cut)]
        except CorruptRecordError:
            return  # attributes of a record and names that are not UTF-8 are no damage to us
    assert ours == theirs


@given(OUTPUTS)
def test_a_record_is_written_byte_for_byte_as_kafka_python_writes_it(outputs: list[Output]) -> None:
    ours = b"".join(encode_record(place, output) for place, output in enumerate(outputs))
    assert ours == written_by_kafka_python(outputs)[DefaultRecordBatch.HEADER_STRUCT.size :]


def test_a_name_of_any_bytes_is_read_and_written_as_those_bytes() -> None:
    names = ("good", RawName(NOT_UTF8), "caf\N{REPLACEMENT CHARACTER}", "after")
    outputs = [Output("topic", 0, b"key", b"value", ((name, b"content"),)) for name in names]
    good, bad, alike, after = read_records(DefaultRecordBatch(written_by_kafka_python(outputs)))
    assert good.headers == (("good", b"content"),)
    assert bad.headers == alike.headers == (("caf\N{REPLACEMENT CHARACTER}", b"content"),)
    assert bad.headers[0][0].encode() == NOT_UTF8
    assert alike.headers[0][0].encode() == names[2].encode()
    assert after.headers == (("after", b"content"),)
    for record, output in zip((good, bad, alike, after), outputs, strict=True):
        again = Output("topic", 0, b"key", b"value", [(name, value or b"") for name, value in record.headers])
        assert encode_record(0, again) == encode_record(0, output)


def test_kafka_python_reads_by_it_and_still_knows_markers() -> None:
    read_batches_here()
    outputs = [Output("topic", 0, b"key", b"value", ((RawName(NOT_UTF8), b"content"),))]
    assert [record.key for record in DefaultRecordBatch(written_by_kafka_python(outputs))] == [b"key"]
    marker = bytearray(written_by_kafka_python([Output("topic", 0, b"\0\0\0\1", b"\0\0\0\0\0\0")]))
    marker[22] |= DefaultRecordBatch.CONTROL_MASK
    assert [record.commit for record in DefaultRecordBatch(bytes(marker))] == [True]


def test_without_it_the_parser_stops_at_such_a_name() -> None:
    """What is worked around: if this fails, kafka-python reads such names by itself."""
    outputs = [Output("topic", 0, b"key", b"value", ((RawName(NOT_UTF8), b"content"),))]
    with kafka_python_alone(), pytest.raises(Exception, match=r"utf-8|codec"):
        list(DefaultRecordBatch(written_by_kafka_python(outputs)))
