"""Header names that are not UTF-8: read, set aside, and unchanged."""

from __future__ import annotations

import pytest
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

import worker.header_names
from worker.header_names import RawName, accept_any_header_name

BAD = b"caf\xe9"


def batch(*names: str) -> DefaultRecordBatch:
    """A batch of records, each with one header of the name given."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=10_000,
    )  # fmt: skip
    for offset, name in enumerate(names):
        builder.append(offset, 1_000, b"key", b"value", [(name, b"content")])
    return DefaultRecordBatch(bytes(builder.build()))


def test_a_name_of_any_bytes_is_read_and_encoded_as_those_bytes() -> None:
    accept_any_header_name()
    good, bad, after = batch("good", RawName(BAD), "after")
    assert good.headers == [("good", b"content")]
    assert bad.headers == [("caf\N{REPLACEMENT CHARACTER}", b"content")]
    assert bad.headers[0][0].encode() == BAD
    assert after.headers == [("after", b"content")]
    assert (bad.key, bad.value) == (b"key", b"value")


def test_without_that_the_parser_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is worked around: if this fails, kafka-python reads such names by itself and the module can go."""
    monkeypatch.setattr(DefaultRecordBatch, "_read_msg", worker.header_names._read_strictly)
    with pytest.raises(Exception, match=r"utf-8|codec"):
        list(batch(RawName(BAD)))
