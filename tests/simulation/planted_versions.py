"""Bugs planted in what happens when rules change; see `tests.simulation.planted`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import pytest

import worker.loop
import worker.recompute
from projections import advance, rules
from projections.effects import Effects
from projections.record import Key
from projections.workspace import Workspace
from tests.simulation.log import Metadata, SimulatedLog
from tests.simulation.planted import Bug
from tests.simulation.versions import VersionedWorld
from worker.batch import Batcher
from worker.ports import Committed, Policies, TopicPartition
from worker.recompute import Recompute


def _goes_on_where_a_newer_one_has_decided(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(worker.loop, "refuse_newer", lambda *_: None)


def _calls_live_what_the_rules_have_changed(patch: pytest.MonkeyPatch) -> None:
    """Only those runs are decided again whose turn it is, and not those that a live event comes to before."""
    rightly = Batcher._decide_again

    def decide_again(workspace: Workspace, effects: Effects, runs: Iterable[Key]) -> None:
        if isinstance(runs, Sequence):
            rightly(workspace, effects, runs)

    patch.setattr(Batcher, "_decide_again", staticmethod(decide_again))


def _is_done_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recompute, "is_read", property(lambda _: True))


def _has_come_as_far_as_it_has_read(patch: pytest.MonkeyPatch) -> None:
    """Whoever takes over then passes over what was read and not published."""
    patch.setattr(Recompute, "reached", property(lambda work: min(work.at.state, work.end)))


def _publishes_what_differs_in_policy_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(worker.recompute, "is_decided_otherwise", lambda document: document["policy"] != rules.POLICY)
    patch.setattr(advance, "_but_policy", lambda document: document)


class _ForgetsPolicies(SimulatedLog):
    def send_offsets(self, offsets: Mapping[TopicPartition, Committed], token: Metadata) -> None:
        super().send_offsets({place: replace(c, policies=Policies()) for place, c in offsets.items()}, token)


def _touches_nothing(patch: pytest.MonkeyPatch) -> None:
    """A newer version leaves no trace, but where it is done."""
    patch.setattr(worker.loop, "touched", lambda policies: policies)


BUGS: Final[tuple[Bug, ...]] = (
    Bug("older version goes on", 53, _goes_on_where_a_newer_one_has_decided, world=VersionedWorld),
    Bug("new rules called live", 13, _calls_live_what_the_rules_have_changed, world=VersionedWorld),
    Bug("recompute done at once", 8, _is_done_at_once, world=VersionedWorld),
    Bug("recompute as far as it has read", 16, _has_come_as_far_as_it_has_read, world=VersionedWorld),
    Bug("what differs in policy alone published", 0, _publishes_what_differs_in_policy_alone, world=VersionedWorld),
    Bug("policies not committed", 0, log=_ForgetsPolicies, world=VersionedWorld),
    Bug("newer version leaves no trace", 0, _touches_nothing, world=VersionedWorld),
)
