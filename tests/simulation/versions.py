"""Histories in which newer versions of the rules are rolled out, process by process, while everything else goes on.

A process decides by the version that it was started with; whoever has a turn within another one's call decides by its
own. During the storm processes are ended one after the other and start again with a newer version; some are held back,
and some histories have a third version. When all is healed the last are replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

from contracts.events import Record
from tests.consistency.observation import Place
from tests.consistency.versions import violations_of_versions
from tests.simulation.inputs import PARTITIONS, TOPICS
from tests.simulation.invariants import _fold, _observation, _order, _refused
from tests.simulation.world import Process, Recipe, World
from tests.versions import decided_by
from worker.errors import DecidedByNewer, PartitionStopped
from worker.ports import Policies

GAP_MS: Final = (500, 3_000, 8_000)
"""Between two processes of a rolling update."""


class VersionedProcess(Process):
    """`version`: that it decides by now; `next_version`: that it is started with."""

    world: VersionedWorld
    version = 1
    next_version = 1

    def start(self) -> None:
        self.version = self.next_version
        self.world.note(self.name, f"starts with version {self.version}")
        with decided_by(self.version):
            super().start()

    def turn(self) -> None:
        with decided_by(self.version):
            super().turn()


class VersionedWorld(World):
    """A world of such processes."""

    make_process = VersionedProcess

    def __init__(self, recipe: Recipe, *makes: Any) -> None:
        super().__init__(recipe, *makes)
        choose = self.choose
        self.newest = choose.choice((2, 2, 3))
        self.slice_runs = choose.choice((1, 3, 500))
        self.tell_s = choose.choice((0.0, 1.0))
        self.later(choose.randint(500, 8_000), lambda: self._roll_out(2))
        if self.newest == 3:
            self.later(choose.randint(4_000, 16_000), lambda: self._roll_out(3))

    def _roll_out(self, version: int) -> None:
        """One process after the other, or only some of them."""
        self.note("world", f"rolls out version {version}")
        delay = 0
        for process in self.versioned():
            if self.choose.random() < 0.8:
                self.later(delay, lambda process=process: self._replace(process, version))  # type: ignore[misc]
            delay += self.choose.choice(GAP_MS)

    def _replace(self, process: VersionedProcess, version: int) -> None:
        """A process that somebody else replaced under its instance id stays as it is."""
        if process.next_version < version:
            process.next_version = version
            process.stopping = True

    def versioned(self) -> Iterator[VersionedProcess]:
        for process in self.processes:
            assert isinstance(process, VersionedProcess)
            yield process

    def on_stopped(self, process: Process, error: PartitionStopped) -> bool:
        """An older version refuses what a newer one has touched, and nothing else."""
        if not isinstance(error, DecidedByNewer):
            return super().on_stopped(process, error)
        assert isinstance(process, VersionedProcess)
        self.counters.met("situation", "an older version refused a partition")
        return error.ours == process.version < error.found

    def _heal(self) -> None:
        super()._heal()
        for process in self.versioned():
            self._replace(process, self.newest)

    def restless(self) -> str:
        owned = {p.number for process in self.processes if process.alive for p in process.worker.partitions}
        if owned != set(range(PARTITIONS)):
            return "somebody has still to take a partition over, and to decide it again"
        for process in self.processes:
            if process.alive and any(p.recompute is not None for p in process.worker.partitions):
                return f"{process.name} decides again"
        return super().restless()

    @contextmanager
    def _deterministic(self) -> Iterator[None]:
        with (
            super()._deterministic(),
            patch("worker.loop.SLICE_RUNS", self.slice_runs),
            patch("worker.loop.TELL_S", self.tell_s),
        ):
            yield

    def violations_at_rest(self) -> Iterator[str]:
        """Judged by what each version alone would have made of the input."""
        log = {place: partition.everything() for place, partition in self.broker.logs.items()}
        refused = set(_refused(log))
        orders = {number: _order(self, log, number) for number in range(PARTITIONS)}
        folded = {}
        for version in range(1, self.newest + 1):
            with decided_by(version):
                folded[version] = {n: _fold(self, order, refused) for n, order in orders.items()}
        with decided_by(self.newest):
            yield from violations_of_versions(_observation(self, log), folded)
        yield from self._not_said_to_be_complete(log)

    def _not_said_to_be_complete(self, log: dict[Place, list[Record]]) -> Iterator[str]:
        """Kafka must know with which version everything was decided, or who comes next would have to do it again."""
        for (topic, number), committed in self.broker.committed.items():
            complete = Policies(self.newest, self.newest)
            if log[TOPICS.decision_state, number] and committed.policies != complete:
                yield f"{topic} {number}: expected {complete}, found {committed.policies}"
