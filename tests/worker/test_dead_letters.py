"""What cannot be taken is set aside, once, with the reason, its bytes unchanged; everything else goes on."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any, TypeAlias, get_args

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from contracts.events import MAX_VALUE_BYTES, Record
from contracts.ids import partition_of
from contracts.letters import REASONS, Reason, read_letter
from contracts.topics import Topics
from projections.record import MAX_LINKS
from tests.consistency import check
from tests.installation import PARTITIONS, SEEN_WITHIN_S, Live, live_worker
from tests.servers.waiting import wait_until
from tests.traffic import Message, Place, change_event, encode, message, operation, run, sender, snapshot
from worker.header_names import RawName
from worker.settings import Settings

Spoil: TypeAlias = Callable[[Message, Topics], Message]
"""Makes of a good event of a restore run one that is not."""


def _value(value: bytes) -> Spoil:
    return lambda good, _: replace(good, value=value)


def _data(**fields: Any) -> Spoil:
    return lambda good, _: replace(good, value=encode({**run(_tenant(good), "rr-1", 2).data, **fields}))


def _header(name: str, value: bytes | None) -> Spoil:
    def spoil(good: Message, _: Topics) -> Message:
        others = [header for header in good.headers if header[0] != name]
        return replace(good, headers=others if value is None else [*others, (name, value)])

    return spoil


def _debezium(**fields: Any) -> Spoil:
    return lambda good, _: replace(
        good, headers=[], value=encode({**change_event(run(_tenant(good), "rr-1", 2)), **fields})
    )


def _elsewhere(good: Message, _: Topics) -> Message:
    return replace(good, partition=(partition_of(_tenant(good), PARTITIONS, "murmur2") + 1) % PARTITIONS)


def _on_another_topic(good: Message, topics: Topics) -> Message:
    return replace(good, topic=topics.operation_runs)


def _tenant(good: Message) -> str:
    return (good.key or b"").decode()


SPOILED: list[tuple[Reason, str, Spoil]] = [
    ("too_large", "a byte more than the limit", _value(b"x" * (MAX_VALUE_BYTES + 1))),
    ("not_an_event", "no headers, no change event", _debezium(op=None, before=None, after=None)),
    ("not_an_event", "another version of CloudEvents", _header("ce_specversion", b"0.3")),
    ("not_an_event", "another media type", _header("content-type", b"application/xml")),
    ("not_an_event", "data that is no object", _value(b"[1, 2]")),
    ("not_json", "no JSON", _value(b"\xff\x00 not JSON\n")),
    ("not_json", "nothing at all", _value(b"")),
    ("not_json", "NaN", _value(b'{"id": NaN}')),
    ("not_json", "a key twice", _value(b'{"id": "rr-1", "id": "rr-2"}')),
    ("not_json", "too deep", _value(b"[" * 10_000)),
    ("unknown_type", "a type of ours that there is not", _header("ce_type", b"restore.restore_run.archived")),
    ("unknown_type", "a run's event on the operations' topic", _on_another_topic),
    ("unknown_type", "Debezium's truncate", _debezium(op="t")),
    ("missing_sequence", "no sequence", _header("ce_sequence", None)),
    ("missing_sequence", "a sequence that is no number", _header("ce_sequence", b"12a")),
    ("missing_sequence", "a revision that is null", _debezium(after={**run("t", "rr-1", 2).data, "revision": None})),
    ("schema_violation", "a status that there is not", _data(status="unknown")),
    ("schema_violation", "a flag that is a number", _data(is_dry_run=1)),
    ("schema_violation", "a count below zero", _data(metadata={"counts": {"failed": -1}})),
    ("schema_violation", "an id that is none", _data(id="rr/1")),
    ("key_mismatch", "another tenant's event", _data(tenant_id="t-other")),
    ("key_mismatch", "no key", lambda good, _: replace(good, key=None, partition=0)),
    ("partition_mismatch", "a partition that is not the tenant's", _elsewhere),
]  # fmt: skip


def test_every_reason_is_met() -> None:
    assert {reason for reason, _, _ in SPOILED} | {"too_many_links"} == set(get_args(Reason)) == set(REASONS)


@pytest.mark.parametrize(
    ("reason", "spoil"), [pytest.param(reason, spoil, id=f"{reason}: {what}") for reason, what, spoil in SPOILED]
)
def test_a_record_is_set_aside_unchanged(shared: Live, tenant: str, reason: Reason, spoil: Spoil) -> None:
    good = message(run(tenant, "rr-1", 2), shared.send.topics)
    bad = spoil(good, shared.send.topics)
    headers = [*bad.headers, ("X-Any", b"\x00\xff, =\n"), ("empty", b"")]

    (source,) = shared.send.messages([replace(bad, headers=headers)])

    letter = _letter(shared, source)
    assert read_letter(letter.headers).reason == reason
    assert (letter.key, letter.value) == (bad.key, bad.value)
    assert list(letter.headers[: len(headers)]) == headers


def test_a_header_may_have_no_value(shared: Live, tenant: str) -> None:
    """Kafka allows it, and a client that sends such a record must not stop the work."""
    good = message(run(tenant, "rr-1", 1), shared.send.topics)
    headers = [*good.headers, ("nothing", None)]
    _, bad_source = shared.send.raw([replace(good, headers=headers), replace(good, value=b"not JSON", headers=headers)])
    letter = _letter(shared, bad_source)
    assert list(letter.headers[: len(headers)]) == headers
    assert shared.wait_for_state(tenant, "rr-1", "completed_proof_incomplete")


def test_a_header_may_be_named_by_any_bytes(shared: Live, tenant: str) -> None:
    """No broker looks, and a client that sends such a record must not stop the work."""
    good = message(run(tenant, "rr-1", 1), shared.send.topics)
    headers = [*good.headers, (RawName(b"caf\xe9"), b"any")]
    _, bad_source = shared.send.raw([replace(good, headers=headers), replace(good, value=b"not JSON", headers=headers)])
    letter = _letter(shared, bad_source)
    assert [name.encode() for name, _ in letter.headers[: len(headers)]] == [name.encode() for name, _ in headers]
    assert shared.wait_for_state(tenant, "rr-1", "completed_proof_incomplete")


def test_a_record_may_have_neither_key_nor_value(shared: Live) -> None:
    """Kafka allows that too; on the ops topic it is a command that there is not."""
    (source,) = shared.send.raw([Message(shared.send.topics.ops, None, None, [("op", b"dance")], partition=1)])
    letter = _letter(shared, source)
    assert (letter.key, letter.value) == (None, None)
    assert read_letter(letter.headers).reason == "not_an_event"


def test_what_was_set_aside_before_keeps_its_earlier_headers(shared: Live, tenant: str) -> None:
    good = message(run(tenant, "rr-1", 1), shared.send.topics)
    first = shared.send.messages([replace(good, value=b"not JSON")])[0]
    letter = _letter(shared, first)

    (second,) = shared.send.messages([replace(good, value=letter.value, headers=list(letter.headers))])

    again = _letter(shared, second)
    assert again.headers[: len(letter.headers)] == letter.headers
    assert read_letter(again.headers).offset == second[2]


def test_an_unreadable_event_forbids_claims_until_a_readable_one_comes(shared: Live, tenant: str) -> None:
    proof, topics = operation(tenant, "op-1", 1), shared.send.topics
    shared.send.steps(proof, run(tenant, "rr-1", 1, "completed", "op-1"), snapshot(tenant, "es-1", 1, "op-1"))
    proven = shared.wait_for_state(tenant, "rr-1", "completed_with_evidence")

    unreadable = message(operation(tenant, "op-1", 2, "vanished"), topics)
    shared.send.messages([unreadable, unreadable])
    marked = shared.wait_for(tenant, "rr-1", lambda d: d["diagnostics"]["rule"] == "input_unreadable")
    assert marked["claims"]["allowed"] == []
    assert marked["revision"] == proven["revision"] + 1

    shared.send.events(operation(tenant, "op-1", 3))
    again = shared.wait_for_state(tenant, "rr-1", "completed_with_evidence")
    assert again["revision"] == marked["revision"] + 1


def test_a_late_unreadable_event_marks_nothing(shared: Live, tenant: str) -> None:
    shared.send.events(run(tenant, "rr-1", 5, "failed"))
    (source,) = shared.send.messages([message(run(tenant, "rr-1", 4, "vanished"), shared.send.topics)])
    _letter(shared, source)
    document = shared.wait_for_state(tenant, "rr-1", "failed")
    assert document["revision"] == 1


def test_a_run_too_many_for_one_operation_is_set_aside(shared: Live, tenant: str) -> None:
    runs = [run(tenant, f"rr-{n}", 1, "queued", "op-1") for n in range(MAX_LINKS + 1)]
    sources = shared.send.events(*runs)

    letter = _letter(shared, sources[-1])

    assert read_letter(letter.headers).reason == "too_many_links"
    shared.send.events(runs[0].deletion(2), run(tenant, "rr-one-more", 1, "queued", "op-1"))
    shared.wait_for_state(tenant, "rr-one-more", "in_progress")


def test_an_event_whose_outputs_kafka_does_not_take_is_set_aside_alone(settings: Settings) -> None:
    """In the middle of a backlog: the batch is cut until the one is found, and all others go through."""
    chosen = random.Random(1)
    with closing(KafkaAdminClient(**settings.kafka.client_options())) as admin:
        limit = {"max.message.bytes": "2500"}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic_names.decision_state, limit)])
    large = [snapshot("t-1", f"{chosen.randbytes(60).hex()}", 1, "op-1") for _ in range(9)]
    with sender(settings, PARTITIONS) as send:
        send.steps(
            *(run(f"t-{n}", "rr-1", 1, "completed", "op-1") for n in range(2)),
            operation("t-1", "op-1", 1),
        )
        send.events(*(run(f"t-{n % 9}", f"rr-{n}", 1, "failed") for n in range(2, 20)), *large)
        send.events(*(run(f"t-{n % 9}", f"rr-{n}", 1, "failed") for n in range(20, 40)))
    with live_worker(settings) as live:
        assert check(settings).runs == 40
        letters = live.read(settings.topic_names.dead_letters)
    assert {read_letter(letter.headers).reason for letter in letters} == {"too_large"}
    assert 0 < len(letters) < len(large)


def _letter(live: Live, source: Place) -> Record:
    """The dead letter of a record, once it is there."""

    def found() -> list[Record]:
        return [letter for letter in live.read(live.send.topics.dead_letters) if _source(letter) == source]

    (letter,) = wait_until(found, SEEN_WITHIN_S, lambda: f"{source} is among the dead letters")
    return letter


def _source(letter: Record) -> Place:
    read = read_letter(letter.headers)
    return read.topic, read.partition, read.offset
