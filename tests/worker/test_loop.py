"""The loop over a log, a store and a clock in memory: what comes of the input, in which order, and when.

Everything that the real servers may do to it is done here on order (tests.worker.fakes); what is left behind is
compared with the pure fold of the input (tests.worker.site).
"""

from __future__ import annotations

from typing import Any, Final, Literal

import pytest

from contracts.facts import ENTITIES, Entity
from projections.rules import POLICY
from tests.contracts.records import PARTITIONS
from tests.worker.fakes import TOPICS
from tests.worker.site import OPERATIONS, PROVEN, RUNS, SNAPSHOTS, Site, at, proven
from worker.loop import PAUSE_BYTES, POLL_TIMEOUT_MS, Limits
from worker.ports import Committed, Policies


def test_events_become_documents_changes_and_records_of_the_store() -> None:
    site, _ = proven()
    assert site.states() == PROVEN
    assert site.document()["revision"] == 3
    site.assert_consistent([0])


def test_what_comes_live_and_what_was_there_already_give_the_same() -> None:
    """A worker that was away publishes the same transitions as one that was not."""
    live, away = Site(), Site()
    worker = live.started()
    for sequence in range(1, 4):
        for entity in ENTITIES:
            away.broker.append(live.send(entity, sequence, expires_at=at(live.clock.now_ms() + 3000)))
            live.settle(worker)
            live.clock.pass_s(1)
    live.clock.pass_s(10)
    live.settle(worker)
    away.clock.pass_s(3600)
    away.settle(away.started())
    assert away.changes() == live.changes()
    assert away.document() == live.document()
    assert {change["origin"] for change in live.changes()} == {"live", "deadline"}


def test_partitions_are_decided_in_one_transaction_and_stay_apart() -> None:
    site = Site()
    for partition in range(PARTITIONS):
        site.send_restore(partition=partition)
    worker = site.started(range(PARTITIONS))
    site.settle(worker)
    assert worker.log.transactions == 1
    assert [len(batch.taken) for batch in worker.notes.batches] == [3] * PARTITIONS
    site.assert_consistent()


OURS: Final = Policies(POLICY, POLICY)


def test_a_transaction_moves_the_offsets_of_every_input_with_stream_time_and_policies() -> None:
    site, _ = proven()
    last = site.broker.records(SNAPSHOTS)[-1].timestamp
    assert site.broker.committed == {
        (RUNS, 0): Committed(1, last, OURS),
        (OPERATIONS, 0): Committed(1, last, OURS),
        (SNAPSHOTS, 0): Committed(1, last, OURS),
        (TOPICS.ops, 0): Committed(0, last, OURS),
    }


def test_stale_events_are_committed_although_nothing_is_published() -> None:
    site, worker = proven()
    published = len(site.broker.logs[TOPICS.decision_state, 0])
    site.send()
    site.settle(worker)
    assert site.broker.committed[RUNS, 0].offset == 2
    assert len(site.broker.logs[TOPICS.decision_state, 0]) == published


def test_a_turn_takes_no_more_than_its_share() -> None:
    site = Site()
    for sequence in range(1, 8):
        site.send(sequence=sequence)
        site.send(sequence=sequence, partition=1)
    worker = site.started((0, 1), limits=Limits(batch_records=4))
    site.settle(worker)
    assert worker.notes.of("published") == [([2, 2],), ([2, 2],), ([2, 2],), ([1, 1],)]
    site.assert_consistent([0, 1])


def test_while_there_is_something_to_do_nobody_waits() -> None:
    site = Site()
    for sequence in range(1, 8):
        site.send(sequence=sequence)
    worker = site.started(limits=Limits(batch_records=2))
    worker.log.polled_ms.clear()
    site.settle(worker)
    assert worker.log.polled_ms[1:] == [0, 0, 0]
    worker.turn()
    assert worker.log.polled_ms[-1] == POLL_TIMEOUT_MS


def test_a_transactional_producers_marker_is_passed() -> None:
    """An empty buffer's offset is behind the marker, or the input would look as if it held more."""
    site = Site()
    transaction = object()
    site.send(transaction=transaction)
    site.broker.end(transaction, "committed")
    worker = site.started()
    site.settle(worker)
    assert site.broker.committed[RUNS, 0].offset == 2
    site.assert_consistent([0])


def test_what_a_producer_aborted_was_never_said() -> None:
    site = Site()
    transaction = object()
    site.send(transaction=transaction)
    site.broker.end(transaction, "aborted")
    site.send(sequence=2)
    worker = site.started()
    site.settle(worker)
    assert site.document()["diagnostics"]["inputs"]["restore_run"]["sequence"] == 2
    site.assert_consistent([0])


# Merging


def test_an_input_that_holds_more_is_waited_for() -> None:
    """Its next record may be the earliest; it is, and so the run is not decided without it."""
    site = Site()
    worker = site.started()
    worker.log.held = {OPERATIONS}
    site.send("operation_run", outcome="failed")
    site.clock.pass_s(0.2)
    site.send()
    worker.turn(5)
    assert site.states() == []
    assert worker.notes.of("waiting_for_input") == [()]
    worker.log.held = set()
    site.settle(worker)
    assert site.states() == ["failed"]


def test_what_does_not_come_is_not_waited_for_for_ever() -> None:
    site = Site()
    worker = site.started(limits=Limits(merge_wait_s=30))
    worker.log.held = {OPERATIONS}
    site.send("operation_run")
    site.clock.pass_s(0.2)
    site.send()
    began = site.clock.monotonic()
    site.until(site.states, worker)
    assert 30 <= site.clock.monotonic() - began < 32
    assert worker.notes.of("waited_in_vain") == [(0, [OPERATIONS])]
    worker.log.held = set()
    site.settle(worker)
    assert site.document()["revision"] == 2


def test_a_partition_that_waits_does_not_hold_up_the_others() -> None:
    site = Site()
    worker = site.started((0, 1))
    worker.log.held = {OPERATIONS}
    site.send("operation_run", partition=1)
    site.send(partition=1)
    site.send_restore(partition=0)
    worker.log.held = set()
    site.settle(worker)
    worker.log.held = {OPERATIONS}
    site.send("operation_run", 2, partition=1)
    site.clock.pass_s(0.2)
    site.send(sequence=2, partition=1)
    site.send(sequence=2, partition=0)
    site.until(lambda: site.document()["revision"] == 4, worker)
    assert site.document(partition=1)["revision"] == 2


@pytest.mark.parametrize(("end", "states"), [("committed", ["failed"]), ("aborted", ["completed_proof_incomplete"])])
def test_what_an_open_transaction_holds_back_is_waited_for(
    end: Literal["committed", "aborted"], states: list[str]
) -> None:
    """It was appended earlier, so it is decided earlier, if it is committed."""
    site = Site()
    worker = site.started()
    site.send("operation_run", transaction="open", outcome="failed")
    site.clock.pass_s(0.2)
    site.send()
    worker.turn(5)
    assert site.states() == []
    site.broker.end("open", end)
    site.settle(worker)
    assert site.states() == states


def test_a_transaction_that_stays_open_is_waited_for_once() -> None:
    """Each batch would otherwise wait as long again."""
    site = Site()
    worker = site.started(limits=Limits(merge_wait_s=30))
    site.send("operation_run", transaction="open", outcome="failed")
    site.send()
    site.until(site.states, worker)
    assert worker.notes.of("waited_in_vain") == [(0, [OPERATIONS])]
    began = site.clock.monotonic()
    site.send(sequence=2)
    site.until(lambda: site.document()["revision"] == 2, worker)
    assert site.clock.monotonic() - began < 2

    site.broker.end("open", "committed")
    site.settle(worker)
    assert site.states()[-1] == "failed"
    site.send("operation_run", 2, transaction="another", outcome="succeeded")
    site.clock.pass_s(0.2)
    site.send(sequence=3)
    worker.turn(5)
    assert site.document()["revision"] == 3, "the next one is waited for again"


def test_records_polled_one_by_one_are_merged_as_if_they_came_together() -> None:
    site = Site()
    for sequence in range(1, 6):
        for entity in reversed(ENTITIES):
            site.send(entity, sequence)
            site.clock.pass_s(0.1)
    worker = site.worker()
    worker.log.fetch = 1
    site.settle(worker)
    site.assert_consistent([0])


# Memory


def big(site: Site, sequence: int, entity: Entity = "restore_run", **fields: Any) -> None:
    """An event of a fifth of what an input may hold in memory; nobody reads the padding."""
    site.send(entity, sequence, padding="x" * (PAUSE_BYTES // 5), **fields)


def test_an_input_that_is_full_is_not_fetched_until_some_of_it_is_merged() -> None:
    site = Site()
    worker = site.started()
    worker.log.fetch = 3
    worker.log.held = {OPERATIONS}
    site.send("operation_run")
    for sequence in range(1, 30):
        big(site, sequence)
    worker.turn(10)
    assert len(worker.worker.partitions[0].merge) == 6
    assert (RUNS, 0) in worker.log.paused
    worker.log.held = set()
    site.settle(worker)
    assert worker.log.paused == set()
    site.assert_consistent([0])


def test_what_was_paused_is_fetched_again_by_the_next_poll() -> None:
    """Nobody waits for half a second in between: a busy input is full all the time."""
    site = Site()
    worker = site.started()
    worker.log.fetch = 6
    for sequence in range(1, 37):
        big(site, sequence)
    began = site.clock.monotonic()
    site.settle(worker)
    assert site.clock.monotonic() == began
    site.assert_consistent([0])


# Deadlines


def test_evidence_expires_in_an_idle_partition_a_second_after_its_time() -> None:
    site = Site()
    worker = site.started()
    site.send_expiring(2)
    site.settle(worker)
    began = site.clock.now_ms()
    site.until(lambda: len(site.states()) == 3, worker)
    change = site.changes()[-1]
    assert (change["origin"], change["to_state"]) == ("deadline", "completed_proof_incomplete")
    assert site.clock.now_ms() - began < 2000 + 1000 + POLL_TIMEOUT_MS
    site.settle(worker)
    site.assert_consistent([0])


def test_an_idle_worker_waits_no_longer_than_until_the_next_deadline() -> None:
    site = Site()
    worker = site.started()
    site.send_expiring(0.5)
    site.settle(worker)
    worker.log.polled_ms.clear()
    worker.turn(2)
    assert all(timeout <= POLL_TIMEOUT_MS for timeout in worker.log.polled_ms)


def test_a_deadline_that_only_an_idle_partition_meets_is_a_transaction_with_offsets() -> None:
    site = Site()
    worker = site.started()
    site.send_expiring(2)
    site.settle(worker)
    before = site.broker.committed[RUNS, 0]
    site.until(lambda: len(site.states()) == 3, worker)
    after = site.broker.committed[RUNS, 0]
    assert after.offset == before.offset
    assert after.stream_time > before.stream_time


def test_an_open_transaction_keeps_a_partition_from_being_idle() -> None:
    """Its records may be older than the deadline, and would have to go first."""
    site = Site()
    worker = site.started()
    site.send_expiring(2)
    site.settle(worker)
    site.send("evidence_snapshot", 2, expires_at=None, transaction="open")
    site.clock.pass_s(20)
    worker.turn(5)
    assert site.states() == PROVEN
    site.broker.end("open", "committed")
    site.settle(worker)
    assert site.states() == PROVEN
    site.assert_consistent([0])


def test_busy_partitions_do_not_keep_others_from_their_deadlines() -> None:
    site = Site()
    worker = site.started((0, 1))
    site.send_expiring(2)
    site.settle(worker)
    for sequence in range(1, 20):
        site.send(sequence=sequence, partition=1)
        site.clock.pass_s(0.5)
        worker.turn()
    assert len(site.states()) == 3


def test_a_deadline_falls_between_the_records_where_it_would_have() -> None:
    """However late they are read: the worker was away."""
    site = Site()
    site.send_expiring(5)
    site.clock.pass_s(10)
    site.send(sequence=2, status="failed")
    site.clock.pass_s(3600)
    worker = site.started()
    site.settle(worker)
    assert site.states() == [*PROVEN, "completed_proof_incomplete", "failed"]
    assert site.changes()[2]["origin"] == "deadline"


def test_a_deadline_that_is_gone_is_looked_for_once() -> None:
    site = Site()
    worker = site.started()
    site.send_expiring(5)
    site.settle(worker)
    site.send("evidence_snapshot", 2, expires_at=None)
    site.settle(worker)
    site.clock.pass_s(10)
    worker.turn(2)
    assert worker.worker.partitions[0].next_due is None
    looked = site.store.calls.count("next_due")
    worker.turn(5)
    assert site.store.calls.count("next_due") == looked
    assert site.states() == PROVEN


def test_deadlines_are_known_after_a_take_over() -> None:
    site = Site()
    site.send_expiring(5)
    site.settle(site.started())
    heir = site.started(name="heir")
    site.clock.pass_s(10)
    site.settle(heir)
    assert len(site.states()) == 3
