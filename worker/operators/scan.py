"""Reading a stretch of a topic once: committed records from given offsets to where it ended, without any group.

In pieces as they are fetched, so what is in memory is bounded by the size of a fetch, however long the stretch is.
The records of a partition come in their order, partitions in any. Nothing here writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAuthorizationFailedError
from kafka.protocol.consumer.offsets import IsolationLevel

from contracts.events import Record
from worker.errors import KafkaUnreachable, Refused, Unfit
from worker.header_names import accept_any_header_name
from worker.kafka import CONNECTION_OPTIONS, CONSUMER_OPTIONS
from worker.kafka_clients import all_or_none, make_client
from worker.refusals import refusal_of, unreachable
from worker.rights import check_topic
from worker.settings import KafkaSettings

CLIENT_ID: Final = "restore-projector-operator"
CALL_TIMEOUT_MS: Final = 5_000
"""For a question to Kafka; a broker that is there answers within a second."""
SILENCE_S: Final = 30.0
"""How long reading may come no further: longer than the open transaction of a killed worker lasts (20 s)."""
POLL_MS: Final = 200
EARLIEST: Final = -2
LATEST: Final = -1
"""What ListOffsets understands as the first offset, and as the next one to be written."""

Offsets = Mapping[int, int]
"""By partition."""
Bounds = Mapping[int, tuple[int, int]]
"""Of each partition the first offset and the next one to be written."""
Tell = Callable[[int], None]
"""Hears by how many offsets reading has come further."""


def tell_nobody(_: int) -> None:
    """For whom nothing is shown."""


class Scanner:
    """Reads stretches of topics. For one thread; several scans may be under way, each has a connection of its own.

    Construction and all methods raise KafkaUnreachable, Refused, and Unfit if a topic is not there.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        accept_any_header_name()
        self._settings = settings
        self._options = {"client_id": CLIENT_ID, **settings.client_options()}
        with self._translated(""), all_or_none() as make:
            self._admin = make(KafkaAdminClient, **CONNECTION_OPTIONS, **self._options)
            self._reader = make(KafkaConsumer, **self._consumer_options)

    @property
    def _consumer_options(self) -> dict[str, Any]:
        return {"fetch_max_wait_ms": self._settings.fetch_max_wait_ms, **CONSUMER_OPTIONS, **self._options}

    def bounds(self, topic: str) -> Bounds:
        """Where each partition begins and ends; open transactions are counted, as they may yet be committed."""
        with self._translated(topic):
            numbers = self._reader.partitions_for_topic(topic)
            if not numbers:
                check_topic(self._settings, topic, "Read")
                raise Unfit(f"{topic} does not exist: `restore-projector topics create` makes it")
            every = [TopicPartition(topic, number) for number in sorted(numbers)]
            ask = self._admin.list_partition_offsets
            low = ask(dict.fromkeys(every, EARLIEST))
            end = ask(dict.fromkeys(every, LATEST), isolation_level=IsolationLevel.READ_UNCOMMITTED)
        return {tp.partition: (int(low[tp].offset), int(end[tp].offset)) for tp in every}

    def from_times(self, topic: str, times: Offsets) -> dict[int, int]:
        """Of these partitions the first offset that is not older than this time (ms); the end where there is none."""
        wanted = {TopicPartition(topic, number): max(at, 0) for number, at in times.items()}
        with self._translated(topic):
            found = self._reader.offsets_for_times(wanted, timeout_ms=CALL_TIMEOUT_MS)
            ends = self._reader.end_offsets(list(wanted), timeout_ms=CALL_TIMEOUT_MS)
        return {tp.partition: int(ends[tp] if found[tp] is None else found[tp].offset) for tp in wanted}

    def firsts(self, topic: str, starts: Offsets, ends: Offsets) -> dict[int, Record]:
        """Of each partition the first committed record between these offsets, where there is one."""
        begin = {TopicPartition(topic, n): start for n, start in starts.items() if start < ends[n]}
        found: dict[int, Record] = {}
        with self._translated(topic):
            for piece in _pieces(self._reader, begin, {tp: ends[tp.partition] for tp in begin}, tell_nobody):
                found.setdefault(piece[0].partition, _record(piece[0]))
                if len(found) == len(begin):
                    break
        return found

    def scan(self, topic: str, starts: Offsets, ends: Offsets, tell: Tell = tell_nobody) -> Iterator[Record]:
        """The committed records between these offsets."""
        begin = {TopicPartition(topic, n): start for n, start in starts.items() if start < ends[n]}
        if not begin:
            return
        with self._translated(topic):
            reader = make_client(KafkaConsumer, **self._consumer_options)
            try:
                for piece in _pieces(reader, begin, {tp: ends[tp.partition] for tp in begin}, tell):
                    yield from map(_record, piece)
            finally:
                with suppress(KafkaError, OSError):
                    reader.close()

    @contextmanager
    def _translated(self, topic: str) -> Iterator[None]:
        try:
            yield
        except TopicAuthorizationFailedError as error:
            raise Refused(refusal_of("Read", "topic", topic)) from error
        except TimeoutError as error:
            raise KafkaUnreachable(self._settings.bootstrap_servers, f"{topic}: {error}") from error
        except KafkaError as error:
            raise unreachable(self._settings, error) from error

    def close(self) -> None:
        for client in (self._reader, self._admin):
            with suppress(KafkaError, OSError):
                client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _pieces(
    reader: KafkaConsumer, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int], tell: Tell
) -> Iterator[list[Any]]:
    """Records as they are fetched, those at the ends and behind them left out. Raises TimeoutError, KafkaError."""
    reader.assign(list(starts))
    for tp, start in starts.items():
        reader.seek(tp, start)
    reached, left, heard_at = dict(starts), set(starts), time.monotonic()
    while left:
        for tp, records in reader.poll(POLL_MS).items():
            piece = [record for record in records if record.offset < ends[tp]]
            if piece:
                yield piece
        for tp in sorted(left):
            position = min(int(reader.position(tp, timeout_ms=CALL_TIMEOUT_MS)), ends[tp])
            if position > reached[tp]:
                tell(position - reached[tp])
                reached[tp], heard_at = position, time.monotonic()
        done = {tp for tp in left if reached[tp] >= ends[tp]}
        if done:
            reader.pause(*done)
            left -= done
        if time.monotonic() - heard_at > SILENCE_S:
            raise TimeoutError(f"reading came no further for {SILENCE_S:g} s, at {_places(left, reached)}")


def _places(left: Collection[TopicPartition], reached: Mapping[TopicPartition, int]) -> str:
    return ", ".join(f"partition {tp.partition} offset {reached[tp]}" for tp in sorted(left)[:5])


def _record(record: Any) -> Record:
    return Record(
        record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
    )
