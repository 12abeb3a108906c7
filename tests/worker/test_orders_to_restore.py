"""A full restore is ordered while a worker is at work, in whatever phase it is: it begins anew, once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.worker.site import Running, Site, proven
from worker.ports import Position

ORDERED = "nobody-ordered"


def order(site: Site, partition: int = 0) -> None:
    """As `worker/scripts/rebuild.lua`."""
    copy = site.store.copies[partition]
    position = Position(ORDERED, copy.status.position.state, copy.status.position.internal)
    copy.status = replace(copy.status, position=position, restoring=True, wiped=False, ordered="ann@host")


def reasons(worker: Running) -> list[str | None]:
    return [reason for _, reason in worker.notes.of("restoring")]


def test_an_idle_owner_finds_the_order_by_itself() -> None:
    site, worker = proven()
    order(site)
    site.until(lambda: "ann@host ordered it" in reasons(worker), worker)
    site.settle(worker)
    site.assert_consistent([0])


def test_a_busy_owner_finds_it_with_its_next_batch() -> None:
    site, worker = proven()
    site.store.copies[0].values.clear()
    order(site)
    site.send("operation_run", 2, outcome="failed")
    site.settle(worker)
    assert site.document()["state"] == "failed"
    site.assert_consistent([0])


@pytest.mark.parametrize("times", [1, 2])
def test_an_owner_that_is_restoring_begins_anew(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The order came after it began, so what it has read so far is not what was asked for."""
    site = Site()
    site.send_restore()
    site.settle(site.started())
    site.store.copies.clear()
    wipe, orders = site.store.wipe, iter(range(times))

    def and_then_it_is_ordered(*arguments: Any, **options: Any) -> None:
        wipe(*arguments, **options)
        if next(orders, None) is not None:
            order(site)

    monkeypatch.setattr(site.store, "wipe", and_then_it_is_ordered)
    worker = site.started()
    site.settle(worker)
    assert reasons(worker) == ["the store has no position"] + ["ann@host ordered it"] * times
    site.assert_consistent([0])


def test_other_partitions_lose_nothing() -> None:
    site = Site()
    site.send_restore()
    site.send_restore(partition=1)
    worker = site.started((0, 1))
    site.settle(worker)
    other = site.store.copies[1].status.position.generation
    order(site)
    site.send("operation_run", 2, partition=1, outcome="failed")
    site.settle(worker)
    assert site.store.copies[1].status.position.generation == other
    assert site.document(partition=1)["state"] == "failed"
    site.assert_consistent([0, 1])
