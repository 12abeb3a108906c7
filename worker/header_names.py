"""Header names that are not UTF-8.

Kafka's protocol has strings as header names, but no broker looks, and librdkafka sends whatever bytes it is given. The
parser of kafka-python 3.0.12 takes such a record for a corrupt one and never gets past it, so one producer could stop a
partition for good. Here the parser is made to read it: the name is then a `RawName`, which shows what can be shown and
is encoded as the bytes that came, so that a dead letter's headers are unchanged.
"""

from __future__ import annotations

from typing import Any, Self, SupportsIndex, overload

from kafka.record.default_records import DefaultRecordBatch


class RawName(str):
    """A header's name from any bytes: text with replacement characters, encoded as those bytes again."""

    __slots__ = ("raw",)

    raw: bytes

    def __new__(cls, raw: bytes) -> Self:
        name = super().__new__(cls, raw.decode(errors="replace"))
        name.raw = raw
        return name

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """The bytes that came."""
        return self.raw


class _Slice(bytearray):
    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        try:
            return super().decode(encoding, errors)
        except UnicodeDecodeError:
            return RawName(bytes(self))


class _Buffer(bytearray):
    """Bytes of which a piece can always be decoded."""

    @overload
    def __getitem__(self, at: SupportsIndex) -> int: ...

    @overload
    def __getitem__(self, at: slice) -> _Slice: ...

    def __getitem__(self, at: SupportsIndex | slice) -> int | _Slice:
        found = super().__getitem__(at)
        return found if isinstance(found, int) else _Slice(found)


_read_strictly = DefaultRecordBatch._read_msg  # noqa: SLF001  the parser has no other seam


def _read_leniently(batch: Any) -> Any:
    try:
        return _read_strictly(batch)
    except UnicodeDecodeError:
        strict = batch._buffer  # noqa: SLF001  as above
        batch._buffer = _Buffer(strict)  # noqa: SLF001
        try:
            return _read_strictly(batch)
        finally:
            batch._buffer = strict  # noqa: SLF001


def accept_any_header_name() -> None:
    """Have kafka-python read records with any header names, in this process; doing it again does nothing more."""
    DefaultRecordBatch._read_msg = _read_leniently  # noqa: SLF001
