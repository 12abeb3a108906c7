"""Whatever goes wrong, there is one way to recover, and nothing is lost or said twice.

Everything that the real servers may do to it is done here on order (tests.worker.fakes); what is left behind is
compared with the pure fold of the input (tests.worker.site).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.facts import ENTITIES
from projections.record import Key
from tests.worker.fakes import TOPICS, Faults
from tests.worker.site import OPERATIONS, PROVEN, TENANTS, Site, at, proven
from worker.errors import KafkaUnreachable, PositionMoved, RedisUnreachable
from worker.loop import BACKOFF_S, Limits
from worker.ports import LAYOUT

LOST = KafkaUnreachable("broker:9092", "no answer")
REDIS_LOST = RedisUnreachable("redis:6379", "no answer")


@pytest.mark.parametrize("method", ["poll", "membership", "input_ends", "publish"])
def test_an_error_of_the_log_is_recovered_from(method: str) -> None:
    site, worker = proven()
    site.send(sequence=2)
    worker.log.fail(method, LOST)
    site.settle(worker)
    assert len(worker.notes.of("recovering")) == 1
    assert site.document()["revision"] == 4
    site.assert_consistent([0])


@pytest.mark.parametrize("method", ["new_producer", "committed", "ends", "log_id", "read", "resume_at"])
def test_an_error_while_taking_over_is_recovered_from(method: str) -> None:
    site = Site()
    site.send_restore()
    site.settle(site.started())
    del site.store.copies[0]
    worker = site.worker()
    worker.log.fail(method, LOST)
    site.settle(worker)
    assert len(worker.notes.of("recovering")) == 1
    site.assert_consistent([0])


@pytest.mark.parametrize("method", ["read", "apply"])
def test_an_error_of_the_store_is_recovered_from(method: str) -> None:
    site, worker = proven()
    site.send(sequence=2)
    site.store.fail(method, REDIS_LOST)
    site.settle(worker)
    assert len(worker.notes.of("recovering")) == 1
    assert len(site.states()) == 2
    site.assert_consistent([0])


@pytest.mark.parametrize("method", ["status", "wipe", "apply", "next_due"])
def test_an_error_of_the_store_while_taking_over_is_recovered_from(method: str) -> None:
    site = Site()
    site.send_restore()
    worker = site.worker()
    site.store.fail(method, REDIS_LOST)
    site.settle(worker)
    assert len(worker.notes.of("recovering")) == 1
    site.assert_consistent([0])


def test_a_commit_whose_answer_is_lost_is_found_out_from_the_log() -> None:
    """It was carried out: nothing is published twice, and the store gets what the log has."""
    site = Site()
    site.send_restore()
    worker = site.started()
    worker.log.lose_answer("publish", LOST)
    site.settle(worker)
    assert site.states() == PROVEN
    assert worker.notes.of("restored_slice")[-1][1] > 0
    site.assert_consistent([0])


def test_a_store_whose_answer_is_lost_is_found_where_it_is() -> None:
    site, worker = proven()
    site.send(sequence=2)
    site.store.lose_answer("apply", REDIS_LOST)
    site.settle(worker)
    assert site.document()["revision"] == 4
    site.assert_consistent([0])


def test_a_crash_between_commit_and_store_is_caught_up_by_the_heir() -> None:
    site, worker = proven()
    site.send(sequence=2)
    site.store.fail("apply", REDIS_LOST)
    worker.turn()
    behind = site.store.copies[0].status.position
    heir = site.started(name="heir")
    assert heir.notes.of("restoring") == [(0, None)]
    assert site.store.copies[0].status.position.state > behind.state
    site.settle(heir)
    site.assert_consistent([0])


def test_an_exception_that_nobody_thought_of_is_recovered_from() -> None:
    site, worker = proven()
    site.send(sequence=2)
    worker.log.fail("input_ends", ZeroDivisionError("oops"))
    site.settle(worker)
    assert worker.notes.of("recovering") == [(ZeroDivisionError, "oops")]
    site.assert_consistent([0])


def test_recovering_waits_longer_each_time_up_to_a_limit() -> None:
    site, worker = proven()
    waits = []
    for _ in range(8):
        worker.log.fail("poll", LOST)
        began = site.clock.monotonic()
        worker.turn()
        site.until(lambda: worker.runs, worker)
        waits.append(site.clock.monotonic() - began)
    shortest, longest = BACKOFF_S
    assert waits[0] <= shortest + 1
    assert longest / 2 <= waits[-1] <= longest + 1


def test_after_a_success_the_waits_begin_anew() -> None:
    site, worker = proven()
    for sequence in range(2, 8):
        worker.log.fail("poll", LOST)
        site.send(sequence=sequence)
        began = site.clock.monotonic()
        site.settle(worker)
        assert site.clock.monotonic() - began < BACKOFF_S[0] + 2


def test_during_the_wait_no_input_is_lost() -> None:
    site, worker = proven()
    worker.log.fail("poll", LOST)
    worker.turn()
    site.send(sequence=2)
    worker.turn()
    site.send(sequence=3)
    site.settle(worker)
    assert site.document()["revision"] == 5


# The store is elsewhere


def test_a_store_that_was_wiped_is_found_out_before_anything_is_published() -> None:
    site, worker = proven()
    site.store.copies.clear()
    site.send(sequence=2)
    published = worker.log.transactions
    worker.turn()
    assert worker.log.transactions == published
    assert worker.notes.of("recovering")[-1][0] is PositionMoved
    site.settle(worker)
    assert worker.notes.of("restoring")[-1] == (0, "the store has no position")
    assert site.document()["revision"] == 4
    site.assert_consistent([0])


def test_a_store_that_went_back_in_time_is_found_out_before_anything_is_published() -> None:
    """A fail-over to a replica that was behind; the tail of the log is enough."""
    site, worker = proven()
    earlier = site.store.kept()
    site.send(sequence=2)
    site.settle(worker)
    site.store.copies = earlier
    site.send(sequence=3)
    worker.turn()
    assert worker.notes.of("recovering")[-1][0] is PositionMoved
    site.settle(worker)
    assert worker.notes.of("restoring")[-1] == (0, None)
    assert site.document()["revision"] == 5
    site.assert_consistent([0])


def test_a_store_that_is_wiped_while_nothing_comes_in_is_filled_again() -> None:
    """Its readers would find nothing, for as long as the partition's tenants are quiet."""
    site, worker = proven()
    site.store.copies.clear()
    began = site.clock.monotonic()
    site.until(lambda: 0 in site.store.copies, worker)
    assert site.clock.monotonic() - began < 10
    site.settle(worker)
    site.assert_consistent([0])


def test_an_idle_worker_leaves_the_store_alone_most_of_the_time() -> None:
    site, worker = proven()
    site.store.calls.clear()
    began = site.clock.monotonic()
    worker.turn(100)
    assert set(site.store.calls) == {"next_due"}
    assert len(site.store.calls) <= (site.clock.monotonic() - began) / 5 + 1


def test_an_idle_worker_notices_that_kafka_is_gone_and_goes_on_when_it_is_back() -> None:
    site, worker = proven()
    worker.log.fail("input_ends", KafkaUnreachable("broker:9092", "refused"))
    worker.turn(100)
    assert [error for error, _ in worker.notes.of("recovering")] == [KafkaUnreachable]
    site.settle(worker)
    assert worker.runs


def test_a_store_that_contradicts_itself_is_restored_in_full() -> None:
    site, worker = proven()
    del site.store.copies[0].values[Key("operation", TENANTS[0], "op-1")]
    generation = site.store.copies[0].status.position.generation
    site.send(sequence=2)
    site.settle(worker)
    assert worker.notes.of("restoring")[-1] == (0, "the store contradicts itself")
    assert site.store.copies[0].status.position.generation != generation
    assert site.document()["revision"] == 4
    site.assert_consistent([0])


def test_only_the_damaged_partition_is_restored_in_full() -> None:
    site = Site()
    for partition in (0, 1):
        site.send_restore(partition=partition)
    worker = site.started((0, 1))
    site.settle(worker)
    del site.store.copies[1].values[Key("run", TENANTS[1], "rr-1")]
    site.send("operation_run", 2, partition=1)
    site.settle(worker)
    assert worker.notes.of("restoring")[-2:] == [(0, None), (1, "the store contradicts itself")]
    site.assert_consistent([0, 1])


def test_a_store_of_a_version_with_other_indexes_is_restored_in_full_and_has_them_then() -> None:
    site = Site()
    site.send(status="running")
    worker = site.started()
    site.settle(worker)
    copy = site.store.copies[0]
    copy.status, copy.unfinished = replace(copy.status, layout=None), {}
    worker.log.rebalance([0])
    worker.turn()
    site.settle(worker)
    reason = f"the store names no layout, and this version keeps layout {LAYOUT}"
    assert worker.notes.of("restoring")[-1] == (0, reason)
    assert [state for state, _ in site.store.copies[0].unfinished.values()] == ["in_progress"]
    site.assert_consistent([0])


# Records that Kafka does not take


def too_large_by(site: Site) -> None:
    """The state topic takes documents of rr-1 that name a short operation, and none that name a long one."""
    site.send(partition=3, id="rr-1", operation_run_id="op-1")
    probe = site.started([3], name="probe")
    site.settle(probe)
    site.broker.record_bytes[TOPICS.decision_state] = (
        len(site.broker.records(TOPICS.decision_state)[0].value or b"") + 30
    )


LONG = "o" * 128


def test_the_culprit_is_found_by_halving_and_the_others_go_through() -> None:
    site = Site()
    too_large_by(site)
    worker = site.started(limits=Limits(batch_records=100))
    for number in range(30):
        site.send(id=f"rr-{number}", operation_run_id=LONG if number == 17 else "op-1")
    site.settle(worker)
    assert site.letters() == ["too_large"]
    (letter,) = site.broker.records(TOPICS.dead_letters)
    assert dict(letter.headers)["dl_offset"] == b"17"
    assert len(site.broker.latest(TOPICS.decision_state)) == 1 + 29
    assert len(worker.notes.of("recovering")) <= 8


def test_several_culprits_are_each_found() -> None:
    site = Site()
    too_large_by(site)
    worker = site.started(limits=Limits(batch_records=100))
    for number in range(12):
        site.send(id=f"rr-{number}", operation_run_id=LONG if number in {3, 4, 11} else "op-1")
    site.settle(worker)
    assert site.letters() == ["too_large"] * 3
    assert len(site.broker.latest(TOPICS.decision_state)) == 1 + 9


def test_a_culprit_is_found_while_another_partition_has_records_all_the_time() -> None:
    """Partitions are looked through one by one, or the first one would always be the one that succeeds."""
    site = Site()
    too_large_by(site)
    worker = site.started((0, 1))
    site.send(partition=1, operation_run_id=LONG)
    sequence = 0

    def traffic() -> bool:
        nonlocal sequence
        sequence += 1
        site.send(sequence=sequence, partition=0, operation_run_id="op-1")
        site.send(sequence=sequence, partition=1, id="rr-2", operation_run_id="op-1")
        return bool(site.letters())

    site.until(traffic, worker, limit=200)
    assert site.letters() == ["too_large"]


# At random


ORDERS = [
    "rebalance", "evict", "heir", "crash", "fail publish", "lose publish", "fail apply", "lose apply", "fail read",
    "fail committed", "fail ends", "flush", "keep", "put_back", "wait", "compact", "hold", "release",
]  # fmt: skip
WORK = [*12 * ["turn"], *20 * ["send"]]


class Chaos:
    """An installation to which things happen; each method is one of them."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.site = Site()
        self.worker = self.site.started()
        self.kept = self.site.store.kept()
        self.names = 0

    def turn(self) -> None:
        self.worker.turn()

    def send(self) -> None:
        """Some event of few entities; now and then one that cannot be read."""
        draw = self.data.draw
        entity = draw(st.sampled_from([ENTITIES[0], *ENTITIES]))
        fields: dict[str, Any] = {"id": draw(st.sampled_from(["a", "b"]))}
        if entity != "operation_run":
            fields["operation_run_id"] = draw(st.sampled_from(["a", "b", None]))
        if entity == "evidence_snapshot" and draw(st.booleans()):
            fields["expires_at"] = at(self.site.clock.now_ms() + 2000)
        if draw(st.integers(0, 7)) == 0:
            fields["status"] = "nonsense"
        verb = draw(st.sampled_from([*4 * ["changed"], "deleted"]))
        self.site.send(entity, draw(st.integers(1, 9)), verb=verb, **fields)
        self.site.clock.pass_s(0.1)

    def rebalance(self) -> None:
        self.worker.log.rebalance([0])

    def evict(self) -> None:
        self.worker.log.evict()
        self.worker.turn()
        self.worker.log.rebalance([0])

    def heir(self) -> None:
        """Another process has the partition from now on."""
        self.names += 1
        self.worker = self.site.worker(name=f"heir-{self.names}")

    def crash(self) -> None:
        """The process is killed and comes back under its name."""
        self.worker = self.site.worker(name="w")

    def fail(self, method: str) -> None:
        self._owner(method).fail(method, LOST)

    def lose(self, method: str) -> None:
        self._owner(method).lose_answer(method, LOST)

    def _owner(self, method: str) -> Faults:
        return self.site.store if method in {"apply", "read"} else self.worker.log

    def flush(self) -> None:
        self.site.store.copies.clear()

    def keep(self) -> None:
        self.kept = self.site.store.kept()

    def put_back(self) -> None:
        """The store goes back to where it was kept, as after a fail-over."""
        self.site.store.copies = self.kept
        self.kept = self.site.store.kept()

    def wait(self) -> None:
        self.site.clock.pass_s(self.data.draw(st.sampled_from([0.1, 1, 5])))

    def compact(self) -> None:
        self.site.broker.compact(TOPICS.internal)

    def hold(self) -> None:
        """A fetch of one input takes its time."""
        self.worker.log.held = {OPERATIONS}

    def release(self) -> None:
        self.worker.log.held = set()


@settings(max_examples=150)
@given(st.lists(st.sampled_from(WORK + ORDERS), min_size=30, max_size=100), st.data())
def test_whatever_happens_each_change_is_published_once_and_the_store_is_what_the_log_says(
    orders: list[str], data: st.DataObject
) -> None:
    chaos = Chaos(data)
    for order in orders:
        name, *arguments = order.split()
        getattr(chaos, name)(*arguments)
    chaos.release()
    chaos.site.settle(chaos.worker)
    chaos.site.assert_consistent([0])
