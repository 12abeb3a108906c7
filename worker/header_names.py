"""Header names that are not UTF-8.

Kafka's protocol has strings as header names, but no broker looks, and librdkafka sends whatever bytes it is given. The
parser of kafka-python 3.0.12 takes such a record for a corrupt one and never gets past it, so one producer could stop a
partition for good. `worker.record_batches` reads it: the name is then a `RawName`, which shows what can be shown and is
encoded as the bytes that came, so that a dead letter's headers are unchanged.
"""

from __future__ import annotations

from typing import Self


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
