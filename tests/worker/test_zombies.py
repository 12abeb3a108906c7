"""A worker that stood still while it took over, and goes on when its partition is another's, does no harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.worker.site import Running, Site
from worker.ports import Ends


def held_at_the_ends(monkeypatch: pytest.MonkeyPatch, zombie: Running, others: Running, site: Site) -> None:
    """The zombie has been told where the logs end; before it goes on, a restore is decided by others and stored."""
    ends = zombie.log.ends

    def then_stand_still(partitions: Sequence[int]) -> Mapping[int, Ends]:
        found = ends(partitions)
        site.send_restore()
        site.settle(others)
        return found

    monkeypatch.setattr(zombie.log, "ends", then_stand_still)


def test_a_store_that_has_gone_on_is_not_taken_for_one_of_another_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's position lies behind ends that the zombie was told of long ago: no reason to remove it."""
    site = Site()
    zombie = site.worker(name="zombie")
    owner = site.started()
    held_at_the_ends(monkeypatch, zombie, owner, site)
    zombie.turn()
    site.assert_consistent([0])
    assert zombie.notes.of("restoring") == [(0, None)]
