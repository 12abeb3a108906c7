"""`verify`: what was done to Redis by hand is named with its likely cause, and nothing else is.

The installation is the module's; a test that damages a partition puts it back. No worker runs, unless a test says so.
"""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from redis import Redis

from contracts.decision import decode, encode
from projections.formats import Family
from tests.consistency import wait_for_rest
from tests.installation import PARTITIONS, Live, live_worker
from tests.processes import WorkerProcess, environment, install
from tests.servers.ports import KafkaServer, RedisServer
from tests.stories import Traffic
from tests.traffic import Message, operation, run, sender, snapshot
from tests.worker.cli.conftest import Command, Typed
from worker.fitness import nodes_of
from worker.operators.differences import Difference
from worker.operators.verify import Found, Verifier, _Partition
from worker.ports import LAYOUT, Ends
from worker.redis import RedisStore
from worker.settings import Settings

DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant's partition in Redis. `older`: a copy of it from before its last events."""

    redis: Redis
    namespace: str
    number: int
    tenant: str
    older: dict[str, bytes] = field(default_factory=dict)

    def name(self, rest: str) -> str:
        return f"{self.namespace}:{{{self.number}}}:{rest.replace('T', self.tenant)}"

    def dump(self) -> dict[str, bytes]:
        """All keys of the partition."""
        found: Any = [(name, self.redis.dump(name)) for name in self.redis.scan_iter(match=self.name("*"), count=1000)]
        return {name.decode(): value for name, value in found}

    def put_back(self, dump: dict[str, bytes]) -> None:
        """The partition as it was."""
        self.redis.delete(*self.dump() or [self.name("nothing")])
        for name, value in dump.items():
            self.redis.restore(name, 0, value)

    def document(self, run: str = "rr-1") -> dict[str, Any]:
        value: Any = self.redis.get(self.name(f"run:T/{run}"))
        return decode(value)


@dataclass(frozen=True, slots=True)
class Stored:
    """An installation whose worker was stopped."""

    settings: Settings
    places: list[Place]


def steps(tenant: str) -> Iterator[list[Any]]:
    """A restore with evidence that expires, one that runs, one that was deleted."""
    yield [run(tenant, "rr-1", 1, operation="op-1"), run(tenant, "rr-2", 1, "running"), run(tenant, "rr-3", 1)]
    yield [operation(tenant, "op-1", 1)]
    yield [snapshot(tenant, "es-1", 1, "op-1", expires_in_ms=DAY_MS), run(tenant, "rr-3", 1).deletion(2)]


def fill(live: Live) -> dict[int, str]:
    """Those restores in each partition; returns a tenant of each."""
    tenants = {live.send.partition(f"t-{number}"): f"t-{number}" for number in range(40)}
    assert len(tenants) == PARTITIONS
    for events in zip(*map(steps, tenants.values()), strict=True):
        live.send.events(*(event for of_tenant in events for event in of_tenant))
        live.send.steps(run("another", "rr-1", 1, "running"))
    for tenant in tenants.values():
        live.wait_for_state(tenant, "rr-1", "completed_with_evidence")
        live.wait_until_gone(tenant, "rr-3")
    return tenants


@pytest.fixture(scope="module")
def stored(real_kafka: KafkaServer, redis_server: RedisServer) -> Iterator[Stored]:
    settings = install(real_kafka, redis_server, f"test-{secrets.token_hex(5)}", PARTITIONS)
    with Redis.from_url(settings.redis.url.get_secret_value()) as redis:
        with live_worker(settings) as live:
            tenants = fill(live)
            places = [Place(redis, settings.redis.namespace, n, t) for n, t in sorted(tenants.items())]
            for place in places:
                place.older.update(place.dump())
            live.send.events(*(run(tenant, "rr-2", 2, "failed") for tenant in tenants.values()))
            for tenant in tenants.values():
                live.wait_for_state(tenant, "rr-2", "failed")
        yield Stored(settings, places)


@pytest.fixture
def told(command: Command, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, which knows where the installation is."""
    for name, value in environment(stored.settings).items():
        monkeypatch.setenv(name, value)
    return command


def found_by(command: Command, *options: str) -> dict[str, Any]:
    result = command("verify", "--json", *options)
    assert result.err == ""
    found: dict[str, Any] = json.loads(result.out)
    assert result.code == (0 if found["clean"] else 1)
    return found


@contextmanager
def put_back(places: list[Place]) -> Iterator[None]:
    """What is done to these partitions is undone."""
    before = [place.dump() for place in places]
    try:
        yield
    finally:
        for place, dump in zip(places, before, strict=True):
            place.put_back(dump)


# What is found


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is done by hand. `found`: the differences and keys that it makes; `cause`: words of the first."""

    words: str
    plant: Callable[[Place], object]
    found: set[tuple[str, str]]
    cause: str


def change_document(place: Place) -> None:
    place.redis.set(place.name("run:T/rr-1"), encode(place.document() | {"state": "failed"}))


def change_facts(place: Place) -> None:
    place.redis.set(place.name("operation:T/op-1"), "{}")


DAMAGES: Final = (
    Damage(
        "a document is changed by hand",
        change_document,
        {("changed_key", "run:T/rr-1")},
        "changed by hand: its decision does not follow from its own facts",
    ),
    Damage(
        "a record is written over",
        lambda p: p.redis.set(p.name("snapshot:T/es-1"), "hello"),
        {("changed_key", "snapshot:T/es-1")},
        "something else writes to this key",
    ),
    Damage("an operation is written over", change_facts, {("changed_key", "operation:T/op-1")}, "changed by hand"),
    Damage(
        "a document is lost",
        lambda p: p.redis.delete(p.name("run:T/rr-1")),
        {("lost_key", "run:T/rr-1")},
        "the key was removed by hand",
    ),
    Damage(
        "what is remembered of a deletion is lost",
        lambda p: p.redis.delete(p.name("deleted-run:T/rr-3")),
        {("lost_key", "deleted-run:T/rr-3")},
        "the key was removed by hand",
    ),
    Damage(
        "a document is there that nobody published",
        lambda p: p.redis.set(p.name("run:T/rr-9"), "{}"),
        {("extra_key", "run:T/rr-9")},
        "it was written by hand",
    ),
    Damage(
        "a key is there that means nothing",
        lambda p: p.redis.set(p.name("cache"), "x"),
        {("extra_key", "cache")},
        "something else uses this namespace",
    ),
    Damage(
        "an index is there of a state that there is not",
        lambda p: p.redis.zadd(p.name("runs:T:lost"), {"rr-1": 7}),
        {("extra_key", "runs:T:lost")},
        "something else uses this namespace",
    ),
    Damage(
        "an index names a run without document",
        lambda p: p.redis.zadd(p.name("runs:T"), {"rr-9": 7}),
        {("extra_index_entry", "runs:T")},
        "the index was changed by hand",
    ),
    Damage(
        "a tenant without runs has an index",
        lambda p: p.redis.zadd(p.name("runs:nobody:failed"), {"rr-9": 7}),
        {("extra_index_entry", "runs:nobody:failed")},
        "the index was changed by hand",
    ),
    Damage(
        "a run is in the index of a state that it is not in",
        lambda p: p.redis.zadd(p.name("runs:T:needs_review"), {"rr-1": 7}),
        {("extra_index_entry", "runs:T:needs_review")},
        "the index was changed by hand",
    ),
    Damage(
        "an index does not name a run",
        lambda p: p.redis.zrem(p.name("runs:T:failed"), "rr-2"),
        {("missing_index_entry", "runs:T:failed")},
        "the index was changed by hand",
    ),
    Damage(
        "an index has a run at another time",
        lambda p: p.redis.zadd(p.name("runs:T"), {"rr-1": 7}),
        {("wrong_index_entry", "runs:T")},
        "the index was changed by hand",
    ),
    Damage(
        "an index is none",
        lambda p: p.redis.set(p.name("runs:T:blocked_or_cancelled"), "x"),
        {("wrong_index", "runs:T:blocked_or_cancelled")},
        "something else writes to this key",
    ),
    Damage(
        "the deadlines are lost",
        lambda p: p.redis.delete(p.name("deadlines")),
        {("missing_index_entry", "deadlines"), ("wrong_size", "deadlines")},
        "changed or removed by hand",
    ),
    Damage(
        "the set of all records lacks one, and names one that is none",
        lambda p: (p.redis.srem(p.name("records"), p.name("run:T/rr-1")[len(p.name("")) :]),
                   p.redis.sadd(p.name("records"), "run:nobody/rr-1")),
        {("not_listed", "records"), ("listed_without_key", "records")},
        "the set was changed by hand",
    ),
    Damage(
        "the position is lost",
        lambda p: p.redis.delete(p.name("position")),
        {("no_position", "position")},
        "Redis was emptied, the position was removed by hand",
    ),
    Damage(
        "the position is set back",
        lambda p: p.redis.hset(p.name("position"), mapping=offsets_of(p.older, p)),
        {("gone_back", "position")},
        "the position was set back by hand",
    ),
    Damage(
        "an older copy is put back, as a replica that lagged is",
        lambda p: p.put_back(p.older),
        {("behind", "position")},
        "an older copy was put back, a dump or a replica that lagged",
    ),
    Damage(
        "a part of an older copy is put back",
        lambda p: p.redis.restore(p.name("run:T/rr-2"), 0, p.older[p.name("run:T/rr-2")], replace=True),
        {("changed_key", "run:T/rr-2")},
        "is from an older copy that was put back",
    ),
    Damage(
        "the copy is another installation's",
        lambda p: p.redis.hset(p.name("position"), "log_id", "other/topics"),
        {("other_topics", "position")},
        "another installation's",
    ),
    Damage(
        "the position is not in the log",
        lambda p: p.redis.hset(p.name("position"), "state", 10**6),
        {("outside_the_log", "position")},
        "the position was changed by hand",
    ),
    Damage(
        "another version had it",
        lambda p: p.redis.hset(p.name("position"), "layout", LAYOUT - 1),
        {("other_layout", "position")},
        "another version",
    ),
    Damage(
        "it is restoring, and nobody does it",
        lambda p: p.redis.hset(p.name("position"), "status", "restoring"),
        {("restoring", "position")},
        "no worker has it",
    ),
)  # fmt: skip


def offsets_of(dump: dict[str, bytes], place: Place) -> Any:
    """Where the position of this copy is."""
    with put_back([place]):
        place.put_back(dump)
        state, internal = place.redis.hmget(place.name("position"), "state", "internal")
    return {"state": state, "internal": internal}


@pytest.mark.parametrize("first", range(0, len(DAMAGES), PARTITIONS))
def test_each_damage_is_found_and_nothing_else(told: Command, stored: Stored, first: int) -> None:
    """Each in a partition of its own, as many as there are."""
    damages = list(zip(stored.places, DAMAGES[first : first + PARTITIONS], strict=False))
    with put_back(stored.places):
        for place, damage in damages:
            damage.plant(place)
        found = found_by(told)["differences"]
    for place, damage in damages:
        here = [difference for difference in found if difference["partition"] == place.number]
        keys = {(difference["difference"], difference["key"].replace(place.tenant, "T")) for difference in here}
        assert keys == damage.found, damage.words
        assert damage.cause in here[0]["likely_cause"], damage.words
    assert {difference["partition"] for difference in found} == {place.number for place, _ in damages}


@pytest.mark.usefixtures("stored")
def test_of_what_nobody_touched_nothing_differs(told: Command) -> None:
    found = found_by(told)

    assert found["differences"] == []
    assert found["runs"] == 2 * PARTITIONS + 1
    assert found["keys"] == 5 * PARTITIONS + 1


def test_a_tenant_alone_is_verified(told: Command, stored: Stored) -> None:
    """In the partition that it has; what is wrong of others is not told."""
    one, other = stored.places[:2]
    with put_back([one, other]):
        for place in (one, other):
            place.redis.delete(place.name("run:T/rr-1"))
        one.redis.set(one.name("run:nobody/rr-1"), "{}")
        found = found_by(told, "--tenant", one.tenant)

    assert [(row["difference"], row["key"]) for row in found["differences"]] == [("lost_key", f"run:{one.tenant}/rr-1")]
    assert (found["partitions"], found["keys"], found["runs"]) == (1, 5, 2)


@pytest.mark.usefixtures("stored")
def test_a_sample_of_what_nobody_touched_shows_nothing(told: Command) -> None:
    found = found_by(told, "--sample", "50")

    assert found["differences"] == []
    assert found["runs"] >= 2 * PARTITIONS


SEEN_BY_A_SAMPLE: Final = {
    "a document is changed by hand", "a document is lost", "an operation is written over",
    "an index does not name a run", "an index has a run at another time", "a part of an older copy is put back",
}  # fmt: skip


@pytest.mark.parametrize("damage", [damage for damage in DAMAGES if damage.words in SEEN_BY_A_SAMPLE])
def test_a_sample_finds_what_is_wrong_of_a_run_that_it_meets(told: Command, stored: Stored, damage: Damage) -> None:
    """All of them, as the sample is larger than the log."""
    place = stored.places[2]
    with put_back([place]):
        damage.plant(place)
        found = found_by(told, "--sample", "400", "--partition", str(place.number))["differences"]

    assert {(one["difference"], one["key"].replace(place.tenant, "T")) for one in found} == damage.found


def test_a_position_is_judged_once_however_many_tenants_a_sample_meets(
    told: Command, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partition that does not come on, of two tenants: it is waited for once, and told once."""
    with sender(stored.settings, PARTITIONS) as send:
        place = stored.places[send.partition("another")]
    waits: list[int] = []
    wait = _Partition._wait_until_ready

    def counted(partition: _Partition) -> Any:
        waits.append(partition._number)
        return wait(partition)

    monkeypatch.setattr(_Partition, "_wait_until_ready", counted)
    with put_back([place]):
        place.redis.hset(place.name("position"), "status", "restoring")
        found = found_by(told, "--sample", "400", "--partition", str(place.number))

    assert found["counts"] == {"restoring": 1}
    assert waits == [place.number]


def test_a_person_is_told_what_was_expected_what_came_and_what_to_do(told: Command, stored: Stored) -> None:
    place = stored.places[0]
    with put_back([place]):
        place.redis.set(place.name("run:T/rr-1"), encode(place.document() | {"state": "failed"}))
        result = told("verify", "--partition", str(place.number))

    assert result.code == 1
    shown = result.out.splitlines()
    assert shown[0] == f"changed_key  partition {place.number}  run:{place.tenant}/rr-1"
    assert "  expected the document, completed_with_evidence, at offset" in shown[1]
    assert "  got      a document of revision" in shown[2] and "'failed'" in shown[2]
    assert shown[4] == f"  do       restore-projector rebuild --partition {place.number}"
    assert shown[-1].startswith("1 difference (1 changed_key): 2 runs, 5 keys of 1 partition, in")


# What Kafka itself has


def publish(stored: Stored, place: Place, topic: str, key: str, value: dict[str, Any]) -> None:
    """A record of a compacted topic, as by another version or with a bug."""
    name = key.replace("T", place.tenant).encode()
    with sender(stored.settings, PARTITIONS) as send:
        send.messages([Message(topic, name, encode(value), (), place.number)])


def test_decisions_of_an_older_policy_are_told_and_taken_again(told: Command, stored: Stored) -> None:
    """They are in Kafka and in Redis alike, so a rebuild would not change them."""
    topics = stored.settings.topic_names
    older, wrong = stored.places[:2]
    with live_worker(stored.settings):
        publish(stored, older, topics.decision_state, "T/rr-1", older.document() | {"impact": "None.", "policy": 0})
        publish(stored, wrong, topics.decision_state, "T/rr-2", wrong.document("rr-2") | {"state": "needs_review"})
        assert told("rebuild", "--yes").code == 0

        found = found_by(told)["differences"]
        assert {(row["difference"], row["key"]) for row in found} == {
            ("older_policy", f"run:{older.tenant}/rr-1"),
            ("contradicts_its_facts", f"run:{wrong.tenant}/rr-2"),
        }
        assert {row["cure"] for row in found} == {"recompute"}

        cured = told("verify", "--repair", "--yes", "--json")
        assert (cured.code, json.loads(cured.out)["after_repair"]["counts"]) == (0, {})
        assert found_by(told)["clean"]


def test_after_a_repair_nothing_differs(told: Command, stored: Stored) -> None:
    """Everything that was planted, as far as it can be in one copy, is cured by one command."""
    with live_worker(stored.settings):
        for number, place in enumerate(stored.places):
            for damage in DAMAGES[number:14:PARTITIONS]:
                damage.plant(place)

        cured = told("verify", "--repair", "--yes", "--json")

        assert cured.code == 0, cured.out
        assert found_by(told)["clean"]


def test_what_a_newer_policy_has_decided_is_compared_with_kafka_alone(
    told: Command, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if this version were the older one: it says so of each partition, and goes on with what it can compare."""
    place = stored.places[1]
    for module in ("projections.rules", "worker.operators.verify", "worker.operators.sampling"):
        monkeypatch.setattr(f"{module}.POLICY", 0)
    with put_back([place]):
        place.redis.zrem(place.name("runs:T"), "rr-1")
        found, sampled = found_by(told), found_by(told, "--sample", "400")
        person = told("verify")

    assert [row["difference"] for row in found["differences"]] == ["missing_index_entry"]
    assert found["decided_by_newer_policy"] == list(range(PARTITIONS))
    assert [row["difference"] for row in sampled["differences"]] == ["missing_index_entry"]
    assert "Decisions of partition 0, 1, 2, 3 were not compared: a newer version has decided there." in person.out


def test_of_a_newer_format_the_bytes_are_compared(
    told: Command, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = stored.places[2]
    monkeypatch.setattr(Family, "present", property(lambda _: 0))
    with put_back([place]):
        place.redis.append(place.name("snapshot:T/es-1"), " ")
        found = found_by(told)

    differences = [(row["difference"], row["key"]) for row in found["differences"]]
    assert differences == [("changed_key", f"snapshot:{place.tenant}/es-1")]
    assert found["decided_by_newer_policy"] == list(range(PARTITIONS))


def test_what_was_found_where_nothing_is_done_is_not_forgotten() -> None:
    found = Found()
    found.add(Difference("lost_key", 0, "run:t-1/rr-1", "a document", "none"))
    found.add(Difference("one_sided_link", 1, "run:t-2/rr-1", "a link from both ends", "one"))
    found.add(Difference("one_sided_link", 0, "run:t-1/rr-2", "a link from both ends", "one"))
    left = found.outside({0})

    assert found.counts == {"lost_key": 1, "one_sided_link": 2}
    assert (left.counts, [one.key for one in left.shown]) == ({"one_sided_link": 1}, ["run:t-2/rr-1"])
    assert (left.broken, left.clean, found.outside({0, 1}).clean) == (set(), False, True)


@pytest.mark.parametrize("as_json", [False, True])
def test_what_was_found_is_shown_to_whoever_wants_no_repair(told: Command, stored: Stored, as_json: bool) -> None:
    place = stored.places[0]
    with put_back([place]):
        place.redis.delete(place.name("run:T/rr-1"))
        result = told("verify", "--repair", *(["--json"] if as_json else []), stdin=Typed("n\n"))

    assert result.code == 1
    assert f"Restore partition {place.number} in full?" in result.err
    if as_json:
        found = json.loads(result.out)
        assert (found["counts"], found["clean"], found["after_repair"]) == ({"lost_key": 1}, False, None)
    else:
        assert result.out.startswith(f"lost_key  partition {place.number}")


@pytest.mark.usefixtures("stored")
def test_a_repair_that_nobody_can_agree_to_is_refused_before_the_work(
    told: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Verifier, "verify")
    result = told("verify", "--repair")

    assert result.code == 2
    assert "say --yes to go on" in result.err


# While workers run


def test_beside_two_workers_under_traffic_of_which_one_is_killed_there_is_no_false_alarm(
    command: Command,
    real_kafka: KafkaServer,
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = install(real_kafka, redis_server, f"test-{secrets.token_hex(5)}", PARTITIONS)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    workers = [WorkerProcess(settings, tmp_path / f"worker-{name}.log") for name in "ab"]
    with ExitStack() as stack:
        for worker in workers:
            stack.callback(worker.kill)
            worker.start()
        for worker in workers:
            worker.wait_until_owning(PARTITIONS // 2)
        send = stack.enter_context(sender(settings, PARTITIONS))
        traffic = stack.enter_context(Traffic(send, seed=7))
        traffic.wait_for(500)
        assert found_by(command)["differences"] == []
        workers[0].kill()
        assert found_by(command)["differences"] == []
        workers[1].wait_until_owning(PARTITIONS)
        found = found_by(command)
        assert found["differences"] == []
        assert found["runs"] > 0
        traffic.end()
        wait_for_rest(settings)
        assert found_by(command)["differences"] == []


def test_what_changes_between_reading_kafka_and_looking_at_redis_is_no_difference(
    told: Command, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look is compared with the log up to exactly the position that it tells: the first one, and the last as well."""
    place = stored.places[1]
    name = f"run:{place.tenant}/rr-2".encode()
    settle, together = _Partition._settle, Verifier.together
    sequences = itertools.count(time.time_ns())

    def change(live: Live) -> None:
        revision = place.document("rr-2")["revision"]
        live.send.events(run(place.tenant, "rr-2", next(sequences), "failed"))
        live.wait_for(place.tenant, "rr-2", lambda document: document["revision"] > revision)

    def settled(partition: _Partition, ends: Ends) -> Any:
        assert partition._suspects == {}
        if partition._number == place.number:
            partition._suspects[name] = None
        return settle(partition, ends)

    with live_worker(stored.settings) as live:

        def changed_just_before(verifier: Verifier, number: int, names: Sequence[bytes]) -> Any:
            if number == place.number:
                change(live)
            return together(verifier, number, names)

        monkeypatch.setattr(Verifier, "together", changed_just_before)
        monkeypatch.setattr(_Partition, "_settle", settled)
        assert found_by(told)["differences"] == []


def test_a_partition_that_is_restored_meanwhile_is_begun_anew(
    told: Command, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = stored.places[0]
    look_for_strays = _Partition._look_for_strays
    orders = iter(["an order"])

    def and_it_is_ordered_to_be_restored(partition: _Partition) -> None:
        if partition._number == place.number and next(orders, None):
            with nodes_of(stored.settings.redis) as nodes:
                store = RedisStore(nodes, place.namespace, "redis")
                assert store.order_restore(place.number, "nobody-ordered", "ann@host", now=1)
        look_for_strays(partition)

    monkeypatch.setattr(_Partition, "_look_for_strays", and_it_is_ordered_to_be_restored)
    with live_worker(stored.settings):
        before = place.redis.hget(place.name("position"), "generation")
        found = found_by(told)
        assert found["differences"] == []
        assert next(orders, None) is None
        assert place.redis.hget(place.name("position"), "generation") != before
