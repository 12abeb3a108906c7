from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator

import pytest

from contracts.decision import STATES
from contracts.letters import Reason
from contracts.topics import Topics
from tests.worker.told import Told
from worker.simulate import SPACING_MS, Plan, Planned, Sent, send_in_time, traffic
from worker.sources import InputRecord

START = 1_800_000_000_000
PLAN = Plan(runs=400, rate=500, seed=7, tenants=20, malformed=True, start=START)
KINDS = {"event", "duplicate", "late", "swapped", "tombstone", "malformed"}
REASONS: set[Reason] = {"key_mismatch", "not_an_event", "not_json", "schema_violation"}


@pytest.fixture(scope="module")
def planned() -> list[Planned]:
    return list(traffic(PLAN, Topics()))


def test_the_same_seed_gives_the_same_records(planned: list[Planned]) -> None:
    assert list(traffic(PLAN, Topics())) == planned


def test_another_seed_gives_other_restores(planned: list[Planned]) -> None:
    other = traffic(Plan(5, 500, 8, 20, malformed=False, start=START), Topics())

    assert not {p.record.value for p in planned} & {p.record.value for p in other if p.record.value is not None}


def test_every_restore_comes_to_its_end(planned: list[Planned]) -> None:
    assert sum(p.finished for p in planned) == PLAN.runs


def test_every_kind_of_record_is_among_them(planned: list[Planned]) -> None:
    assert {p.kind for p in planned} == KINDS
    assert {p.form for p in planned} == {"binary", "structured", "debezium"}


def test_malformed_records_come_only_when_asked_for() -> None:
    well_formed = traffic(Plan(100, 500, 7, 20, malformed=False, start=START), Topics())

    assert {p.kind for p in well_formed} == KINDS - {"malformed"}


def test_the_rate_is_kept_while_there_is_enough_to_send(planned: list[Planned]) -> None:
    in_full_swing = [p.at for p in planned if 500 <= p.at < 2_500]

    assert 800 <= len(in_full_swing) <= 1_001
    assert in_full_swing == sorted(in_full_swing)


def test_a_restores_records_are_never_nearer_together_than_promised() -> None:
    by_restore: dict[str, list[int]] = defaultdict(list)
    for planned in traffic(Plan(200, 500, 7, 20, malformed=False, start=START), Topics()):
        if planned.record.value is not None:
            number = planned.record.value.partition(b"-7-")[2][:6].decode()
            by_restore[number].append(planned.at)

    assert len(by_restore) == 200
    gaps = [after - before for times in by_restore.values() for before, after in itertools.pairwise(times)]
    assert min(gaps) >= SPACING_MS - 1


def test_the_worker_finds_in_it_what_was_put_there(planned: list[Planned]) -> None:
    told = Told(Topics())
    for p in planned:
        told.tell(p.record, START + p.at)

    letters = [letter.reason for letter in told.effects.letters]
    assert len(letters) == len([p for p in planned if p.kind == "malformed"])
    assert set(letters) == REASONS
    assert told.outcomes["ignored"] == len([p for p in planned if p.kind == "tombstone"])
    assert told.outcomes["stale"] >= len([p for p in planned if p.kind in {"duplicate", "late"}])
    assert {change.body["to_state"] for change in told.effects.changes} == {*STATES, None}


class World:
    """A clock that only passes by sleeping and sending, and a Kafka that takes `sending_s` for a record."""

    def __init__(self, sending_s: float) -> None:
        self.now = 50.0
        self.sent_at: list[float] = []
        self._sending_s = sending_s

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def send(self, _: InputRecord) -> None:
        self.sent_at.append(round(self.now - 50, 6))
        self.now += self._sending_s


def at(*times_ms: int) -> Iterator[Planned]:
    record = InputRecord("in", "t-1", b"{}")
    return (Planned(time, record, "event", "binary", finished=0) for time in times_ms)


def test_records_are_sent_when_they_are_due() -> None:
    world, sent = World(sending_s=0.001), Sent()

    list(send_in_time(at(0, 100, 350), world.send, sent, monotonic=world.monotonic, sleep=world.sleep))

    assert world.sent_at == [0.0, 0.1, 0.35]
    assert sent.records == 3


def test_a_sender_that_falls_behind_does_not_catch_up() -> None:
    world = World(sending_s=1.0)

    list(send_in_time(at(0, 100, 2_000), world.send, Sent(), monotonic=world.monotonic, sleep=world.sleep))

    assert world.sent_at == [0.0, 1.0, 2.9]
