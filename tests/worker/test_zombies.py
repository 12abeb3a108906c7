"""A worker that stood still while it took over, and goes on when its partition is another's, does no harm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.worker.site import Site, proven
from worker.loop import LOOK_S
from worker.restore import TAIL_MAX_AGE_MS

Meanwhile = Callable[[], object]


def hold(monkeypatch: pytest.MonkeyPatch, place: object, call: str, meanwhile: Meanwhile) -> None:
    """The next call of this method is answered, then whoever called stands still, then goes on with that answer."""
    rightly = getattr(place, call)

    def answer_and_stand_still(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(place, call, rightly)
        answer = rightly(*args, **options)
        meanwhile()
        return answer

    monkeypatch.setattr(place, call, answer_and_stand_still)


def test_a_store_that_has_gone_on_is_not_taken_for_one_of_another_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's position lies behind ends that the zombie was told of long ago: no reason to remove it."""
    site = Site()
    zombie = site.worker(name="zombie")
    owner = site.started()

    def others_go_on() -> None:
        site.send_restore()
        site.settle(owner)

    hold(monkeypatch, zombie.log, "ends", others_go_on)
    zombie.turn()
    site.assert_consistent([0])
    assert zombie.notes.of("restoring") == [(0, None)]


def test_a_store_that_was_lost_twice_is_ready_only_with_all_that_is_there_by_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The zombie saw a lost store and finds a lost store; in between, the partition's next owner has gone on."""
    site = Site()
    zombie = site.worker(name="zombie")
    owner = site.started()

    def others_go_on() -> None:
        site.store.copies.clear()
        site.send_restore()
        site.settle(owner)
        site.store.copies.clear()

    site.store.copies.clear()
    hold(monkeypatch, zombie.log, "ends", others_go_on)
    zombie.turn()
    site.assert_consistent([0])


def test_a_store_is_not_said_to_be_up_to_date_by_who_has_slept_since(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of yesterday was put back, and is where the zombie left it: tombstones behind it may be gone by now."""
    site, worker = proven()
    applied_at = site.store.copies[0].status.applied_at
    site.clock.pass_s(LOOK_S)
    hold(monkeypatch, site.store, "next_due", lambda: site.clock.pass_s(2 * TAIL_MAX_AGE_MS / 1000))
    worker.turn()
    assert site.store.copies[0].status.applied_at == applied_at


def test_who_slept_while_it_read_a_tail_does_not_follow_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The position was young enough when the partition was taken over, and is too old when the log has been read."""
    site, _ = proven()
    kept = site.store.kept()
    site.send_restore(status="superseded")
    site.settle(site.started())
    site.store.copies = kept
    late = site.worker()
    hold(monkeypatch, late.log, "read", lambda: site.clock.pass_s(2 * TAIL_MAX_AGE_MS / 1000))
    site.settle(late)
    site.assert_consistent([0])
    assert [reason is None for _, reason in late.notes.of("restoring")] == [True, False]
