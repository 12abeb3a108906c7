"""Kafka's record batches (message format 2), read and written in one pass each.

kafka-python reads a record by some twenty calls, and writes one by way of a lock, a future and a counter of its own:
more time than all that is decided in between. What it does with whole batches (fetching, checksums, compression, what
is aborted, sequence numbers, retries) is left to it; only the records inside are read and encoded here. The
format is that of Kafka's protocol guide, "Record Batch":

    record   length, attributes (1 byte, 0), timestamp delta, offset delta, key, value, number of headers, headers
    header   name, value
    each     length and bytes; -1 for null (a name is never null)

All numbers in a record are zigzag varints: up to 63 in one byte, which most of them are, so that case is looked up in a
table instead of being computed by a call.

A batch is written with one future for all of its records, whose offsets follow from the first one's. So it must not
be split on its way: `worker.kafka` keeps batches within what the topics take, and notices if one was split anyway.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from kafka import TopicPartition
from kafka.errors import CorruptRecordError, MessageSizeTooLargeError, UnknownTopicOrPartitionError
from kafka.producer.future import FutureRecordMetadata
from kafka.producer.producer_batch import ProducerBatch
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.record.util import decode_varint, encode_varint

from worker.header_names import RawName
from worker.ports import Output

MAGIC: Final = 2
REMEMBERED_LENGTH: Final = 64
"""Of a header's name that is remembered: a longer one is none that comes again, and may be of any length."""
_ONE_BYTE: Final = tuple((byte >> 1) ^ -(byte & 1) for byte in range(128))
"""The number that a varint of one byte stands for."""


# Reading


class _Headers(tuple[tuple[str, bytes | None], ...]):
    """Headers of which kafka-python does not add up the sizes, which nobody asks for: it takes them for none."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


class ReadRecord(NamedTuple):
    """What kafka-python wants to know of a record in a batch."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    size_in_bytes: int
    checksum: None = None

    def validate_crc(self) -> bool:
        """Records have none of their own: the batch has one."""
        return True


def read_records(batch: Any) -> Iterator[ReadRecord]:
    """The records of a kafka-python batch. Raises CorruptRecordError where there is none to be read, and whatever
    decompressing does.

    A header name that is not UTF-8 is a `RawName`.
    """
    batch._maybe_uncompress()  # noqa: SLF001  as it does itself
    data, at = bytes(batch._buffer), batch._pos  # noqa: SLF001
    small, varint = _ONE_BYTE, decode_varint
    base, kind = batch.base_offset, batch.timestamp_type
    since, appended_at = batch.first_timestamp, batch.max_timestamp if kind else None
    try:
        for _ in range(batch.records_count):
            length, begin = varint(data, at)
            at = begin + 1  # behind the attributes, which say nothing
            later, at = (small[b], at + 1) if (b := data[at]) < 128 else varint(data, at)
            further, at = (small[b], at + 1) if (b := data[at]) < 128 else varint(data, at)
            size, at = (small[b], at + 1) if (b := data[at]) < 128 else varint(data, at)
            key = data[at : (at := at + size)] if size >= 0 else None
            size, at = (small[b], at + 1) if (b := data[at]) < 128 else varint(data, at)
            value = data[at : (at := at + size)] if size >= 0 else None
            count, at = (small[b], at + 1) if (b := data[at]) < 128 else varint(data, at)
            headers = []
            for _ in range(count):
                size, at = (small[b], at + 1) if (b := data[at]) < 128 else varint(data, at)
                if size < 0:
                    raise CorruptRecordError(f"Invalid negative header key size {size}")
                raw = data[at : (at := at + size)]
                name = _name(raw) if size <= REMEMBERED_LENGTH else _decoded(raw)
                size, at = (small[b], at + 1) if (b := data[at]) < 128 else varint(data, at)
                headers.append((name, data[at : (at := at + size)] if size >= 0 else None))
            if at - begin != length or at > len(data) or count < 0:
                raise CorruptRecordError(f"Invalid record size: expected {length} bytes, read {at - begin}")
            timestamp = since + later if appended_at is None else appended_at
            yield ReadRecord(base + further, timestamp, kind, key, value, _Headers(headers), length)
    except (ValueError, IndexError) as error:
        raise CorruptRecordError(f"Found invalid record structure: {error!r}") from error
    if at != len(data):
        raise CorruptRecordError(f"{len(data) - at} unconsumed bytes after all records consumed")


@lru_cache(maxsize=1024)
def _name(raw: bytes) -> str:
    return _decoded(raw)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return RawName(raw)


_iterate: Final = DefaultRecordBatch.__iter__


def _iter(batch: Any) -> Any:
    return _iterate(batch) if batch.is_control_batch else read_records(batch)


def read_batches_here() -> None:
    """Have kafka-python read records by `read_records`, in this process; doing it again does nothing more."""
    DefaultRecordBatch.__iter__ = _iter


# Writing


class Batch(NamedTuple):
    """A batch on its way to Kafka: the places of its records among all that were to be written, and its future.

    `size`: in bytes, before it is compressed.
    """

    places: Sequence[int]
    size: int
    sent: ProducerBatch
    future: FutureRecordMetadata

    @property
    def was_split(self) -> bool:
        """The future is of a part of it by now: nothing is known of the others."""
        return self.future._produce_future is not self.sent.produce_future  # noqa: SLF001


def send_batches(producer: Any, outputs: Sequence[Output], room: int) -> list[Batch]:
    """Hand records to a kafka-python producer, each partition's in their order, batch by batch.

    `room`: how large a batch may be, in bytes before it is compressed; a larger record is alone in its own. Raises
    MessageSizeTooLargeError for one that is larger than the producer's `max_request_size`, for a partition that is not
    there UnknownTopicOrPartitionError, and whatever adding a partition to the transaction does. Nothing is sent before
    all batches are made: once one has failed, kafka-python takes no more, and those under way would be lost sight of.
    """
    places: dict[TopicPartition, list[int]] = {}
    for place, output in enumerate(outputs):
        places.setdefault(TopicPartition(output.topic, output.partition), []).append(place)
    for where in places:
        if where.partition not in producer.partitions_for(where.topic):  # it would be waited for in vain
            raise UnknownTopicOrPartitionError(f"{where.topic} has no partition {where.partition}")
        producer._transaction_manager.maybe_add_partition_to_transaction(where)  # noqa: SLF001
    filled = [
        batch for where, its_places in places.items() for batch in _fill(producer, where, outputs, its_places, room)
    ]
    batches = [batch.queue() for batch in filled]
    producer._sender.wakeup()  # noqa: SLF001
    return batches


def _fill(
    producer: Any, where: TopicPartition, outputs: Sequence[Output], places: Sequence[int], room: int
) -> Iterator[_Filling]:
    limit = producer.config["max_request_size"]
    batch = _Filling(producer, where)
    for place in places:
        record = encode_record(len(batch.places), outputs[place])
        if len(record) > limit:
            raise MessageSizeTooLargeError(f"a record of {len(record)} bytes, more than a request may have: {limit}")
        if batch.places and batch.size + len(record) > room:
            yield batch
            batch = _Filling(producer, where)
            record = encode_record(0, outputs[place])
        batch.add(place, record)
    yield batch


class _Filling:
    """A batch that is being filled."""

    def __init__(self, producer: Any, where: TopicPartition) -> None:
        self._accumulator = producer._accumulator  # noqa: SLF001
        self._where = where
        settings = self._accumulator.config
        self._memory = MemoryRecordsBuilder(MAGIC, settings["compression_attrs"], settings["batch_size"])
        self._buffer: bytearray = self._memory._builder._buffer  # noqa: SLF001
        self.places: list[int] = []

    @property
    def size(self) -> int:
        return len(self._buffer)

    def add(self, place: int, record: bytes) -> None:
        self._buffer += record
        self.places.append(place)

    def queue(self) -> Batch:
        """Have it sent, from the next time on that the sender looks."""
        now_ms = int(time.time() * 1000)
        inside, size, count = self._memory._builder, self.size, len(self.places)  # noqa: SLF001
        inside._first_timestamp = inside._max_timestamp = now_ms  # noqa: SLF001
        inside._num_records, inside._last_offset = count, count - 1  # noqa: SLF001
        self._memory._next_offset = count  # noqa: SLF001
        sent = ProducerBatch(self._where, self._memory)
        future = FutureRecordMetadata(sent.produce_future, 0, now_ms, None, -1, -1, -1)
        sent._record_futures.append(future)  # noqa: SLF001
        accumulator = self._accumulator
        with accumulator._tp_lock(self._where):  # noqa: SLF001
            accumulator._batches[self._where].append(sent)  # noqa: SLF001
            accumulator._incomplete.add(sent)  # noqa: SLF001
        return Batch(self.places, size, sent, future)


def encode_record(offset_delta: int, output: Output) -> bytes:
    """A record as it stands in a batch of which it is the one with this number, and has the batch's timestamp."""
    key, value = output.key, output.value
    headers: Sequence[tuple[str, bytes | None]] = output.headers  # a dead letter may have one without value
    parts = [b"\0\0", _varint(offset_delta)]  # attributes, timestamp delta
    parts += (_NULL,) if key is None else (_varint(len(key)), key)
    parts += (_NULL,) if value is None else (_varint(len(value)), value)
    parts.append(_varint(len(headers)))
    for name, content in headers:
        often = len(name) <= REMEMBERED_LENGTH and not isinstance(name, RawName)
        parts.append(_encoded_name(name) if often else _with_length(name.encode()))
        parts += (_NULL,) if content is None else (_varint(len(content)), content)
    body = b"".join(parts)
    return _varint(len(body)) + body


@lru_cache(maxsize=8192)
def _varint(number: int) -> bytes:
    encoded = bytearray()
    encode_varint(number, encoded.append)
    return bytes(encoded)


def _with_length(data: bytes) -> bytes:
    return _varint(len(data)) + data


@lru_cache(maxsize=256)
def _encoded_name(name: str) -> bytes:
    return _with_length(name.encode())


_NULL: Final = _varint(-1)
