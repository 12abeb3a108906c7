"""Identifiers, keys, and partitions as the producers' own libraries compute them."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as murmur2_of_kafka_python

from contracts.ids import (
    PARTITIONERS,
    Partitioner,
    fnv1a,
    internal_key,
    is_identifier,
    murmur2,
    partition_of,
    run_key,
    split_internal_key,
    split_run_key,
)

identifiers = st.from_regex(r"[A-Za-z0-9._-]{1,128}", fullmatch=True).filter(lambda text: text not in {".", ".."})

JAVA_CLIENT = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
"""Apache Kafka, org.apache.kafka.common.utils.UtilsTest.testMurmur2: signed 32-bit."""

LIBRDKAFKA_MURMUR2 = {
    b"kafka": 0xD067CF64,
    b"giberish123456789": 0x8F552B0C,
    b"1234": 0x9FC97B14,
    b"234": 0xE7C009CA,
    b"34": 0x873930DA,
    b"4": 0x5A4B5CA1,
    b"PreAmbleWillBeRemoved,ThePrePartThatIs": 0x78424F1C,
    b"reAmbleWillBeRemoved,ThePrePartThatIs": 0x4A62B377,
    b"eAmbleWillBeRemoved,ThePrePartThatIs": 0xE0E4E09E,
    b"AmbleWillBeRemoved,ThePrePartThatIs": 0x62B8B43F,
    b"": 0x106E08D9,
}
"""librdkafka, src/rdmurmur2.c, unittest_murmur2."""

LIBRDKAFKA_FNV1A = {
    b"kafka": 0xD33C4E1,
    b"giberish123456789": 0x77A58295,
    b"1234": 0x23BDD03,
    b"234": 0x2DEA3CD2,
    b"34": 0x740FA83E,
    b"4": 0x310CA263,
    b"PreAmbleWillBeRemoved,ThePrePartThatIs": 0x65CBD69C,
    b"reAmbleWillBeRemoved,ThePrePartThatIs": 0x6E49C79A,
    b"eAmbleWillBeRemoved,ThePrePartThatIs": 0x69EED356,
    b"AmbleWillBeRemoved,ThePrePartThatIs": 0x6ABCC023,
    b"": 0x7EE3623B,
}
"""librdkafka, src/rdfnv1a.c, unittest_fnv1a: absolute values, computed with Go's hash/fnv."""

LIBRDKAFKA_PARTITIONER_TEST: dict[str, dict[Partitioner, int]] = {
    "23456": {"crc32": 0xB1B451D7, "murmur2": 0x058D780F, "fnv1a": 0x27E6F469},
    "this is another string with more length to it perhaps": {
        "crc32": 0xB0150DF7,
        "murmur2": 0x4F7703DA,
        "fnv1a": 0x155E3E5F,
    },
    "hejsan": {"crc32": 0xD077037E, "murmur2": 0x5EC19395, "fnv1a": 0x17B1E27A},
}
"""librdkafka, tests/0048-partitioner.c: the partition is this number modulo the partitions (7 or 17 there)."""


@pytest.mark.parametrize(("key", "signed"), JAVA_CLIENT.items())
def test_murmur2_is_the_java_clients(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed % 2**32


@pytest.mark.parametrize(("key", "unsigned"), LIBRDKAFKA_MURMUR2.items())
def test_murmur2_is_librdkafkas(key: bytes, unsigned: int) -> None:
    assert murmur2(key) == unsigned


@given(st.binary(max_size=200))
def test_murmur2_is_kafka_pythons(key: bytes) -> None:
    assert murmur2(key) == murmur2_of_kafka_python(key) % 2**32


@pytest.mark.parametrize(("key", "absolute"), LIBRDKAFKA_FNV1A.items())
def test_fnv1a_is_saramas_as_librdkafka_took_it(key: bytes, absolute: int) -> None:
    assert abs(fnv1a(key)) == absolute


@pytest.mark.parametrize("partitions", [7, 17])
@pytest.mark.parametrize("partitioner", PARTITIONERS)
@pytest.mark.parametrize("key", LIBRDKAFKA_PARTITIONER_TEST)
def test_partitions_are_those_of_librdkafkas_own_test(key: str, partitioner: Partitioner, partitions: int) -> None:
    expected = LIBRDKAFKA_PARTITIONER_TEST[key][partitioner] % partitions
    assert partition_of(key, partitions, partitioner) == expected


def test_the_sign_of_murmur2_is_cut_off_and_not_inverted() -> None:
    """Utils.toPositive: -790332482 & 0x7fffffff, which is 1357151166."""
    assert partition_of("foobar", 1_000_000_007, "murmur2") == 1_357_151_166 % 1_000_000_007


def test_the_smallest_signed_hash_has_a_partition() -> None:
    """sarama, TestHashPartitionerMinInt32: the hash of this key is -2147483648; Go's remainder by 50 is -48."""
    assert fnv1a(b"1468509572224") == -(2**31)
    assert partition_of("1468509572224", 50, "fnv1a") == 48


@given(st.text(max_size=40), st.integers(1, 5000))
def test_fnv1a_takes_the_remainder_as_go_does(key: str, partitions: int) -> None:
    h = fnv1a(key.encode())
    remainder_in_go = h - partitions * int(h / partitions)
    assert partition_of(key, partitions, "fnv1a") == abs(remainder_in_go)


@given(identifiers, st.integers(1, 5000), st.sampled_from(PARTITIONERS))
def test_every_tenant_has_a_partition(tenant: str, partitions: int, partitioner: Partitioner) -> None:
    assert 0 <= partition_of(tenant, partitions, partitioner) < partitions


def test_crc32_is_zlibs() -> None:
    """0xcbf43926 is the check value of CRC-32/ISO-HDLC, which rd_crc32 is."""
    assert zlib.crc32(b"123456789") == 0xCBF43926
    assert partition_of("123456789", 1000, "crc32") == 0xCBF43926 % 1000


def test_a_wrong_number_of_partitions_or_name_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1 partition, got 0"):
        partition_of("t-1", 0, "murmur2")
    with pytest.raises(ValueError, match="expected a partitioner of murmur2, crc32, fnv1a, got 'md5'"):
        partition_of("t-1", 4, "md5")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["a", "t-1", "A.b_c-9", "...", "-", "0" * 128])
def test_an_identifier(text: str) -> None:
    assert is_identifier(text)


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a b", "a\n", "é", "٣", "a" * 129, "a:b", "{a}", "\0"])
def test_no_identifier(text: str) -> None:
    assert not is_identifier(text)


@given(identifiers, identifiers, identifiers)
def test_keys_are_taken_apart_as_they_were_put_together(kind: str, tenant: str, name: str) -> None:
    assert split_run_key(run_key(tenant, name)) == (tenant, name)
    assert split_internal_key(internal_key(kind, tenant, name)) == (kind, tenant, name)


@pytest.mark.parametrize("key", ["", "t-1", "/", "t-1/", "/rr-1", "t-1/rr-1/x", "t-1/..", "t 1/rr-1"])
def test_no_run_key(key: str) -> None:
    with pytest.raises(ValueError, match="expected a key <tenant>/<restore run>, got"):
        split_run_key(key)


@pytest.mark.parametrize("key", ["", "t-1/rr-1", "snapshot/t-1/es-1/", "snapshot//es-1"])
def test_no_internal_key(key: str) -> None:
    with pytest.raises(ValueError, match="expected a key <kind>/<tenant>/<id>, got"):
        split_internal_key(key)
