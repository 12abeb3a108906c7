"""What a client of the models is surrounded by: at each of its calls the world may move, and a fault may strike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from tests.simulation.clock import Time
from worker.ports import TopicPartition

T = TypeVar("T")


class Late(Exception):
    """A request that its sender has given up lands after so long a time, in ms."""

    def __init__(self, delay_ms: int) -> None:
        self.delay_ms = delay_ms
        super().__init__()


class Surroundings(Protocol):
    """One process's view of the world."""

    time: Time

    def enter(self, call: str) -> BaseException | None:
        """Before a call is carried out. May raise instead; what it returns is raised afterwards: a lost answer."""

    def wait(self, ms: int) -> None:
        """A call waits: the world moves."""

    def idle(self, ms: int) -> None:
        """A poll found nothing and would have waited so long."""

    def later(self, delay_ms: int, what: Callable[[], None]) -> None:
        """Something happens without this process."""

    def fetches(self, place: TopicPartition) -> int:
        """How many records of a partition a fetch brings at most; 0: none, whatever there is."""

    def hears(self) -> bool:
        """Whether the heartbeat has told what there is to tell."""

    def met(self, situation: str) -> None:
        """Something has happened that must happen now and then."""


class Undisturbed:
    """Nobody else is there, nothing goes wrong, and nothing takes time."""

    def __init__(self, time: Time | None = None) -> None:
        self.time = time or Time()

    def enter(self, call: str) -> BaseException | None:
        return None

    def wait(self, ms: int) -> None:
        self.time.now += ms

    def idle(self, ms: int) -> None:
        self.time.now += ms

    def later(self, delay_ms: int, what: Callable[[], None]) -> None:
        what()

    def fetches(self, place: TopicPartition) -> int:
        return 1_000

    def hears(self) -> bool:
        return True

    def met(self, situation: str) -> None:
        pass


def carried_out(around: Surroundings, call: str, work: Callable[[], T]) -> T:
    """One call: what surrounds it, then the work, then its answer, unless that is lost."""
    lost = around.enter(call)
    done = work()
    if lost is not None:
        raise lost
    return done
