"""Hostile records through a real Kafka into a worker that runs: each is set aside as what it is, and the work goes on.

And the neighbours of a noisy tenant. What is promised: a partition's records are decided in their order, so a tenant
waits for what lies before its own record in its partition, and for nothing behind it. In other partitions a tenant
waits for its share of the batches, which all partitions that have something to do get in equal parts. Counted in
records, as a clock would tell of the machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import pytest

from contracts.events import Record
from contracts.ids import partition_of
from contracts.letters import Reason, read_letter
from contracts.topics import Topics
from tests.consistency import check
from tests.installation import PARTITIONS, Live, a_live_installation, live_worker
from tests.processes import install
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from tests.traffic import Headers, Message, message, run, sender
from worker.settings import LimitsSettings, Settings
from worker.topics import KAFKA_MAX_MESSAGE_BYTES

WORKED_OFF_WITHIN_S: Final = 60.0
HIDDEN: Final = "\x1b[2J\x9b\u202e"
HOSTILE: Final[list[tuple[str, bytes, Headers, Reason]]] = [
    ("as large as the topic takes", b"x" * (KAFKA_MAX_MESSAGE_BYTES - 400), (), "too_large"),
    ("10,000 arrays in each other", b"[" * 10_000 + b"]" * 10_000, (), "not_json"),
    ("30,000 keys", b"{" + b",".join(b'"%d":0' % at for at in range(30_000)) + b"}", (), "schema_violation"),
    ("no UTF-8", b'{"id": "\xc3\x28\xff"}', (), "not_json"),
    ("half a surrogate", b'{"id": "\\ud83d"}', (), "not_json"),
    ("half a surrogate in bytes", b'{"id": "\xed\xa0\xbd"}', (), "not_json"),
    ("a number of 400,000 digits", b'{"id": ' + b"9" * 400_000 + b"}", (), "not_json"),
    ("an infinite number", b'{"id": 1e999}', (), "not_json"),
    ("control characters", f'{{"id": "{HIDDEN[1:]}"}}'.encode(), (), "schema_violation"),
    ("a type of control characters", b"{}", [("ce_type", HIDDEN.encode())], "unknown_type"),
    ("names of headers", b"{}", [(f"ce_{HIDDEN}{at}", b"x") for at in range(1_000)], "schema_violation"),
    ("our own headers", b"", [("dl_reason", b"none"), ("dl_detail", HIDDEN.encode())], "not_json"),
]


@pytest.fixture(scope="module")
def shared(real_kafka: KafkaServer, redis_server: RedisServer) -> Iterator[Live]:
    """When all of the module's tests are done, everything is checked."""
    with a_live_installation(real_kafka, redis_server) as live:
        yield live
        check(live.settings)


_tenants = itertools.count(1)


@pytest.mark.parametrize(("what", "value", "headers", "reason"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_a_hostile_record_is_set_aside_and_the_next_good_one_decided(
    shared: Live, what: str, value: bytes, headers: Headers, reason: Reason
) -> None:
    tenant = f"t-{next(_tenants)}"
    good = message(run(tenant, "rr-1", 1), shared.send.topics)
    named = {name for name, _ in headers}
    own = [header for header in good.headers if header[0] not in named]
    bad = Message(good.topic, good.key, value, [*own, *headers])

    (place,) = shared.send.messages([bad])
    shared.send.messages([good])
    shared.wait_for_state(tenant, "rr-1", "completed_proof_incomplete")

    letters = [letter for letter in shared.read(shared.send.topics.dead_letters) if letter.key == good.key]
    told = read_letter(letters[0].headers)
    assert [letter.value for letter in letters] == [value], what
    assert (told.reason, (told.topic, told.partition, told.offset)) == (reason, place)
    assert told.detail.isprintable()
    assert letters[0].headers[: len(bad.headers)] == tuple(bad.headers)


BATCH: Final = 100
"""Records; a quarter for each partition while all have something to do."""
NOISE: Final = 4_000
QUIET: Final = 100
STARTED_LATE: Final = 5 * BATCH
"""What is decided of the noise before the first fetches of the other partitions have come in, with room."""


@pytest.fixture
def busy(real_kafka: KafkaServer, redis_server: RedisServer, space: Space) -> Settings:
    """Batches so small that a backlog is many of them."""
    settings = install(real_kafka, redis_server, space.prefix, PARTITIONS)
    return settings.model_copy(update={"limits": LimitsSettings(batch_records=BATCH)})


def in_partition(number: int) -> Iterator[str]:
    """Tenants whose partition it is."""
    names = (f"n-{at}" for at in itertools.count())
    return (name for name in names if partition_of(name, PARTITIONS, "murmur2") == number)


def garbage(topics: Topics, tenant: str, _at: int) -> Message:
    return Message(topics.restore_runs, tenant.encode(), b"\x00garbage", ())


def volume(topics: Topics, tenant: str, at: int) -> Message:
    return message(run(tenant, f"rr-{at}", 1), topics)


@pytest.mark.parametrize("noise", [garbage, volume])
def test_a_noisy_tenant_holds_up_its_neighbour_by_what_lies_before_it_and_other_partitions_by_no_more_than_a_share(
    busy: Settings, noise: Callable[[Topics, str, int], Message]
) -> None:
    """All is there before the worker is: noise, halfway one record of a neighbour, and in other partitions others'."""
    topics = busy.topic_names
    noisy, neighbour = itertools.islice(in_partition(0), 2)
    others = [next(in_partition(number)) for number in range(1, PARTITIONS)]
    with sender(busy, PARTITIONS) as send:
        send.messages(noise(topics, noisy, at) for at in range(NOISE // 2))
        send.messages([volume(topics, neighbour, 0)])
        send.messages(noise(topics, noisy, NOISE + at) for at in range(NOISE // 2))
        send.messages(volume(topics, tenant, at) for at in range(QUIET) for tenant in others)

    with live_worker(busy) as live:
        said = topics.dead_letters if noise is garbage else topics.decision_changes
        wait_until(lambda: len(_of(noisy, live.read(said))) == NOISE, WORKED_OFF_WITHIN_S, "the noise is worked off")
        noises = [record.timestamp for record in _of(noisy, live.read(said))]
        changes = live.read(topics.decision_changes)

    (reached,) = (record.timestamp for record in _of(neighbour, changes))
    before = sum(at < reached for at in noises)
    assert abs(before - NOISE // 2) < BATCH, "what its own batch holds besides it may be said first"

    last = max(record.timestamp for tenant in others for record in _of(tenant, changes))
    assert sum(len(_of(tenant, changes)) for tenant in others) == QUIET * len(others)
    assert sum(at <= last for at in noises) <= QUIET + STARTED_LATE


def _of(tenant: str, records: Sequence[Record]) -> list[Record]:
    return [record for record in records if (record.key or b"").split(b"/")[0] == tenant.encode()]
