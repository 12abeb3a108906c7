"""Identifiers, record keys, and which partition a tenant lives in.

A tenant's records all lie in one partition, and that partition is computed by whoever produces the inputs. So the
three partitioners that producers really use are here, bit for bit, and a record elsewhere is refused
(interfaces, section 2).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, get_args

MAX_ID_LENGTH = 128
"""Of an identifier, in characters, which are bytes too (interfaces, section 2)."""

ID_PATTERN = r"[A-Za-z0-9._-]{1,128}"
"""What an identifier is made of; `.` and `..` are excluded besides, as they are not names in a path or an URL."""

_IDENTIFIER = re.compile(ID_PATTERN)

Partitioner = Literal["murmur2", "crc32", "fnv1a"]
"""murmur2: Java clients, Kafka Connect, kafka-python. crc32: librdkafka's default. fnv1a: sarama's default."""
PARTITIONERS: tuple[Partitioner, ...] = get_args(Partitioner)

CACHED_TENANTS = 65_536
"""How many tenants' partitions are remembered: about 10 MB when full; a hash in Python costs ten look-ups."""


def is_identifier(text: str) -> bool:
    """Whether `text` is `[A-Za-z0-9._-]{1,128}` and neither `.` nor `..` (interfaces, section 2)."""
    return _IDENTIFIER.fullmatch(text) is not None and text not in {".", ".."}


def murmur2(data: bytes) -> int:
    """The Java client's `Utils.murmur2`, as an unsigned 32-bit integer."""
    length = len(data)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * 0x5BD1E995 & 0xFFFFFFFF
        k = (k ^ k >> 24) * 0x5BD1E995 & 0xFFFFFFFF
        h = h * 0x5BD1E995 & 0xFFFFFFFF ^ k
    if whole != length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * 0x5BD1E995 & 0xFFFFFFFF
    h = (h ^ h >> 13) * 0x5BD1E995 & 0xFFFFFFFF
    return h ^ h >> 15


def fnv1a(data: bytes) -> int:
    """32-bit FNV-1a as sarama takes it: a *signed* 32-bit integer."""
    h = 0x811C9DC5
    for byte in data:
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h - 0x1_0000_0000 if h & 0x8000_0000 else h


def _java(data: bytes, partitions: int) -> int:
    return (murmur2(data) & 0x7FFFFFFF) % partitions  # Utils.toPositive


def _librdkafka(data: bytes, partitions: int) -> int:
    return zlib.crc32(data) % partitions  # rd_crc32 is the CRC-32 of zlib


def _sarama(data: bytes, partitions: int) -> int:
    return abs(fnv1a(data)) % partitions  # equals |h rem n| with Go's remainder, which has the sign of h


_PARTITIONERS: dict[Partitioner, Callable[[bytes, int], int]] = {
    "murmur2": _java,
    "crc32": _librdkafka,
    "fnv1a": _sarama,
}


def partition_of(tenant_id: str, partitions: int, partitioner: Partitioner) -> int:
    """The partition, from 0 below `partitions`, in which everything of this tenant lies (interfaces, section 2).

    Raises ValueError when `partitions` is not positive or the partitioner is not one of `PARTITIONERS`.
    """
    return _remembered(tenant_id, partitions, partitioner)


@lru_cache(maxsize=CACHED_TENANTS)
def _remembered(tenant_id: str, partitions: int, partitioner: Partitioner) -> int:
    if partitions < 1:
        raise ValueError(f"expected at least 1 partition, got {partitions}")
    choose = _PARTITIONERS.get(partitioner)
    if choose is None:
        raise ValueError(f"expected a partitioner of {', '.join(PARTITIONERS)}, got {partitioner!r}")
    return choose(tenant_id.encode(), partitions)


def run_key(tenant_id: str, run_id: str) -> str:
    """`<tenant>/<restore run>`: the key of a state document and of a state change."""
    return f"{tenant_id}/{run_id}"


def internal_key(kind: str, tenant_id: str, entity_id: str) -> str:
    """`<kind>/<tenant>/<id>`: the key of an internal record."""
    return f"{kind}/{tenant_id}/{entity_id}"


def split_run_key(key: str) -> tuple[str, str]:
    """(tenant id, restore run id) of a key that `run_key` made; raises ValueError for any other text."""
    tenant_id, run_id = _split(key, "<tenant>/<restore run>", 2)
    return tenant_id, run_id


def split_internal_key(key: str) -> tuple[str, str, str]:
    """(kind, tenant id, id) of a key that `internal_key` made; raises ValueError for any other text."""
    kind, tenant_id, entity_id = _split(key, "<kind>/<tenant>/<id>", 3)
    return kind, tenant_id, entity_id


def _split(key: str, shape: str, count: int) -> list[str]:
    parts = key.split("/")
    if len(parts) != count or not all(map(is_identifier, parts)):
        raise ValueError(f"expected a key {shape}, got {key[:400]!r}")
    return parts
