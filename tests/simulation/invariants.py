"""What must hold: at each step beside the work, and at rest.

At rest the checker of the tests on real servers judges (`tests.consistency`): it is given an observation that is made
from the models. What it compares with is the fold of the whole input. In which order, depends on what is promised:

strict   timestamps are the broker's, and no clock is wrong: one order, by timestamp, whatever happened meanwhile
loose    otherwise the order is that of the transactions that were committed: each says by its offsets which records it
         took and by its metadata up to which stream time. So what is checked is that these transactions, whose order
         nobody promises, have published what follows from them, each record once

A second fold, written from the specification and sharing no code with the first, must come to the same documents and
changes.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from contracts.commands import Forget
from contracts.decision import decode, encode
from contracts.events import Record
from contracts.letters import read_letter
from projections.advance import Input, advance
from projections.record import DELETION_MEMORY_MS, MAX_LINKS, MAX_SNAPSHOTS, Key
from tests.consistency.fold import REFUSAL, Folded, Source, _Folding, merged
from tests.consistency.invariants import Case, last_values, violations
from tests.consistency.observation import Observation, Place, Value
from tests.projections.second_fold import Limits, SecondFold
from tests.simulation.broker import Broker, Commit, Transaction
from tests.simulation.inputs import HUGE, PARTITIONS, TOPICS
from tests.simulation.store import WIPING, Applied, Copy, Wiped
from worker.loop import IDLE_DELAY_MS

if TYPE_CHECKING:
    from tests.simulation.world import World

NAMESPACE: Final = "restore"
MAX_SKEW_MS: Final = 3_600_000
"""Of any clock: see `faults`."""


class Watcher:
    """Beside the work: every decision of the coordinator, every write of the store."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._decided: dict[tuple[int, bytes | None], set[bytes | None]] = defaultdict(set)
        self._revisions: dict[tuple[int, str, Key], int] = {}
        self._must_reach: dict[tuple[int, str], tuple[int, int]] = {}
        world.broker.on_decided = self._on_decided
        world.broker.on_committed = self._on_committed
        world.redis.on_applied = self._on_applied
        world.redis.on_wiped = self._on_wiped
        world.redis.on_swept = self._on_swept

    def _on_decided(self, transaction: Transaction) -> None:
        for record in transaction.written:
            if record.topic in (TOPICS.decision_state, TOPICS.internal):
                self._decided[record.partition, record.key].add(record.value)

    def _on_committed(self, commit: Commit) -> None:
        world = self._world
        for place, committed in commit.offsets.items():
            before = world.broker.committed.get(place)
            if before is not None and committed.offset < before.offset:
                world.violated(f"4: committed offset of {place} went from {before.offset} back to {committed.offset}")
            if before is not None and committed.stream_time < before.stream_time:
                world.violated(f"4: stream time of {place} went from {before.stream_time} to {committed.stream_time}")
            slack = MAX_SKEW_MS if world.loose else 0
            if committed.stream_time > world.time.now + slack:
                world.violated(f"5: stream time {committed.stream_time} of {place} is beyond the present")

    def _on_applied(self, applied: Applied) -> None:
        self._nothing_but_committed(applied)
        self._nothing_but_what_the_log_says(applied)
        self._revisions_grow(applied)
        self._is_restored_when_it_says_so(applied)

    def _nothing_but_committed(self, applied: Applied) -> None:
        for write in applied.writes:
            if write.value not in self._decided[applied.partition, str(write.key).encode()]:
                self._world.violated(
                    f"7: {write.key} of {applied.partition} is in Redis and not committed: {write.value!r}"
                )

    def _nothing_but_what_the_log_says(self, applied: Applied) -> None:
        """From one position to the other lies in the log what is written, whoever writes it."""
        found = {str(write.key).encode(): write.value for write in applied.writes}
        expected: dict[bytes | None, tuple[bytes | None, bool]] = {}
        before, after = applied.before, applied.after
        for topic, first, last in (
            (TOPICS.decision_state, before.state, after.state),
            (TOPICS.internal, before.internal, after.internal),
        ):
            for entry in self._world.broker.logs[topic, applied.partition].entries[first:last]:
                if entry.record is not None and (entry.span is None or entry.span.transaction.decided == "commit"):
                    expected[entry.record.key] = entry.record.value, entry.removed
        for key, (value, removed) in expected.items():
            if key not in found:
                if not removed:
                    self._world.violated(f"8: {key!r} of {applied.partition} is passed over, {before} to {after}")
            elif found.pop(key) != value:
                self._world.violated(f"8: {key!r} of {applied.partition} is not what the log says, {before} to {after}")
        for key in found:
            self._world.violated(f"8: {key!r} of {applied.partition} is not in the log between {before} and {after}")

    def _revisions_grow(self, applied: Applied) -> None:
        """A reader sees what is there, and then what is written."""
        for write, replaced in zip(applied.writes, applied.replaced, strict=True):
            if write.key.kind != "run" or write.value is None:
                continue
            name = applied.partition, applied.after.generation, write.key
            revision = _revision(write.value)
            seen = max(self._revisions.get(name, 0), 0 if replaced is None else _revision(replaced))
            if revision < seen and not self._is_forgotten(applied.partition, write.key):
                self._world.violated(f"7: {write.key} went from revision {seen} back to {revision}")
            self._revisions[name] = revision

    def _is_forgotten(self, partition: int, run: Key) -> bool:
        """Whether there is an order that lets this run begin again at 1.

        At rest it is told whether it was carried out when it should be; that it was taken already cannot be asked
        here, as offsets may become visible after what was committed with them is in the store.
        """
        for record in self._world.broker.logs[TOPICS.ops, partition].everything():
            if record.key == run.tenant.encode():
                event = self._world.decode(record).event
                if isinstance(event, Forget) and (event.id, event.what) == (run.id, "everything"):
                    return True
        return False

    def _is_restored_when_it_says_so(self, applied: Applied) -> None:
        state, internal = self._must_reach.get((applied.partition, applied.after.generation), (0, 0))
        if not applied.restoring and (applied.after.state < state or applied.after.internal < internal):
            self._world.violated(
                f"6: the store of {applied.partition} is ready at {applied.after}, before {state}/{internal}"
            )

    def _on_wiped(self, wiped: Wiped) -> None:
        if wiped.expected != wiped.found:
            self._world.violated(f"8: the store of {wiped.partition} was removed by somebody who had not seen it")
        state, internal = (
            self._world.broker.logs[topic, wiped.partition] for topic in (TOPICS.decision_state, TOPICS.internal)
        )
        self._must_reach[wiped.partition, wiped.start.generation] = state.stable_end, internal.stable_end

    def _on_swept(self, partition: int, copy: Copy, generation: str) -> None:
        if copy.status is None or copy.status.position.generation != generation + WIPING:
            self._world.violated(f"8: records of the store of {partition} were removed by somebody who lost it")

    def store_went_back(self) -> None:
        """A reader of a store that goes back in time goes back with it, whatever a worker does."""
        self._revisions.clear()


def _revision(document: bytes) -> int:
    return int(decode(document)["revision"])


# At rest


def violations_at_rest(world: World) -> Iterator[str]:
    """All that does not hold."""
    log = {place: partition.everything() for place, partition in world.broker.logs.items()}
    refused = set(_refused(log))
    orders = {number: _order(world, log, number) for number in range(PARTITIONS)}
    folded = {n: _fold(world, order, refused) for n, order in orders.items()}
    yield from violations(Case(_observation(world, log), folded))
    yield from _only_culprits_are_refused(log, refused)
    for order in orders.values():
        yield from _second_opinion(world, log, order, refused)


class Order:
    """Inputs of one partition in the order in which they are to be folded, each with what was the present then."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.steps: list[tuple[Record | None, int]] = []
        """A record and its present; or None and a time that is reached."""


def _order(world: World, log: dict[Place, list[Record]], number: int) -> Order:
    order = Order(number)
    if not world.loose:
        order.steps += ((record, record.timestamp) for record in merged(log[topic, number] for topic in TOPICS.inputs))
        order.steps.append((None, world.time.now - IDLE_DELAY_MS))
        return order
    at = dict.fromkeys(TOPICS.inputs, 0)
    stream_time = 0
    for commit in world.broker.commits:
        offsets = {topic: commit.offsets.get((topic, number)) for topic in TOPICS.inputs}
        ends = [committed for committed in offsets.values() if committed is not None]
        if not ends:
            continue
        taken = [
            [r for r in log[topic, number] if at[topic] <= r.offset < committed.offset]
            for topic, committed in offsets.items()
            if committed is not None
        ]
        reached = ends[0].stream_time
        records = list(heapq.merge(*taken, key=lambda record: record.timestamp))
        clamped = reached < max([stream_time, *(record.timestamp for record in records)])
        order.steps += ((record, reached if clamped else max(record.timestamp, 0)) for record in records)
        order.steps.append((None, reached))
        stream_time = reached
        at |= {topic: committed.offset for topic, committed in offsets.items() if committed is not None}
    return order


def _refused(log: dict[Place, list[Record]]) -> Iterator[Source]:
    """The inputs whose dead letters say that Kafka did not take their outputs; no pure code can know of them."""
    for number in range(PARTITIONS):
        for record in log[TOPICS.dead_letters, number]:
            letter = read_letter(record.headers)
            if (letter.reason, letter.detail) == (REFUSAL.reason, REFUSAL.detail):
                yield letter.topic, letter.partition, letter.offset


def _only_culprits_are_refused(log: dict[Place, list[Record]], refused: set[Source]) -> Iterator[str]:
    for topic, number, offset in sorted(refused):
        record = next(r for r in log[topic, number] if r.offset == offset)
        if HUGE.encode() not in (record.value or b""):
            yield f"3: {topic} {number} {offset} is said to make a record that is too large, and does not"


class _Refolding(_Folding):
    """The fold with a present of its own for each record, and the history's memory of deletions."""

    def __init__(self, deletion_memory_ms: int | None) -> None:
        super().__init__(TOPICS)
        if deletion_memory_ms is not None:
            self._workspace.deletion_memory_ms = deletion_memory_ms

    def take(self, input: Input, record: Record, present: int) -> None:
        self.pass_time(min(input.at, present))
        outcome = advance(self._workspace, self._effects, input, present)
        self._folded.outcomes[record.topic, record.partition, record.offset] = outcome
        self._collect()


def _fold(world: World, order: Order, refused: set[Source]) -> Folded:
    folding = _Refolding(world.limits.deletion_memory_ms)
    for record, present in order.steps:
        if record is None:
            folding.pass_time(present)
        else:
            folding.take(_input(world, record, refused), record, present)
    return folding.finish()


def _input(world: World, record: Record, refused: set[Source]) -> Input:
    if (record.topic, record.partition, record.offset) in refused:
        return Input(REFUSAL, record.timestamp, record)
    return world.decode(record)


def _second_opinion(world: World, log: dict[Place, list[Record]], order: Order, refused: set[Source]) -> Iterator[str]:
    memory = world.limits.deletion_memory_ms
    second = SecondFold(Limits(MAX_LINKS, MAX_SNAPSHOTS, DELETION_MEMORY_MS if memory is None else memory))
    for record, present in order.steps:
        if record is None:
            second.pass_time(present)
        else:
            second.take(_input(world, record, refused), present)
    documents = last_values(log[TOPICS.decision_state, order.number])
    expected = second.documents()
    for run in sorted(documents.keys() | expected.keys()):
        if documents.get(run) != expected.get(run):
            yield f"2: {run}: the second fold has {expected.get(run)!r}, Kafka {documents.get(run)!r}"
    found = defaultdict(list)
    for change in log[TOPICS.decision_changes, order.number]:
        found[(change.key or b"").decode()].append(change.value)
    wanted = defaultdict(list)
    for body, _ in second.changes:
        wanted[f"{body['tenant_id']}/{body['restore_run_id']}"].append(encode(body))
    for run in sorted(found.keys() | wanted.keys()):
        if found[run] != wanted[run]:
            yield f"1: {run}: the second fold has {len(wanted[run])} changes, Kafka {len(found[run])}, or others"


def _observation(world: World, log: dict[Place, list[Record]]) -> Observation:
    broker = world.broker
    return Observation(
        topics=TOPICS,
        namespace=NAMESPACE,
        partitions=PARTITIONS,
        at=world.time.now,
        log=log,
        ends={place: partition.end for place, partition in broker.logs.items()},
        read_to={place: partition.stable_end for place, partition in broker.logs.items()},
        committed=_committed(broker),
        second_log=None,
        store={
            f"{NAMESPACE}:{{{number}}}:{name}": value
            for number, copy in world.redis.copies.items()
            for name, value in _keys(copy).items()
        },
    )


def _committed(broker: Broker) -> dict[Place, int]:
    places = [(topic, number) for topic in TOPICS.inputs for number in range(PARTITIONS)]
    return {place: broker.committed[place].offset if place in broker.committed else -1 for place in places}


def _keys(copy: Copy) -> dict[str, Value]:
    """A partition's keys as Redis has them, by name.

    A key that was lost by hand counts as there as long as nobody has asked for it: then it must be found out.
    """
    records = {**copy.lost, **copy.values}
    keys: dict[str, Value] = {_name(key): value for key, value in records.items()}
    sets: dict[str, dict[str, int]] = defaultdict(dict)
    if copy.records:
        sets["records"] = {_name(key): 0 for key in copy.records}
    for key, (state, changed_at) in copy.index.items():
        sets[f"runs:{key.tenant}"][key.id] = sets[f"runs:{key.tenant}:{state}"][key.id] = changed_at
    for key, (state, changed_at) in copy.unfinished.items():
        sets[f"unfinished:{state}"][str(key)] = changed_at
    for key, due in copy.dues.items():
        sets["deadlines"][str(key)] = due
    keys |= sets
    if copy.status is not None:
        position = copy.status.position
        keys["position"] = {
            "state": str(position.state),
            "internal": str(position.internal),
            "status": "restoring" if copy.status.restoring else "ready",
        }
    return keys


def _name(key: Key) -> str:
    return f"{key.kind}:{key.tenant}/{key.id}"
