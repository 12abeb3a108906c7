"""The checker sees every damage: one look at a sound installation, and of each test a copy with one thing broken."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pytest
from kafka import KafkaProducer
from redis import Redis

from contracts.events import Record
from projections.advance import Outcome
from tests.consistency import Inconsistent, Observation, Summary, check, judge, kcat_unavailable, observe, wait_for_rest
from tests.consistency.observation import Log
from tests.installation import Live, a_live_installation
from tests.servers.plugin import _go_without
from tests.servers.ports import KafkaServer, RedisServer
from tests.traffic import message, operation, run, snapshot
from worker.settings import Settings

DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Sound:
    """An installation in which everything is as it should be, and how it looks."""

    settings: Settings
    seen: Observation


@pytest.fixture(scope="module")
def sound(real_kafka: KafkaServer, redis_server: RedisServer) -> Iterator[Sound]:
    with a_live_installation(real_kafka, redis_server) as live:
        _tell(live)
        at = wait_for_rest(live.settings)
        yield Sound(live.settings, observe(live.settings, at))


def _tell(live: Live) -> None:
    """Three runs of one tenant with all that can hang on them, one that was deleted, three records set aside."""
    gone, waits = run("t-1", "rr-gone", 1, "running"), run("t-1", "rr-waits", 1, "running")
    letters = [message(run("t-1", f"rr-{n}", 1, "vanished"), live.send.topics) for n in range(3)]
    live.send.steps(
        run("t-1", "rr-1", 1, "running", "op-1"),
        operation("t-1", "op-1", 1),
        run("t-1", "rr-1", 2, "completed", "op-1"),
        snapshot("t-1", "es-1", 1, "op-1", expires_in_ms=DAY_MS),
    )
    live.send.events(waits, gone, gone.deletion(2), run("t-1", "rr-2", 1, "failed"))
    live.send.messages(letters)


@pytest.fixture
def seen(sound: Sound) -> Observation:
    """A copy, to be damaged."""
    return copy.deepcopy(sound.seen)


def test_what_is_sound_is_found_sound(sound: Sound, seen: Observation) -> None:
    outcomes: Counter[Outcome] = Counter({"applied": 8, "dead_letter": 3})
    assert judge(seen, sound.settings) == Summary(outcomes, Counter(decided=7), changes=7, runs=4)


def test_outputs_are_read_by_two_clients() -> None:
    """Where there is no kcat, the checker makes do with one; where everything must run, that is not enough."""
    why_not = kcat_unavailable()
    if why_not:
        _go_without(why_not)


# Damages: what is broken in a log, and what must be said


def _drop(at: int) -> Callable[[list[Record]], None]:
    return lambda records: records.__delitem__(at)


def _double(at: int) -> Callable[[list[Record]], None]:
    return lambda records: records.append(records[at]._replace(offset=records[-1].offset + 1))


def _alter(at: int, **fields: Any) -> Callable[[list[Record]], None]:
    return lambda records: records.__setitem__(at, records[at]._replace(**fields))


def _swap_values(one: int, other: int) -> Callable[[list[Record]], None]:
    def swap(records: list[Record]) -> None:
        a, b = records[one], records[other]
        records[one], records[other] = (
            a._replace(value=b.value, headers=b.headers),
            b._replace(value=a.value, headers=a.headers),
        )

    return swap


def _replace_bytes(at: int, old: bytes, new: bytes) -> Callable[[list[Record]], None]:
    def damage(records: list[Record]) -> None:
        value = records[at].value
        assert value is not None and old in value
        records[at] = records[at]._replace(value=value.replace(old, new))

    return damage


def _lost_header(records: list[Record]) -> None:
    records[0] = records[0]._replace(headers=records[0].headers[1:])


def _other_reason(records: list[Record]) -> None:
    headers = tuple((n, b"not_json" if n == "dl_reason" else v) for n, v in records[0].headers)
    records[0] = records[0]._replace(headers=headers)


def _letter_of_offset_0(records: list[Record]) -> None:
    headers = tuple((n, b"0" if n == "dl_offset" else v) for n, v in records[0].headers)
    records.append(records[0]._replace(offset=records[-1].offset + 1, headers=headers))


# The changes are, in order: rr-1 in progress, rr-1 incomplete, rr-1 with evidence, rr-waits, rr-gone, rr-gone removed,
# rr-2. The documents may have been cut into batches in any way, but the last ones are those of rr-gone and rr-2.
DAMAGED_LOGS: list[tuple[str, str, Callable[[list[Record]], None], str]] = [
    ("a change is lost", "decision_changes", _drop(2), "run t-1/rr-1: expected change 3, found none"),
    ("a first change is lost", "decision_changes", _drop(0), "run t-1/rr-1: expected"),
    ("a change is there twice", "decision_changes", _double(-1), "change t-1/rr-2/1: expected once, found 2 times"),
    ("changes are in another order", "decision_changes", _swap_values(0, 1), "run t-1/rr-1: expected"),
    ("a change says something else", "decision_changes", _replace_bytes(2, b"info", b"warn"), "run t-1/rr-1: expected"),
    ("a change has another revision", "decision_changes", _replace_bytes(2, b'"revision":4', b'"revision":5'), "rr-1"),
    ("a change lacks its headers", "decision_changes", _alter(2, headers=()), "expected headers"),
    ("a change has another key", "decision_changes", _alter(-1, key=b"t-1/rr-3"), "run t-1/rr-3: expected no change 1"),
    ("a last document is lost", "decision_state", _drop(-1), "t-1/rr-2: expected the last document to be revision 1"),
    ("a document is there twice", "decision_state", _double(-1), "expected a revision above 1, found 1"),
    ("a document differs", "decision_state", _replace_bytes(-1, b"failed", b"faded_"), "rr-2 revision 1: expected"),
    ("a revision is another one", "decision_state", _replace_bytes(-1, b'n":1,"st', b'n":9,"st'), "no revision 9"),
    ("a document is of no run", "decision_state", _alter(-1, key=b"t-1/rr-9"), "run t-1/rr-9: expected no revision 1"),
    ("a document is no document", "decision_state", _alter(-1, value=b"[]"), "expected a revision, found none"),
    ("a deletion is not published", "decision_state", _drop(-2), "t-1/rr-gone: expected the last document"),
    ("a deletion has no revision", "decision_state", _alter(-2, headers=()), "expected a revision, found none"),
    ("an internal record is lost", "internal", _drop(-1), "deleted-run/t-1/rr-gone: expected {"),
    ("an internal record differs", "internal", _replace_bytes(-1, b'"sequence":2', b'"sequence":3'), "expected …"),
    ("an internal record is of nothing", "internal", _alter(-1, key=b"snapshot/t-1/es-9"), "es-9: expected nothing"),
    ("a dead letter is lost", "dead_letters", _drop(1), "1 times among the dead letters, found it 0 times"),
    ("a dead letter is there twice", "dead_letters", _double(0), "1 times among the dead letters, found it 2 times"),
    ("a dead letter's value differs", "dead_letters", _alter(0, value=b"{}"), "expected …{"),
    ("a dead letter's key differs", "dead_letters", _alter(0, key=None), "expected key b't-1', found None"),
    ("a dead letter lost a header", "dead_letters", _lost_header, "expected headers"),
    ("a dead letter has another reason", "dead_letters", _other_reason, "expected headers"),
    ("a good record is set aside", "dead_letters", _letter_of_offset_0, "0 times among the dead"),
]  # fmt: skip


@pytest.mark.parametrize(("role", "damage", "said"), [pytest.param(*rest, id=what) for what, *rest in DAMAGED_LOGS])
def test_damage_in_kafka_is_told(
    sound: Sound, seen: Observation, role: str, damage: Callable[[list[Record]], None], said: str
) -> None:
    damage(_filled(seen.log, getattr(seen.topics, role)))
    assert said in _judged(seen, sound.settings)


@pytest.mark.parametrize("role", ["decision_state", "decision_changes", "dead_letters"])
def test_readers_that_differ_are_told(sound: Sound, seen: Observation, role: str) -> None:
    assert seen.second_log is not None
    topic = getattr(seen.topics, role)
    second = next(records for place, records in seen.second_log.items() if place[0] == topic and records)
    second[0] = replace(second[0], value=b"other")
    assert f"kafka-python reads {len(second)} records and kcat {len(second)}" in _judged(seen, sound.settings)
    del second[0]
    assert f"kafka-python reads {len(second) + 1} records and kcat {len(second)}" in _judged(seen, sound.settings)


def test_an_open_transaction_is_told(sound: Sound, seen: Observation) -> None:
    place = next(place for place, end in seen.ends.items() if end)
    seen.read_to[place] -= 1
    assert "a transaction is open" in _judged(seen, sound.settings)


@pytest.mark.parametrize("by", [-1, 1])
def test_a_committed_offset_that_is_not_the_end_is_told(sound: Sound, seen: Observation, by: int) -> None:
    place = next(place for place, offset in seen.committed.items() if offset > 0)
    seen.committed[place] += by
    assert f"expected a committed offset from {seen.ends[place]} to" in _judged(seen, sound.settings)


def test_output_from_beyond_the_committed_offset_is_told(sound: Sound, seen: Observation) -> None:
    for place in seen.committed:
        seen.committed[place] = -1
    told = _judged(seen, sound.settings)
    assert "expected sources before the committed offset -1" in told
    assert "expected a dead letter from before the committed offset -1" in told


Store = dict[str, Any]
WAITING = "unfinished:in_progress"

DAMAGED_STORES: list[tuple[str, Callable[[Store, str], object], str]] = [
    ("a document is lost", lambda s, p: s.pop(f"{p}:run:t-1/rr-1"), "run:t-1/rr-1: expected {"),
    ("a document differs", lambda s, p: s.update({f"{p}:run:t-1/rr-1": b"{}"}), "run:t-1/rr-1: expected …"),
    ("a document is left over", lambda s, p: s.update({f"{p}:run:t-1/rr-gone": b"{}"}), "gone: expected nothing"),
    ("a record is lost", lambda s, p: s.pop(f"{p}:operation:t-1/op-1"), "operation:t-1/op-1: expected {"),
    ("a record is in another partition", lambda s, p: s.update({f"{p[:-3]}{{9}}:run:t-1/rr-1": b"{}"}), "{9}:run"),
    ("a run is not listed", lambda s, p: s[f"{p}:runs:t-1"].pop("rr-1"), "found it at no place"),
    ("a run is in a wrong list", lambda s, p: s.update({f"{p}:runs:t-1:in_progress": {"rr-1": 1}}), "rr-1 at no place"),
    ("a list is lost", lambda s, p: s.pop(f"{p}:runs:t-1:failed"), "runs:t-1:failed: expected rr-2 at"),
    ("a run is listed at a wrong time", lambda s, p: s[f"{p}:runs:t-1"].update({"rr-2": 1}), "found it at 1"),
    ("a record is not written down", lambda s, p: s[f"{p}:records"].pop("run:t-1/rr-2"), "expected run:t-1/rr-2 at"),
    ("an unfinished run is not listed", lambda s, p: s.pop(f"{p}:{WAITING}"), "expected t-1/rr-waits at"),
    ("a finished run is left over", lambda s, p: s[f"{p}:{WAITING}"].update({"t-1/rr-1": 1}), "t-1/rr-1 at no place"),
    ("a failed run waits", lambda s, p: s.update({f"{p}:unfinished:failed": {"t-1/rr-2": 1}}), "rr-2 at no place"),
    ("a run waits since another time", lambda s, p: s[f"{p}:{WAITING}"].update({"t-1/rr-waits": 1}), "found it at 1"),
    ("a deadline is lost", lambda s, p: s.pop(f"{p}:deadlines"), "deadlines: expected snapshot/t-1/es-1 at"),
    ("a deadline is left over", lambda s, p: s[f"{p}:deadlines"].update({"snapshot/t-1/es-9": 1}), "es-9 at no"),
    ("a list is a string", lambda s, p: s.update({f"{p}:runs:t-1": b"rr-1"}), "runs:t-1: expected nothing"),
    ("a list is a hash", lambda s, p: s.update({f"{p}:runs:t-1": {"rr-1": "1"}}), "expected rr-1 at"),
    ("the position is behind", lambda s, p: s[f"{p}:position"].update(state="1"), "expected state from"),
    ("the position is ahead", lambda s, p: s[f"{p}:position"].update(internal="999"), "expected internal from"),
    ("the store says it is restoring", lambda s, p: s[f"{p}:position"].update(status="restoring"), "status ready"),
    ("the position is lost", lambda s, p: s.pop(f"{p}:position"), "expected a hash, found nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), [pytest.param(*rest, id=what) for what, *rest in DAMAGED_STORES])
def test_damage_in_redis_is_told(
    sound: Sound, seen: Observation, damage: Callable[[Store, str], object], said: str
) -> None:
    (name,) = (name for name in seen.store if name.endswith(":run:t-1/rr-1"))
    damage(seen.store, name.removesuffix(":run:t-1/rr-1"))
    told = _judged(seen, sound.settings)
    assert said in told
    assert all(line.startswith("Redis ") for line in told.splitlines()[1:])


def test_damage_on_the_servers_themselves_is_told(live: Live) -> None:
    live.send.events(run("t-1", "rr-1", 1, "failed"))
    live.wait_for_state("t-1", "rr-1", "failed")
    assert check(live.settings).runs == 1

    (change,) = live.changes("t-1", "rr-1")
    with closing(KafkaProducer(**live.settings.kafka.client_options())) as producer:
        producer.send(change.topic, change.value, change.key, list(change.headers), change.partition)
    with Redis.from_url(live.settings.redis.url.get_secret_value()) as client:
        client.delete(live.redis_key("t-1", "run:t-1/rr-1"))

    with pytest.raises(Inconsistent) as told:
        check(live.settings)
    assert "change t-1/rr-1/1: expected once, found 2 times" in str(told.value)
    assert "run:t-1/rr-1: expected {" in str(told.value)


def test_input_that_nobody_consumes_is_no_rest(live: Live) -> None:
    live.send.events(run("t-1", "rr-1", 1, "failed"))
    live.worker.stop()
    live.send.events(run("t-1", "rr-1", 2, "failed"))
    with pytest.raises(AssertionError, match=r"lag of .*restore-runs.v1 partition .: 1"):
        check(live.settings, timeout_s=0.5)


def _filled(log: Log, topic: str) -> list[Record]:
    """The one partition of the topic that has records."""
    (records,) = (records for place, records in log.items() if place[0] == topic and records)
    return records


def _judged(seen: Observation, settings: Settings) -> str:
    with pytest.raises(Inconsistent) as told:
        judge(seen, settings)
    return str(told.value)
