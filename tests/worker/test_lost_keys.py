"""One key of Redis is lost by hand: what is found out, and what is not yet.

A lost record is found out when a record that links to it is read, and the partition is then restored in full. Where
the lost record itself is what an event asks for, nothing that is read says that it was ever there. These gaps are
known; the simulation shows them with `--faults "key lost"`.
"""

from __future__ import annotations

import pytest

from projections.record import Key
from tests.worker.site import TENANTS, Running, Site, proven

RUN = Key("run", TENANTS[0], "rr-1")
OPERATION = Key("operation", TENANTS[0], "op-1")
KNOWN = "nothing that is read tells a record that was lost from one that never was"


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


@pytest.mark.xfail(strict=True, reason=KNOWN)
def test_a_lost_operation_is_found_out_by_its_own_next_event() -> None:
    """It is taken for one that nobody names: its runs are not decided again, and its record in Kafka forgets them."""
    site, worker = lost(OPERATION)
    site.send("operation_run", 2, outcome="failed")
    site.settle(worker)
    site.assert_consistent([0])


@pytest.mark.xfail(strict=True, reason=KNOWN)
def test_a_partition_is_not_stopped_by_a_lost_operation() -> None:
    """What was forgotten is forgotten in Kafka: a restore brings it back, and the next event finds it out again."""
    site, worker = lost(OPERATION)
    site.send("operation_run", 2, outcome="failed")
    site.settle(worker)
    site.send("restore_run", 2, status="partial")
    site.settle(worker)


@pytest.mark.xfail(strict=True, reason=KNOWN)
def test_a_run_without_operation_whose_document_is_lost_goes_on_counting() -> None:
    """It begins at revision 1 again, with a change id that was there before."""
    site = Site()
    site.send("restore_run", 1, operation_run_id=None)
    worker = site.started()
    site.settle(worker)
    del site.store.copies[0].values[RUN]
    site.send("restore_run", 2, operation_run_id=None, status="failed")
    site.settle(worker)
    site.assert_consistent([0])
