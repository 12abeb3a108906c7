"""Everything that can be seen of an installation from outside: its topics, its group's offsets, its keys in Redis.

Kafka is read from offset 0 with `read_committed`, the outputs by two clients that share no code. Nothing here judges;
what is seen is plain data, so that a test of the checker can damage it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from kafka import KafkaConsumer, TopicPartition

from contracts.events import Record
from contracts.topics import Topics
from tests.servers.clients import redis_client
from tests.servers.waiting import wait_until
from worker.settings import Settings

Place: TypeAlias = tuple[str, int]
"""A topic's name and a partition number."""
Log: TypeAlias = dict[Place, list[Record]]
"""The committed records of each partition, in the order of their offsets."""
Value: TypeAlias = bytes | dict[str, str] | dict[str, int]
"""What a key of Redis holds: a string's bytes, a hash's fields, a sorted set's members and scores."""

READ_TIMEOUT_S: Final = 30.0
"""Longer than a transaction may stay open, so that a reader that stands still for so long is held up for good."""
READ_ALL_WITHIN_S: Final = 600.0
"""For the second reader, which says nothing before it has all: half an hour of torture is a million records."""
POLL_MS: Final = 200


@dataclass(slots=True)
class Observation:
    """What was seen.

    `at`: since when nothing moved, in ms. `log`: all eight topics, by kafka-python. `second_log`: the outputs by kcat;
    None without kcat. `ends`: high watermarks, open transactions included. `read_to`: how far the reader came.
    `committed`: the group's offsets, -1 where there is none. `store`: all keys under the namespace.
    """

    topics: Topics
    namespace: str
    partitions: int
    at: int
    log: Log
    ends: dict[Place, int]
    read_to: dict[Place, int]
    committed: dict[Place, int]
    second_log: dict[Place, list[Seen]] | None
    store: dict[str, Value]


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as kcat shows it: a header's value ends at its first NUL there."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: bytes


def observe(settings: Settings, at: int) -> Observation:
    """Look at everything, while nothing moves; `at`: since when it has not, in ms."""
    topics = settings.topic_names
    with consumer(settings) as reader:
        places = _places(reader, topics.all)
        ends = _end_offsets(settings, places)
        log, read_to = _read(reader, places, ends)
        committed = committed_offsets(reader, [place for place in places if place[0] in topics.inputs])
    return Observation(
        topics=topics,
        namespace=settings.redis.namespace,
        partitions=sum(topic == topics.restore_runs for topic, _ in places),
        at=at,
        log=log,
        ends=ends,
        read_to=read_to,
        committed=committed,
        second_log=_second_log(settings, places) if kcat_unavailable() is None else None,
        store=read_store(settings),
    )


@contextmanager
def consumer(settings: Settings, isolation_level: str = "read_committed") -> Iterator[KafkaConsumer]:
    """A reader that is no member of the group, though it may ask for the group's offsets."""
    client = KafkaConsumer(
        group_id=settings.kafka.group_id,
        isolation_level=isolation_level,
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_poll_records=10**6,
        fetch_max_wait_ms=50,
        metrics_enabled=False,
        **settings.kafka.client_options(),
    )
    with closing(client):
        yield client


def read_log(reader: KafkaConsumer, settings: Settings, topics: Sequence[str]) -> Log:
    """All committed records of some topics."""
    places = _places(reader, topics)
    log, _ = _read(reader, places, _end_offsets(settings, places))
    return log


def _places(reader: KafkaConsumer, topics: Sequence[str]) -> list[Place]:
    def known() -> dict[str, set[int]]:
        found = {topic: reader.partitions_for_topic(topic) for topic in topics}
        return found if all(found.values()) else {}

    found = wait_until(known, READ_TIMEOUT_S, lambda: f"Kafka knows {', '.join(topics)}")
    return [(topic, number) for topic in topics for number in sorted(found[topic])]


def _end_offsets(settings: Settings, places: Sequence[Place]) -> dict[Place, int]:
    """High watermarks, which a read_committed consumer would not tell."""
    with consumer(settings, "read_uncommitted") as client:
        found = client.end_offsets([TopicPartition(*place) for place in places])
    return {(tp.topic, tp.partition): int(end) for tp, end in found.items()}


def committed_offsets(reader: KafkaConsumer, places: Sequence[Place]) -> dict[Place, int]:
    """The group's offsets, none of them pending; -1 where there is none."""
    found = {place: reader.committed(TopicPartition(*place)) for place in places}
    return {place: -1 if offset is None else int(offset) for place, offset in found.items()}


def _read(reader: KafkaConsumer, places: Sequence[Place], ends: Mapping[Place, int]) -> tuple[Log, dict[Place, int]]:
    """Read until every end is reached, or the reader has stood still for too long, as before an open transaction."""
    assigned = [TopicPartition(*place) for place in places if ends[place] > 0]
    log: Log = {place: [] for place in places}
    read_to = dict.fromkeys(places, 0)
    reader.assign(assigned)
    for tp in assigned:
        reader.seek(tp, 0)
    moved_at = time.monotonic()
    while any(read_to[place] < ends[place] for place in places) and time.monotonic() < moved_at + READ_TIMEOUT_S:
        before = dict(read_to)
        for tp, records in reader.poll(POLL_MS).items():
            log[tp.topic, tp.partition].extend(map(_record, records))
        for tp in assigned:
            read_to[tp.topic, tp.partition] = int(reader.position(tp))
        if read_to != before:
            moved_at = time.monotonic()
    return log, read_to


def _record(record: Any) -> Record:
    return Record(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(record.headers),
    )


# The second reader


def kcat_unavailable() -> str | None:
    """Why outputs are read by one client only, or None if they are read by two."""
    return None if shutil.which("kcat") else "no kcat: outputs are read by kafka-python alone"


def _second_log(settings: Settings, places: Sequence[Place]) -> dict[Place, list[Seen]]:
    """The outputs as librdkafka reads them, all topics at once."""
    end_of_record = os.urandom(12).hex().encode()
    running = {topic: _kcat(settings, topic, end_of_record) for topic in settings.topic_names.outputs}
    seen: dict[Place, list[Seen]] = {place: [] for place in places if place[0] in running}
    for topic, process in running.items():
        output, errors = process.communicate(timeout=READ_ALL_WITHIN_S)
        assert process.returncode == 0, f"kcat could not read {topic}: {errors.decode(errors='replace')}"
        for record in output.split(b" " + end_of_record + b"\n")[:-1]:
            number, read = _parse(record)
            seen[topic, number].append(read)
    for records in seen.values():
        records.sort(key=lambda record: record.offset)
    return seen


def _kcat(settings: Settings, topic: str, end_of_record: bytes) -> subprocess.Popen[bytes]:
    command = [
        "kcat", "-C", "-q", "-e", "-b", settings.kafka.bootstrap_servers, "-t", topic, "-o", "beginning",
        "-X", "isolation.level=read_committed", "-f", f"%p %o %T %K %S %k%s%h {end_of_record.decode()}\\n",
    ]  # fmt: skip
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _parse(record: bytes) -> tuple[int, Seen]:
    *numbers, rest = record.split(b" ", 5)
    number, offset, timestamp, key_length, value_length = map(int, numbers)
    after_key = max(key_length, 0)
    after_value = after_key + max(value_length, 0)
    return number, Seen(
        offset,
        timestamp,
        key=None if key_length < 0 else rest[:after_key],
        value=None if value_length < 0 else rest[after_key:after_value],
        headers=rest[after_value:],
    )


def as_kcat_shows(record: Record) -> Seen:
    """A record of the first reader in the words of the second."""
    headers = b",".join(
        name.encode() + b"=" + (b"NULL" if value is None else value.split(b"\0", 1)[0])
        for name, value in cast(Sequence[tuple[str, bytes | None]], record.headers)
    )
    return Seen(record.offset, record.timestamp, record.key, record.value, headers)


# Redis


def read_store(settings: Settings) -> dict[str, Value]:
    """Every key under the namespace, by its name."""
    with redis_client(settings.redis.url.get_secret_value()) as client:
        names = sorted(set(client.scan_iter(match=f"{settings.redis.namespace}:*", count=5_000)))
        with client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.type(name)
            kinds = pipeline.execute()
            for name, kind in zip(names, kinds, strict=True):
                match kind:
                    case b"string":
                        pipeline.get(name)
                    case b"hash":
                        pipeline.hgetall(name)
                    case b"zset":
                        pipeline.zrange(name, 0, -1, withscores=True)
                    case b"set":
                        pipeline.smembers(name)
                    case _:
                        raise AssertionError(f"{name!r} is a {kind!r}, which nobody writes here")
            values = pipeline.execute()
    return {name.decode(): _value(value) for name, value in zip(names, values, strict=True)}


def _value(value: bytes | dict[bytes, bytes] | set[bytes] | list[tuple[bytes, float]]) -> Value:
    """A set is a sorted set whose members all have the score 0."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, set):
        return {member.decode(): 0 for member in value}
    if isinstance(value, dict):
        return {field.decode(): content.decode() for field, content in value.items()}
    return {member.decode(): int(score) for member, score in value}
