"""What may go wrong: one table. Each fault strikes at a call of some process, in some phase of a partition's life."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final, TypeAlias

from tests.simulation.surroundings import Late
from worker.errors import KafkaUnreachable, RedisUnreachable

if TYPE_CHECKING:
    from tests.simulation.world import Process, World


class Crash(BaseException):
    """The process is gone. Nothing in the loop catches this."""


PHASES: Final = (
    "joining",
    "taking over",
    "wiping",
    "restoring",
    "polling",
    "deciding",
    "publishing",
    "storing",
    "idle",
)
PHASE: Final[dict[str, str]] = {
    "poll": "polling",
    "new_producer": "taking over",
    "committed": "taking over",
    "ends": "taking over",
    "log_id": "taking over",
    "status": "taking over",
    "wipe": "wiping",
    "read": "restoring",
    "restore": "restoring",
    "input_ends": "deciding",
    "store_read": "deciding",
    "due": "deciding",
    "begin": "publishing",
    "produce": "publishing",
    "send_offsets": "publishing",
    "commit": "publishing",
    "apply": "storing",
    "next_due": "idle",
}
"""Of which phase a call through a port is. A poll of a process that is not in the group yet is one of joining."""
STORE_CALLS: Final = frozenset({"status", "wipe", "restore", "store_read", "due", "apply", "next_due"})
KAFKA_CALLS: Final = frozenset(PHASE) - STORE_CALLS


@dataclass(frozen=True, slots=True)
class Moment:
    """Where and when a fault strikes; `choose`: for what it is free to choose."""

    world: World
    process: Process
    choose: Random


Strike: TypeAlias = Callable[[Moment], BaseException | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row. `leads_to`: the phase that the next fault is aimed at, as this one has brought it about.

    `loose`: only in histories whose order is not promised. `promised`: a worker must withstand it. `strike` may raise,
    which the call then does instead of its work; what it returns is raised after the work.
    """

    name: str
    weight: int
    strike: Strike
    calls: frozenset[str] = frozenset(PHASE)
    leads_to: str = ""
    loose: bool = False
    promised: bool = True

    def fits(self, process: Process, call: str) -> bool:
        return call in self.calls


def _crash(at: Moment) -> BaseException | None:
    if at.choose.random() < 0.5:
        raise Crash
    return Crash()


def _freeze(at: Moment) -> BaseException | None:
    """SIGSTOP and CONT: no heartbeats meanwhile. Past the session's time-out, it is a zombie when it goes on."""
    at.process.frozen = True
    member = at.process.log.member
    at.world.pass_ms(at.choose.choice((at.choose.randint(50, 2_000), *2 * [at.choose.randint(10_000, 25_000)])))
    at.process.frozen = False
    if member is not None and member not in at.world.broker.group.members:
        at.process.met("a zombie went on")
    return None


def _slow(at: Moment) -> BaseException | None:
    """The request takes its time; heartbeats go on."""
    at.world.pass_ms(at.choose.choice((at.choose.randint(20, 500), at.choose.randint(1_000, 15_000))))
    return None


def _unreachable(process: Process) -> Exception:
    if process.call in STORE_CALLS:
        return RedisUnreachable("redis", "timed out")
    return KafkaUnreachable("kafka", "timed out")


def _request_lost(at: Moment) -> BaseException | None:
    at.world.pass_ms(at.choose.choice((0, 10, 5_000)))
    raise _unreachable(at.process)


def _answer_lost(at: Moment) -> BaseException | None:
    return _unreachable(at.process)


def _late(at: Moment) -> BaseException | None:
    longest = at.choose.choice((400, 400, 20_000))
    raise Late(at.choose.randint(1, longest))


def _rebalance(at: Moment) -> BaseException | None:
    at.world.broker.group.rebalance(at.world.time.now)
    return None


def _evict(at: Moment) -> BaseException | None:
    """Its heartbeats were lost."""
    if at.process.log.member is not None:
        at.world.broker.group.leave(at.process.log.member, at.world.time.now)
    return None


def _replace(at: Moment) -> BaseException | None:
    """A second process under the same instance id, as when an orchestrator thinks that the first is gone."""
    if at.process.instance is None or at.process.replaced or len(at.world.processes) > 4:
        at.process.stopping = True
        return None
    at.world.replace(at.process)
    return None


def _stop(at: Moment) -> BaseException | None:
    """It is told to end, and does so after its turn."""
    at.process.stopping = True
    return None


def _broker_down(at: Moment) -> BaseException | None:
    at.world.take_broker_down(at.choose.choice((500, 3_000, 15_000)))
    return None


def _old_offsets(at: Moment) -> BaseException | None:
    """The group's coordinator has loaded in part what was committed, until it is started again."""
    at.world.broker.load_in_part(at.choose)
    at.world.later(at.choose.choice((500, 5_000, 45_000)), at.world.broker.load_all)
    return None


def _slow_markers(at: Moment) -> BaseException | None:
    at.world.slow_markers = at.choose.randint(1, 8)
    return None


def _store_lost(at: Moment) -> BaseException | None:
    at.world.redis.flush()
    return None


def _store_back(at: Moment) -> BaseException | None:
    if at.world.redis.kept:
        at.world.redis.go_back(at.choose.choice(at.world.redis.kept))
        at.world.store_went_back()
    return None


def _store_down(at: Moment) -> BaseException | None:
    at.world.redis.down = True
    at.world.later(at.choose.choice((200, 2_000, 10_000)), at.world.store_up)
    return None


def _store_full(at: Moment) -> BaseException | None:
    at.world.redis.full = True
    at.world.later(at.choose.choice((200, 2_000, 10_000)), at.world.store_has_room)
    return None


def _position_lost(at: Moment) -> BaseException | None:
    """The key that says where the store is; all others are still there."""
    copy = at.choose.choice(list(at.world.redis.copies.values()))
    copy.status = None
    return None


def _old_copy(at: Moment) -> BaseException | None:
    """A backup is put back that is older than tombstones are kept."""
    redis = at.world.redis
    redis.keep_copy()
    backup = redis.kept[0]
    at.world.pass_ms(at.choose.randint(0, 3_000))
    at.world.pass_night(at.choose.choice((13, 50, 50)) * 3600 * 1000, asleep=at.choose.random() < 0.5)
    redis.go_back(backup)
    at.world.store_went_back()
    return None


def _key_lost(at: Moment) -> BaseException | None:
    copy = at.world.redis.copies[at.choose.randrange(len(at.world.redis.copies))]
    if copy.values:
        key = at.choose.choice(sorted(copy.values))
        copy.lose(key)
        at.world.note("redis", f"lost {key}")
    return None


def _deadlines_lost(at: Moment) -> BaseException | None:
    at.choose.choice(list(at.world.redis.copies.values())).dues.clear()
    return None


def _clock_jump(at: Moment) -> BaseException | None:
    at.process.clock.skew_ms = at.choose.choice((-3_600_000, -5_000, -500, 500, 5_000, 3_600_000))
    return None


def _night(at: Moment) -> BaseException | None:
    """Half a day or two pass in which nothing is sent; the cleaner has time for everything."""
    at.world.pass_night(at.choose.choice((7, 13, 50)) * 3600 * 1000, asleep=at.choose.random() < 0.5)
    return None


FAULTS: Final[tuple[Fault, ...]] = (
    Fault("crash", 8, _crash),
    Fault("freeze", 12, _freeze),
    Fault("slow", 4, _slow),
    Fault("request lost", 4, _request_lost),
    Fault("answer lost", 6, _answer_lost),
    Fault("request late", 12, _late, calls=frozenset({"produce", "commit"})),
    Fault("rebalance", 5, _rebalance),
    Fault("evicted", 5, _evict, leads_to="publishing"),
    Fault("replaced", 3, _replace),
    Fault("stopped", 2, _stop),
    Fault("broker down", 3, _broker_down),
    Fault("old offsets", 3, _old_offsets, leads_to="taking over"),
    Fault("slow markers", 7, _slow_markers, leads_to="taking over"),
    Fault("store lost", 5, _store_lost),
    Fault("store gone back", 4, _store_back, leads_to="restoring"),
    Fault("store down", 3, _store_down),
    Fault("store full", 3, _store_full),
    Fault("position lost", 6, _position_lost, leads_to="wiping"),
    # Not within a wipe: to go back twice between its scan and its sweeps is what no worker withstands.
    Fault("old copy", 3, _old_copy, calls=frozenset(PHASE) - {"wipe"}, leads_to="wiping"),
    Fault("key lost", 3, _key_lost),
    Fault("deadlines lost", 3, _deadlines_lost),
    Fault("clock jump", 4, _clock_jump, loose=True),
    Fault("night", 1, _night),
)
BY_NAME: Final = {fault.name: fault for fault in FAULTS}


def wanted() -> list[tuple[str, str, str]]:
    """What must be met now and then: each fault in each phase that it has."""
    return [
        ("fault", fault.name, phase)
        for fault in FAULTS
        if fault.promised
        for phase in PHASES
        if phase in {PHASE[call] for call in fault.calls} or (phase == "joining" and "poll" in fault.calls)
    ]
