"""One key of Redis is lost by hand: as soon as it is asked for, it is missed, and the partition is restored in full.

Which records there are is written down beside them (`worker/scripts/apply.lua`). What nobody asks for is missed by
nobody; a full restore brings it back.
"""

from __future__ import annotations

from projections.record import Key
from tests.worker.site import TENANTS, Running, Site, proven

RUN = Key("run", TENANTS[0], "rr-1")
OPERATION = Key("operation", TENANTS[0], "op-1")


def lost(key: Key) -> tuple[Site, Running]:
    """A restore is decided and stored, and then this record is lost."""
    site, worker = proven()
    del site.store.copies[0].values[key]
    return site, worker


def test_a_lost_document_is_found_out_by_its_operation() -> None:
    site, worker = lost(RUN)
    site.send("operation_run", 2, outcome="failed")
    site.settle(worker)
    site.assert_consistent([0])


def test_a_lost_operation_is_found_out_by_its_runs() -> None:
    site, worker = lost(OPERATION)
    site.send("restore_run", 2, status="partial")
    site.settle(worker)
    site.assert_consistent([0])


def test_a_lost_operation_is_found_out_by_its_own_next_event() -> None:
    """Taken for one that nobody names, its runs would stay as they are, and its record in Kafka would forget them."""
    site, worker = lost(OPERATION)
    site.send("operation_run", 2, outcome="failed")
    site.settle(worker)
    site.assert_consistent([0])


def test_a_partition_is_not_stopped_by_a_lost_operation() -> None:
    """Forgotten in Kafka, a restore would bring it back as it was, and the next event would find it out again."""
    site, worker = lost(OPERATION)
    site.send("operation_run", 2, outcome="failed")
    site.settle(worker)
    site.send("restore_run", 2, status="partial")
    site.settle(worker)


def test_a_run_without_operation_whose_document_is_lost_goes_on_counting() -> None:
    """It would begin at revision 1 again, with a change id that was there before."""
    site = Site()
    site.send("restore_run", 1, operation_run_id=None)
    worker = site.started()
    site.settle(worker)
    del site.store.copies[0].values[RUN]
    site.send("restore_run", 2, operation_run_id=None, status="failed")
    site.settle(worker)
    site.assert_consistent([0])


def test_without_the_list_of_what_is_there_the_work_goes_on() -> None:
    site, worker = proven()
    site.store.copies[0].records.clear()
    site.send("operation_run", 2, outcome="failed")
    site.send("restore_run", 1, id="rr-2")
    site.settle(worker)
    site.assert_consistent([0])


def test_evidence_expires_though_the_index_of_deadlines_was_lost() -> None:
    """With nothing that falls due, a document would go on claiming evidence that is no more."""
    site = Site()
    site.send_expiring(30)
    worker = site.started()
    site.settle(worker)
    site.store.copies[0].dues.clear()
    site.clock.pass_s(60)
    site.until(lambda: worker.notes.of("recovering"), worker)
    site.settle(worker)
    assert site.states()[-1] == "completed_proof_incomplete"
    site.assert_consistent([0])
