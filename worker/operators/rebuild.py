"""Have a partition's part of the store restored from Kafka, and see how far that has come.

Nothing is restored here. The position is given a generation that nobody holds (`worker/scripts/rebuild.lua`): the
owner, refused, takes the partition over as after any other error, finds the order, and restores in full. So it is right
whatever is going on meanwhile: an owner that is restoring begins anew, one that was about to remove what it found is
refused and finds the order, and of two orders that meet before anybody has begun, one stands.

    ordered    the position names a generation that nobody holds; readers are told "restoring" from now on
    removing   the owner removes what was there
    reading    it reads the two topics
    ready      the store has what they had
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from worker.nodes import Nodes
from worker.operators.redo_log import RedoLog
from worker.ports import Ends
from worker.reading import StoreReader
from worker.redis import RedisStore

FIELDS: Final = ("generation", "state", "internal", "status", "ordered")
Stage = Literal["ordered", "removing", "reading", "ready", "nothing"]
LOOK_AGAIN_S: Final = 0.1
ASK_OWNERS_S: Final = 3.0
"""Between questions who owns a partition: a rebalance takes seconds."""
NAMED: Final = 10
WIPING: Final = "-wiping"
"""Behind a new generation's name while what was there is removed (`worker/scripts/wipe.lua`)."""
ORDERED: Final = "-ordered"
"""Behind the name of a generation that nobody holds."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a partition's position says: whether it is ready, of which generation, and next offsets; None: nothing."""

    generation: str | None = None
    state: int | None = None
    internal: int | None = None
    ready: bool = False
    ordered: bool = False

    @property
    def stage(self) -> Stage:
        """How far a restore has come."""
        if self.generation is None:
            return "nothing"
        if self.ordered:
            return "ordered"
        if self.generation.endswith(WIPING):
            return "removing"
        return "ready" if self.ready else "reading"


def read_standings(nodes: Nodes, namespace: str, numbers: Iterable[int]) -> dict[int, Standing]:
    """What the positions of these partitions say. May raise `redis.exceptions.RedisError`."""
    found: dict[int, Standing] = {}
    for client, group in nodes.grouped(numbers):
        with client.pipeline(transaction=False) as step:
            for number in group:
                step.hmget(f"{namespace}:{{{number}}}:position", *FIELDS)
            rows = step.execute(raise_on_error=False)
        found |= {number: _standing(row) for number, row in zip(group, rows, strict=True)}
    return {number: found[number] for number in sorted(found)}


def _standing(row: object) -> Standing:
    """Of a record that cannot be read: nothing, which is what it is to a worker as well."""
    if isinstance(row, Exception) and "WRONGTYPE" not in str(row):
        raise row
    if not isinstance(row, list):
        return Standing()
    generation, state, internal, status, ordered = (
        None if value is None else value.decode(errors="replace") for value in row
    )
    if generation is None:
        return Standing()
    return Standing(generation, _number(state), _number(internal), status == "ready", ordered is not None)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def order_rebuild(store: RedisStore, numbers: Iterable[int], who: str) -> dict[int, bool]:
    """Order that these partitions be restored in full; False for one without a position, which is restored anyway.

    Raises RedisUnreachable and Refused; those before the one that raises are ordered.
    """
    now = time.time_ns() // 1_000_000
    return {number: store.order_restore(number, f"{secrets.token_hex(8)}{ORDERED}", who, now=now) for number in numbers}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition's restore has come: records of the log, markers counted, of those there were at the order."""

    stage: Stage
    read: int
    total: int


def progress_of(standing: Standing, ends: Ends) -> Progress:
    """How far it is towards these ends of the log."""
    total = ends.high_state - ends.low_state + ends.high_internal - ends.low_internal
    stage = standing.stage
    if stage == "ready":
        return Progress(stage, total, total)
    if stage != "reading" or standing.state is None or standing.internal is None:
        return Progress(stage, 0, total)
    left = max(0, ends.high_state - standing.state) + max(0, ends.high_internal - standing.internal)
    return Progress(stage, max(0, total - left), total)


@dataclass(frozen=True, slots=True)
class Lost:
    """An order that is no longer there, and was not carried out: the store has gone back to before it."""

    partition: int
    generation: str


def lost_orders(before: Mapping[int, Standing], now: Mapping[int, Standing]) -> list[Lost]:
    """Partitions that are again, or still, of the generation that they were to leave."""
    return [
        Lost(number, standing.generation)
        for number, standing in now.items()
        if standing.generation is not None and standing.generation == before[number].generation and not standing.ordered
    ]


class Waiter:
    """Waits until ordered restores are done. `tell` hears after each look how far they are, and what is waited for."""

    def __init__(
        self, store: StoreReader, log: RedoLog, namespace: str, tell: Callable[[Mapping[int, Progress], str], None]
    ) -> None:
        self._store = store
        self._log = log
        self._namespace = namespace
        self._tell = tell
        self._note = ""
        self._asked_at = 0.0

    def wait(self, before: Mapping[int, Standing]) -> list[Lost]:
        """Wait for these partitions, which stood so before they were ordered; returns those whose order was lost.

        Raises KafkaUnreachable, RedisUnreachable and Refused.
        """
        ends = self._log.ends(list(before))
        while True:
            now = read_all(self._store, self._namespace, before)
            progress = {number: progress_of(standing, ends[number]) for number, standing in now.items()}
            lost = lost_orders(before, now)
            gone = {one.partition for one in lost}
            waiting = [number for number, p in progress.items() if p.stage != "ready" and number not in gone]
            self._tell(progress, self._waited_for(progress, waiting))
            if not waiting:
                return lost
            time.sleep(LOOK_AGAIN_S)

    def _waited_for(self, progress: Mapping[int, Progress], waiting: Sequence[int]) -> str:
        """What is waited for, in words; who owns what is asked seldom."""
        if time.monotonic() - self._asked_at >= ASK_OWNERS_S:
            self._asked_at = time.monotonic()
            owners = self._log.owners()
            without = [] if owners is None else [number for number in waiting if number not in owners]
            self._note = without_worker(without) if without else ""
        return self._note if any(progress[number].stage != "reading" for number in waiting) else ""


def read_all(store: StoreReader, namespace: str, numbers: Iterable[int]) -> dict[int, Standing]:
    """`read_standings`, raising RedisUnreachable and Refused."""
    return store.ask(lambda nodes: read_standings(nodes, namespace, numbers))


def without_worker(numbers: Sequence[int]) -> str:
    """That nobody works on these partitions, and what to do."""
    return f"no worker has {partitions_words(numbers)}: `restore-projector run` starts one, and it finds the order"


def partitions_words(numbers: Sequence[int]) -> str:
    """`partition 3`, `partitions 0, 1, 2`; long lists are cut."""
    named = ", ".join(map(str, numbers[:NAMED])) + (", …" if len(numbers) > NAMED else "")
    return f"partition{'' if len(numbers) == 1 else 's'} {named}"
