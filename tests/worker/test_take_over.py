"""Partitions come and go: how they are taken over, and what a worker does that has none, or should have none.

Everything that the real servers may do to it is done here on order (tests.worker.fakes); what is left behind is
compared with the pure fold of the input (tests.worker.site).
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.worker.fakes import TOPICS
from tests.worker.site import OPERATIONS, PROVEN, RUNS, SNAPSHOTS, Site, at, proven
from worker.errors import Fenced, OffsetOutOfRange, OffsetWentBack, Unfit, Unstable
from worker.loop import LOOK_AGAIN_S, UNSTABLE_POLL_MS
from worker.partition import Phase
from worker.ports import Committed


def test_a_partition_is_taken_over_in_the_order_that_loses_nothing() -> None:
    """The place in the group, a producer that ends what was open, offsets, what the store is at, then ends.

    Of a store that had to be removed the ends are asked for once more.
    """
    site = Site()
    worker = site.worker()
    worker.turn()
    calls = worker.log.calls
    steps = ["poll", "membership", "pause", "new_producer", "committed", "ends", "log_id", "ends", "resume_at"]
    assert [call for call in calls if call in steps] == steps
    assert site.store.calls[:2] == ["status", "wipe"]


def test_what_was_polled_before_the_take_over_is_polled_again() -> None:
    site = Site()
    site.send_restore()
    worker = site.worker()
    worker.log.paused.clear()
    worker.log.fetch = 1
    site.settle(worker)
    assert site.states() == PROVEN


def test_a_dead_workers_open_transaction_is_ended_first() -> None:
    """Its outputs were never published, and restoring does not wait for them."""
    site = Site()
    site.send_restore()
    dead = site.started()
    batch = dead.worker._batcher.prepare(dead.worker.partitions[0], dead.log.poll(0), site.clock.now_ms())
    dead.log.begin(batch.outputs)
    heir = site.started()
    site.settle(heir)
    assert site.states() == PROVEN
    site.assert_consistent([0])


def test_an_open_transaction_of_another_name_is_waited_for() -> None:
    """The store is not taken for complete before the end that was seen uncommitted is reached."""
    site, worker = proven()
    dead = site.started(name="other")
    site.send(sequence=2)
    batch = dead.worker._batcher.prepare(dead.worker.partitions[0], dead.log.poll(0), site.clock.now_ms())
    transaction, _ = dead.log.begin(batch.outputs)
    worker.log.rebalance([0])
    worker.turn(3)
    assert worker.phases == {0: Phase.RESTORING}
    site.broker.end(transaction, "committed")
    site.broker.committed[RUNS, 0] = Committed(2, site.clock.now_ms())
    site.until(lambda: worker.runs, worker)
    site.settle(worker)
    assert site.document()["revision"] == 4
    site.assert_consistent([0])


def test_while_one_partition_restores_the_others_go_on() -> None:
    site, _ = proven()
    site.broker.append(_open_output(site), transaction="stuck")
    worker = site.worker((0, 1))
    worker.turn(2)
    site.send_restore(partition=1)
    site.until(lambda: site.states(partition=1) == PROVEN, worker)
    assert worker.phases == {0: Phase.RESTORING, 1: Phase.RUNNING}


def _open_output(site: Site) -> Any:
    return site.broker.records(TOPICS.decision_state)[0]


def test_every_rebalance_takes_over_anew() -> None:
    site, worker = proven()
    worker.log.rebalance([0, 1])
    site.send(sequence=2)
    site.send_restore(partition=1)
    site.settle(worker)
    assert worker.notes.of("taken_over") == [([0],), ([0, 1],)]
    site.assert_consistent([0, 1])


def test_a_partition_that_was_quiet_for_long_is_not_restored_in_full() -> None:
    """The last transaction's marker lies behind the position, so that it looks as if something were missing."""
    site, worker = proven()
    for _ in range(13):
        site.clock.pass_s(3600)
        worker.turn()
    worker.log.rebalance([0])
    worker.turn()
    assert worker.notes.of("restoring")[-1] == (0, None)
    site.assert_consistent([0])


def test_a_store_that_nobody_looked_after_for_long_is_restored_in_full() -> None:
    site, _ = proven()
    site.clock.pass_s(13 * 3600)
    heir = site.started(name="heir")
    assert heir.notes.of("restoring")[-1][1] is not None
    site.assert_consistent([0])


def test_a_worker_without_partitions_waits_for_some() -> None:
    site, worker = proven()
    worker.log.rebalance([])
    worker.turn(3)
    assert worker.phases == {}
    worker.log.rebalance([0])
    site.send(sequence=2)
    site.settle(worker)
    site.assert_consistent([0])


def test_stream_time_is_taken_over_as_well() -> None:
    """A snapshot that comes in expired is expired at once, also for a worker that has seen no record before it."""
    site = Site()
    site.send_restore()
    site.settle(site.started())
    heir = site.started(name="other")
    reached = site.broker.records(SNAPSHOTS)[-1].timestamp
    site.send("evidence_snapshot", 2, ago_ms=10_000, expires_at=at(reached))
    site.settle(heir)
    assert site.changes()[-1]["to_state"] == "completed_proof_incomplete"
    assert site.changes()[-1]["origin"] == "live"
    site.assert_consistent([0])


# The group


def test_a_worker_outside_the_group_does_nothing_but_long_polls() -> None:
    site, worker = proven()
    worker.log.evict()
    site.send(sequence=2)
    worker.log.polled_ms.clear()
    worker.turn(5)
    assert worker.log.polled_ms[1:] == [UNSTABLE_POLL_MS] * 4
    assert worker.phases == {}
    assert site.broker.committed[RUNS, 0].offset == 1


def test_a_group_that_does_not_become_stable_ends_the_process() -> None:
    site, worker = proven()
    worker.log.evict()
    with pytest.raises(Unstable, match="not stable for 90 s"):
        site.until(lambda: False, worker)
    assert site.clock.monotonic() > 90


def test_time_outside_the_group_is_counted_anew_each_time() -> None:
    site, worker = proven()
    for _ in range(4):
        worker.log.evict()
        worker.turn(100)
        worker.log.rebalance([0])
        site.settle(worker)
    assert worker.runs


def test_a_zombie_publishes_nothing_and_stores_nothing() -> None:
    """It polled before the others took over; its transaction carries the old generation, and is refused."""
    site, zombie = proven()
    site.send(sequence=2)
    heir = site.worker(name="heir")
    member = zombie.log.membership()
    zombie.turn()
    assert zombie.notes.of("recovering")[-1][1] == "the member's generation"
    assert member is not None
    site.settle(heir)
    assert site.document()["revision"] == 4
    site.assert_consistent([0])


def test_a_worker_of_the_same_name_fences_the_older_one() -> None:
    site, older = proven()
    younger = site.worker()
    younger.log.new_producer()
    site.send(sequence=2)
    older.turn()
    assert older.notes.of("recovering")[-1][1] == "the producer's epoch"
    site.settle(younger)
    site.assert_consistent([0])


@pytest.mark.parametrize("error", [Fenced("another has our name"), Unfit("eviction"), Unstable("no group")])
def test_what_ends_the_process_is_not_recovered_from(error: Exception) -> None:
    site, worker = proven()
    worker.log.fail("poll", error)
    with pytest.raises(type(error)):
        worker.turn()
    assert site.broker.committed[RUNS, 0].offset == 1


# Input that is not there


def test_an_offset_outside_the_log_stops_that_partition_alone() -> None:
    """Records were deleted unread: going on would jump silently."""
    site = Site()
    site.broker.committed[RUNS, 1] = Committed(7, 0)
    worker = site.worker((0, 1))
    site.send_restore()
    site.until(lambda: site.states() == PROVEN, worker)
    assert worker.phases == {0: Phase.RUNNING, 1: Phase.STOPPED}
    assert worker.notes.of("stopped") == [("offset_out_of_range", 1)]
    assert (RUNS, 1) in worker.log.paused


def test_what_was_deleted_unread_is_outside_the_log_too() -> None:
    site, worker = proven()
    site.broker.low[OPERATIONS, 0] = 5
    worker.log.rebalance([0])
    worker.turn()
    assert worker.phases == {0: Phase.STOPPED}
    assert worker.notes.of("stopped") == [("offset_out_of_range", 0)]


def test_a_stopped_partitions_store_is_left_alone() -> None:
    """What was published stays readable; nobody would finish a restore."""
    site, worker = proven()
    site.broker.low[RUNS, 0] = 5
    site.broker.log_id = "life-2"
    worker.log.rebalance([0])
    worker.turn(3)
    assert worker.phases == {0: Phase.STOPPED}
    assert site.store.copies[0].values
    assert not site.store.copies[0].status.restoring


# Offsets that Kafka tells, and that are not what was committed


def gone_back(site: Site, told: Committed | None) -> Committed:
    """Its coordinator has loaded in part what was committed; returns what that was."""
    right = site.broker.committed[RUNS, 0]
    del site.broker.committed[RUNS, 0]
    if told is not None:
        site.broker.committed[RUNS, 0] = told
    return right


@pytest.mark.parametrize(("told", "words"), [(Committed(0, 1), "0 as the"), (None, "no committed offset")])
def test_an_offset_that_went_back_stops_the_partition_until_kafka_tells_the_right_one(
    told: Committed | None, words: str
) -> None:
    """What cannot be read would be set aside and marked a second time."""
    site, worker = proven()
    site.send(sequence=2, status="nonsense")
    site.settle(worker)
    letters = len(site.broker.records(TOPICS.dead_letters))
    right = gone_back(site, told)
    worker.log.rebalance([0])
    worker.turn(3)
    assert worker.phases == {0: Phase.STOPPED}
    assert worker.notes.of("stopped") == [("offset_went_back", 0)]
    assert words in str(OffsetWentBack(RUNS, 0, None if told is None else told.offset, right.offset))

    site.broker.committed[RUNS, 0] = right
    site.clock.pass_s(LOOK_AGAIN_S)
    site.settle(worker)
    assert worker.phases == {0: Phase.RUNNING}
    assert len(site.broker.records(TOPICS.dead_letters)) == letters
    site.assert_consistent([0])


def test_an_offset_that_somebody_has_reset_is_believed() -> None:
    site, worker = proven()
    gone_back(site, Committed(0, 0, by="other"))
    worker.log.rebalance([0])
    site.settle(worker)
    assert worker.phases == {0: Phase.RUNNING}
    site.assert_consistent([0])


def test_after_a_reset_what_was_committed_before_is_no_witness_any_more() -> None:
    """Its worker died between the commit and the store: the next one must not doubt the first one's commit."""
    site, worker = proven()
    gone_back(site, Committed(0, 0, by="other"))
    worker.log.rebalance([0])
    worker.turn()
    status = site.store.status(0)
    assert status is not None
    assert status.offsets[RUNS] == 0


def test_what_the_store_of_another_log_has_seen_is_no_witness() -> None:
    """All topics were made anew, and Redis was left as it was."""
    site, worker = proven()
    gone_back(site, None)
    site.broker.log_id = "life-2"
    worker.log.rebalance([0])
    worker.turn(3)
    assert worker.notes.of("stopped") == []


def test_a_partition_without_committed_offsets_begins_at_the_beginning_of_the_log() -> None:
    site = Site()
    site.send()
    site.send(sequence=2, status="failed")
    site.broker.low[RUNS, 0] = 1
    worker = site.started()
    site.settle(worker)
    assert site.states() == ["failed"]


def test_the_error_says_what_is_to_be_done() -> None:
    assert "Reset the group's offset" in str(OffsetOutOfRange(RUNS, 1, 7, 0, 0))
