"""One history: processes, inputs and faults on the models, moved by one seed; then healed, and brought to rest."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Final
from unittest.mock import patch
from zlib import crc32

from contracts.events import Record
from projections.advance import Input
from projections.inputs import InputDecoder
from projections.record import Key
from tests.simulation.broker import Broker, Refused, Transaction
from tests.simulation.clock import SimulatedClock, Time
from tests.simulation.counters import Counters
from tests.simulation.faults import BY_NAME, FAULTS, KAFKA_CALLS, PHASE, PHASES, Crash, Fault, Moment
from tests.simulation.inputs import HUGE, PARTITIONS, TOPICS, Inputs
from tests.simulation.invariants import Watcher, violations_at_rest
from tests.simulation.log import SimulatedLog
from tests.simulation.store import Redis, SimulatedStore
from worker.batch import Batch
from worker.errors import Fenced, KafkaUnreachable, OffsetWentBack, PartitionStopped, Unfit, Unstable
from worker.loop import IDLE_DELAY_MS, Limits, Worker
from worker.partition import Partition, Phase
from worker.ports import Committed, Output, TopicPartition
from worker.recompute import Recompute

DECODER: Final = InputDecoder(TOPICS, PARTITIONS, "murmur2")
LOOK_MS: Final = 250
"""How often the broker looks after its group and its transactions."""
REST_WITHIN_MS: Final = 60_000
"""Invariant 9."""
AFTER_ALL_MS: Final = 2 * 3600 * 1000
"""All that is due soon is due by then."""
PATIENCE: Final = 40
"""Calls for which a fault waits for its phase before it looks for another one."""
MAX_STEPS: Final = 20_000
GROUP: Final = "restore-projector"


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault of a history: at which call, by name."""

    call: int
    fault: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """What makes a history. `only`: these faults and no others; `inputs`: at most so many records are sent.

    `faults`: names of those that may strike; None: those that a worker must withstand.
    """

    seed: int
    only: tuple[Struck, ...] | None = None
    inputs: int | None = None
    faults: frozenset[str] | None = None
    trace: bool = False


class Process:
    """A worker process: its connections, its clock, what it is doing. It is what surrounds its own calls."""

    def __init__(self, world: World, name: str, instance: str | None) -> None:
        self.world = world
        self.name = name
        self.instance = instance
        self.time = world.time
        self.clock = SimulatedClock(world.time)
        self.alive = self.busy = self.frozen = self.stopping = self.replaced = False
        self.wake_at = 0
        self.lives = 0
        self.call = ""
        self.log: SimulatedLog
        self.worker: Worker

    def start(self) -> None:
        world = self.world
        self.lives += 1
        self.alive, self.frozen, self.stopping = True, False, False
        self.wake_at = world.time.now
        own = self.instance or f"{self.name}-{self.lives}"
        self.log = world.make_log(world.broker, self, self.instance, f"{GROUP}-{own}")
        store = world.make_store(world.redis, self)
        self.worker = Worker(self.log, store, self.clock, DECODER, TOPICS, Told(self), world.limits)

    def turn(self) -> None:
        self.busy = True
        try:
            self.worker.turn()
        except Crash:
            self.world.note(self.name, "died")
            self.die()
        except (Fenced, Unfit, Unstable) as end:
            self.world.note(self.name, f"ends: {type(end).__name__}")
            self.world.counters.met("situation", "a process was fenced") if isinstance(end, Fenced) else None
            self.die()
        finally:
            self.busy = False
        if self.alive and self.stopping:
            self.log.close()
            self.die()

    def die(self) -> None:
        """Nothing of it is left but what it has told others; somebody starts it again, unless another has its place."""
        self.alive = False
        if self.replaced:
            return
        world = self.world
        delay = world.choose.choice((100, 500, 3_000, 15_000)) if world.stormy else 100
        world.later(delay, self.start)

    @property
    def phase(self) -> str:
        if self.call == "poll" and not self.log.is_stable:
            return "joining"
        return PHASE[self.call]

    # What surrounds its calls

    def enter(self, call: str) -> BaseException | None:
        world = self.world
        self.call = call
        world.calls += 1
        number = world.calls  # others' calls are counted while somebody else has a turn within this one
        world.time.now += world.calls & 1
        world.note(self.name, call)
        if world.calls >= world.next_switch:
            world.switch()
        error = world.strike(self, call, number) if world.calls >= world.next_fault else None
        if world.broker.is_down and call in KAFKA_CALLS:
            self.wait(300)
            raise KafkaUnreachable("kafka", "no broker answers")
        return error

    def wait(self, ms: int) -> None:
        self.world.pass_ms(ms)

    def idle(self, ms: int) -> None:
        self.wake_at = self.time.now + max(1, ms)

    def later(self, delay_ms: int, what: Callable[[], None]) -> None:
        self.world.later(delay_ms, what)

    def fetches(self, place: TopicPartition) -> int:
        return self.world.choose.choice((0, 1, 3, 100, 100, 100))

    def hears(self) -> bool:
        return self.world.choose.random() < 0.5

    def met(self, situation: str) -> None:
        self.world.counters.met("situation", situation)
        self.world.note(self.name, situation)


class World:
    """See the package's docstring for how it moves. `make_process`: what kind of processes it has."""

    make_process: type[Process] = Process

    def __init__(
        self,
        recipe: Recipe,
        make_log: type[SimulatedLog] = SimulatedLog,
        make_store: type[SimulatedStore] = SimulatedStore,
        make_redis: type[Redis] = Redis,
    ) -> None:
        self.recipe = recipe
        self.make_log, self.make_store = make_log, make_store
        self.choose = Random(f"{recipe.seed}/schedule")
        self.draw = Random(f"{recipe.seed}/faults")
        self.time = Time()
        self.counters = Counters()
        self.trace: list[str] = []
        self.checksum = 0
        self.calls = self.steps = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self._decoded: dict[tuple[str, int, int], Input] = {}
        self._draw_profile()
        self.broker = Broker(TOPICS, PARTITIONS, self.time, self)
        self.broker.too_large = _is_huge
        self.broker.on_visible = self._wake_all
        self.broker.is_witnessed = self._is_witnessed
        self.redis = make_redis(PARTITIONS)
        self.slow_markers = 0
        self.stormy = True
        self.watcher = Watcher(self)
        self.struck: list[Struck] = []
        self._planned = {struck.call: struck.fault for struck in recipe.only or ()}
        self.violations: list[str] = []
        self.next_switch = 1
        self.next_fault = min(self._planned, default=2**60) if recipe.only is not None else self._until_fault()
        self._target = ""
        self._patience = 0
        self.processes = [
            self.make_process(self, f"w{n}", f"i{n}" if self.choose.random() < 0.5 else None)
            for n in range(self.choose.choice((1, 2, 2, 2, 3, 3)))
        ]

    def _draw_profile(self) -> None:
        """What kind of history this is: so that much of a little is met as well as all at once."""
        choose = self.choose
        self.loose = choose.random() < 0.3
        self.switch_gap = choose.choice((2.0, 6.0, 20.0, 100.0))
        self.fault_gap = choose.choice((2.0, 5.0, 10.0, 30.0))
        self.input_gap_ms = choose.choice((10, 100, 400, 1_000))
        self.inputs_left = choose.choice((20, 50, 100, 150))
        if self.recipe.inputs is not None:
            self.inputs_left = min(self.inputs_left, self.recipe.inputs)
        self.inputs = Inputs(Random(f"{self.recipe.seed}/inputs"), self.counters, loose=self.loose)
        memory = choose.choice((20_000, 20_000, None))
        self.limits = Limits(batch_records=choose.choice((1, 3, 5_000)), deletion_memory_ms=memory)
        asked = self.recipe.faults
        possible = [f for f in FAULTS if (f.promised if asked is None else f.name in asked)]
        possible = [f for f in possible if self.loose or not f.loose]
        # Small enough that batches are cut, large enough for what one record or one deadline needs.
        self.most_loaded, self.most_decided, self.most_due = choose.choice(((25, 2, 2), (50_000, 20_000, 1_000)))
        kinds = choose.choice((2, 4, 8, len(possible)))
        self.possible = possible if kinds >= len(possible) else choose.sample(possible, kinds)
        self.phases = tuple(choose.sample(PHASES, choose.choice((1, 1, 2, len(PHASES)))))

    # Notes

    def note(self, who: str, what: str) -> None:
        self.checksum = crc32(f"{self.time.now} {who} {what}".encode(), self.checksum)
        if self.recipe.trace:
            self.trace.append(f"{self.calls:6} {(self.time.now - 1_793_527_200_000) / 1000:10.3f} {who:8} {what}")

    def violated(self, what: str) -> None:
        self.note("world", f"VIOLATED {what}")
        if len(self.violations) < 50:
            self.violations.append(what)

    # Time and steps

    def later(self, delay_ms: int, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.time.now + delay_ms, next(self._numbers), what))

    def marker_ms(self) -> int:
        if self.slow_markers:
            self.slow_markers -= 1
            return self.choose.randint(0, 6_000)
        return self.choose.randint(0, 4)

    def pass_ms(self, ms: int) -> None:
        """Time passes, and what happens meanwhile happens."""
        until = self.time.now + ms
        while self.time.now < until and self.steps < MAX_STEPS:
            self.step(until)

    def switch(self) -> None:
        """Somebody else's turn, or a few."""
        self.next_switch = self.calls + 1 + int(self.choose.expovariate(1 / self.switch_gap))
        for _ in range(self.choose.choice((1, 1, 2, 5))):
            self.step(self.time.now + 50)

    def decode(self, record: Record) -> Input:
        """What a record says, for those who judge."""
        place = record.topic, record.partition, record.offset
        if place not in self._decoded:
            self._decoded[place] = DECODER.decode(record)
        return self._decoded[place]

    def step(self, until: int) -> None:
        """One thing happens: an event that is due, a process's turn, or time passes to the next of these or `until`."""
        self.steps += 1
        now = self.time.now
        due = bool(self._events) and self._events[0][0] <= now
        ready = [p for p in self.processes if p.alive and not p.busy and not p.frozen and p.wake_at <= now]
        if due and (not ready or self.choose.random() < 0.5):
            _, _, what = heapq.heappop(self._events)
            what()
        elif ready:
            ready[self.choose.randrange(len(ready)) if len(ready) > 1 else 0].turn()
        else:
            times = [p.wake_at for p in self.processes if p.alive and not p.busy and not p.frozen]
            if self._events:
                times.append(self._events[0][0])
            self.time.now = max(now, min([until, *times]))
            if self.time.now == now:
                self.time.now = now + 1

    def _is_witnessed(self, place: TopicPartition, told: Committed) -> bool:
        """Whether the store has seen a newer offset committed than this."""
        topic, number = place
        status = self.redis.copies[number].status
        return status is not None and told.offset < status.offsets.get(topic, 0)

    def on_stopped(self, process: Process, error: PartitionStopped) -> bool:
        """A process has stopped a partition; whether it had reason to."""
        process.met("stopped for an offset that went back")
        if not isinstance(error, OffsetWentBack):
            return False
        return ((error.topic, error.partition), error.offset) in self.broker.lies

    def _wake_all(self) -> None:
        for process in self.processes:
            process.wake_at = min(process.wake_at, self.time.now)

    def _look(self) -> None:
        self.later(LOOK_MS, self._look)
        if not self.broker.is_down:
            self.hear_from_all()
            self.broker.look()

    def hear_from_all(self) -> None:
        """Heartbeats come from a thread of each process's own, as long as the process is not frozen or dead."""
        for process in self.processes:
            if process.alive and not process.frozen and process.log.member is not None:
                member = self.broker.group.members.get(process.log.member)
                if member is not None:
                    member.heard_at = self.time.now

    # Inputs

    def _send(self) -> None:
        if not self.inputs_left:
            return
        self.inputs_left -= 1
        gap = 1 + int(self.choose.expovariate(1 / self.input_gap_ms))
        self.later(gap, self._send)
        if self.broker.is_down:
            self.inputs_left += 1
            return
        self.time.now += 1  # no two records of the same millisecond: who is first of those is not promised
        draft = self.inputs.next(self.time.now)
        record = draft.record._replace(timestamp=self.time.now + draft.stamp_ms)
        transaction = None
        if self.choose.random() < 0.07:
            transaction = Transaction("source", 0, self.time.now)
            transaction.waiting[record.topic, record.partition] = None
        placed = self.broker.append(record, transaction)
        if transaction is None:
            self.inputs.sent(placed)  # what is replayed is what operators can read
        self.note("source", f"{record.topic} {record.partition} {placed.offset}")
        if transaction is not None:
            self.later(self.choose.randint(0, 3_000), lambda: self._end_input(transaction, placed))

    def _end_input(self, transaction: Transaction, placed: Record) -> None:
        transaction.decided = self.choose.choice(("commit", "abort"))
        self.broker.logs[placed.topic, placed.partition].mark(transaction)
        self.counters.met("situation", f"input transaction {transaction.decided}ed".replace("commited", "committed"))
        self.broker.on_visible()

    # Faults

    def _until_fault(self) -> int:
        return self.calls + 1 + int(self.draw.expovariate(1 / self.fault_gap))

    def strike(self, process: Process, call: str, number: int) -> BaseException | None:
        """A fault is due: one that fits this call, or the next call that it waits for."""
        if not self.stormy:
            self.next_fault = 2**60
            return None
        if self.recipe.only is not None:
            name = self._planned.pop(number, None)
            self.next_fault = min(self._planned, default=2**60)
            fault = None if name is None else BY_NAME[name]
        else:
            fault = self._drawn(process)
        if fault is None or not fault.fits(process, call):
            return None
        self.struck.append(Struck(number, fault.name))
        self.counters.met("fault", fault.name, process.phase)
        self.note(process.name, f"FAULT {fault.name} in {process.phase}")
        return fault.strike(Moment(self, process, Random(f"{self.recipe.seed}/{self.calls}/{fault.name}")))

    def _drawn(self, process: Process) -> Fault | None:
        """One of the phase that it is the turn of; that is waited for for a while, then another one is."""
        if not self._target:
            self._target, self._patience = self.draw.choice(self.phases), PATIENCE
        if process.phase != self._target:
            self._patience -= 1
            if not self._patience:
                self._target = ""
            return None
        if self.draw.random() < 0.3:
            return None  # not always its first call
        fitting = [f for f in self.possible if f.fits(process, process.call)]
        self._target, self.next_fault = "", self._until_fault()
        if not fitting:
            return None
        fault = self.draw.choices(fitting, [f.weight for f in fitting])[0]
        if fault.leads_to and self.draw.random() < 0.7:
            self._target, self._patience, self.next_fault = fault.leads_to, 2 * PATIENCE, self.calls + 1
        return fault

    # What faults do to the world

    def replace(self, process: Process) -> None:
        """Another process is started under the instance id of one that may still be there."""
        process.replaced = True
        second = self.make_process(self, f"{process.name}'", process.instance)
        self.processes.append(second)
        second.start()

    def take_broker_down(self, ms: int) -> None:
        self.broker.is_down = True
        self.later(ms, self.broker_up)

    def broker_up(self) -> None:
        """A group's sessions begin anew with its coordinator."""
        if self.broker.is_down:
            self.broker.is_down = False
            for member in self.broker.group.members.values():
                member.heard_at = self.time.now

    def store_up(self) -> None:
        self.redis.down = False

    def store_has_room(self) -> None:
        self.redis.full = False

    def store_went_back(self) -> None:
        self.watcher.store_went_back()

    def pass_night(self, ms: int, *, asleep: bool) -> None:
        """A long time passes. `asleep`: for the processes as well, which find their sessions ended."""
        for _ in range(3):
            self.time.now += ms // 3
            if not asleep:
                self.hear_from_all()
                self.pass_ms(2_000)
            if self.broker.compact():
                self.counters.met("situation", "compaction removed records")

    # The whole of it

    def run(self) -> None:
        """The storm, the healing, the rest, and a rest long after."""
        with self._deterministic():
            self.later(LOOK_MS, self._look)
            self.later(1, self._send)
            self.later(500, self._keep_copy)
            for process in self.processes:
                self.later(self.choose.randint(0, 300), process.start)
            until = self.time.now + 10_000 + self.inputs_left * self.input_gap_ms
            while (self.inputs_left or self.time.now < until) and self.steps < MAX_STEPS:
                self.step(self.time.now + LOOK_MS)
            self._heal()
            self._come_to_rest("after healing")
            self.time.now += AFTER_ALL_MS
            self.hear_from_all()
            self._come_to_rest("long after")

    @contextmanager
    def _deterministic(self) -> Iterator[None]:
        """What the product draws at random comes from the seed as well."""
        own = Random(f"{self.recipe.seed}/product")
        with (
            patch("worker.loop.random", own),
            patch("worker.restore.secrets", _Secrets(own)),
            patch("worker.batch.MAX_LOADED", self.most_loaded),
            patch("worker.batch.MAX_DECIDED", self.most_decided),
            patch("worker.batch.MAX_DUE", self.most_due),
        ):
            yield

    def _keep_copy(self) -> None:
        """What a replica or a file may have: the store of some moment."""
        self.later(self.choose.choice((200, 1_000, 5_000)), self._keep_copy)
        if not self.redis.down:
            self.redis.keep_copy()
        if self.choose.random() < 0.2 and self.broker.compact():
            self.counters.met("situation", "compaction removed records")

    def _heal(self) -> None:
        self.stormy = False
        self.note("world", "heals")
        self.broker_up()
        self.broker.load_all()
        self.store_up()
        self.store_has_room()
        for process in self.processes:
            process.clock.skew_ms = 0

    def _come_to_rest(self, when: str) -> None:
        slowness = 3 if self.limits.batch_records < 10 else 1  # a backlog taken record by record is no fault
        until = self.time.now + slowness * REST_WITHIN_MS
        at_rest_since = 0
        while self.time.now < until and self.steps < MAX_STEPS:
            self.step(until)
            if self.steps % 8 == 0:
                if not self.is_at_rest():
                    at_rest_since = 0
                elif not at_rest_since:
                    at_rest_since = self.time.now
                elif self.time.now > at_rest_since + 6_000:
                    return
        self.violated(f"9: not at rest {when} within {slowness * REST_WITHIN_MS} ms: {self.restless()}")

    def violations_at_rest(self) -> Iterator[str]:
        """All that does not hold when everything is done."""
        return violations_at_rest(self)

    def is_at_rest(self) -> bool:
        return not self.restless()

    def restless(self) -> str:
        """What is still to be done; empty at rest."""
        broker = self.broker
        for process in self.processes:
            if not process.alive and not process.replaced:
                return f"{process.name} is not there"
            if process.alive and (process.busy or not all(p.phase is Phase.RUNNING for p in process.worker.partitions)):
                return f"{process.name} is not running"
        if broker.has_open_transactions():
            return "a transaction is open"
        for number in range(PARTITIONS):
            for topic in TOPICS.inputs:
                log, committed = broker.logs[topic, number], broker.committed.get((topic, number))
                last = log.everything()
                if last and (committed is None or committed.offset <= last[-1].offset):
                    return f"{topic} {number}: lag"
            copy = self.redis.copies[number]
            if copy.status is None or copy.status.restoring:
                return f"the store of {number} is not ready"
            if any(due <= self.time.now - IDLE_DELAY_MS for due in copy.dues.values()):
                return f"the store of {number} has something due"
        return ""


@dataclass(slots=True)
class _Secrets:
    own: Random

    def token_hex(self, size: int) -> str:
        return self.own.randbytes(size).hex()


def _is_huge(output: Output) -> bool:
    return (
        output.topic == TOPICS.decision_state
        and (output.key or b"").endswith(HUGE.encode())
        and output.value is not None
    )


@dataclass(slots=True)
class Told:
    """`worker.observer.Observer`: what a process tells is noted, and counted where it must happen now and then."""

    process: Process
    reasons: list[str] = field(default_factory=list)

    def _met(self, situation: str) -> None:
        self.process.met(situation)

    def turned(self, partitions: Sequence[Partition]) -> None:
        pass

    def lost(self) -> None:
        pass

    def taken_over(self, generation: int, partitions: Sequence[Partition]) -> None:
        self.process.world.note(self.process.name, f"took over {[p.number for p in partitions]} in {generation}")

    def restoring(self, partition: Partition, reason: str | None) -> None:
        if reason is not None:
            self._met(f"full restore: {reason}")
            if " is outside " in reason:  # which it is only when the topics were made anew
                self.process.world.violated(f"8: a sound store was removed: {reason}")
        elif not partition.is_restored:
            self._met("restored from a tail")

    def restored_slice(self, partition: int, records: int) -> None:
        pass

    def running(self, partition: Partition) -> None:
        self.process.world.note(self.process.name, f"runs {partition.number}")

    def stopped(self, error: PartitionStopped) -> None:
        world = self.process.world
        if not world.on_stopped(self.process, error):
            world.violated(f"stopped: {error}")

    def recomputing(self, partition: Partition) -> None:
        self._met("recompute begun")

    def passed_over(self, run: Key) -> None:
        self.process.world.violated(f"{run} was passed over")

    def recomputed(self, partition: Partition, work: Recompute) -> None:
        self._met("recompute finished")

    def published(self, batches: Collection[Batch], seconds: float) -> None:
        self.process.world.note(self.process.name, f"published {[len(b.taken) for b in batches]}")

    def stored(self, seconds: float) -> None:
        pass

    def failed_transaction(self) -> None:
        pass

    def recovering(self, error: Exception, delay_s: float) -> None:
        if not isinstance(error, Exception):
            raise error
        why = error.why if isinstance(error, Refused) else type(error).__name__
        self._met(f"refused: {why}")
        if isinstance(error, AssertionError | KeyError | TypeError | AttributeError):
            self.process.world.violated(f"a bug of our own: {error!r}")

    def waiting_for_input(self) -> None:
        self._met("merge waited")

    def waited_in_vain(self, partition: int, topics: Sequence[str], waited_s: float) -> None:
        self.process.world.loose = True  # what comes late from here on may be merged late


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a history. `struck`: its faults, by which it can be run again in part."""

    recipe: Recipe
    violations: tuple[str, ...]
    struck: tuple[Struck, ...]
    counters: Counters
    checksum: int
    loose: bool
    trace: tuple[str, ...]


def run(recipe: Recipe, make: Callable[[Recipe], World] = World) -> Result:
    """Run one history and judge it."""
    world = make(recipe)
    world.run()
    found = [*world.violations, *world.violations_at_rest()]
    return Result(
        recipe, tuple(found), tuple(world.struck), world.counters, world.checksum, world.loose, tuple(world.trace)
    )
