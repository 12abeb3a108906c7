"""The most real servers that can be had are taken, and one line says why none more real."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from worker.servers.choice import WAYS, Kind, Say, Servers, Way, choose
from worker.servers.errors import ServerUnavailable, StartInterrupted

NO_ENGINE = "no Docker engine answers"
NO_JAVA = "no java"
NO_WHEEL = "no wheel"


@dataclass
class Machine:
    """What a machine has: for each way why it is closed (None: it is open), and why fetching for it fails."""

    docker: str | None = None
    local: str | None = None
    embedded: str | None = None
    unfetchable: dict[Kind, str] = field(default_factory=dict)
    fetched: list[Kind] = field(default_factory=list)

    @property
    def ways(self) -> dict[Kind, Way]:
        return {kind: self._way(kind) for kind in WAYS}

    def _way(self, kind: Kind) -> Way:
        def fetch(_: Say, stop: threading.Event) -> None:
            self.fetched.append(kind)
            if kind in self.unfetchable:
                raise ServerUnavailable(self.unfetchable[kind])
            if stop.is_set():
                raise StartInterrupted("told to stop")

        def start(_: Path, __: threading.Event) -> AbstractContextManager[Servers]:
            raise AssertionError("choosing starts nothing")

        return Way(lambda: getattr(self, kind), fetch, start)


def chosen(machine: Machine) -> tuple[Kind, list[str]]:
    """The way, and what was said."""
    said: list[str] = []
    return choose(said.append, threading.Event(), machine.ways), said


@pytest.mark.parametrize(
    ("docker", "local", "embedded", "kind", "why"),
    [
        (None, None, None, "docker", []),
        (None, NO_JAVA, None, "docker", []),
        (None, NO_JAVA, NO_WHEEL, "docker", []),
        (None, None, NO_WHEEL, "docker", []),
        (NO_ENGINE, None, None, "local", ["docker: no Docker engine answers"]),
        (NO_ENGINE, None, NO_WHEEL, "local", ["docker: no Docker engine answers"]),
        (NO_ENGINE, NO_JAVA, None, "embedded", ["docker: no Docker engine answers", "local: no java"]),
    ],
)
def test_docker_goes_before_local_goes_before_embedded(
    docker: str | None, local: str | None, embedded: str | None, kind: Kind, why: list[str]
) -> None:
    machine = Machine(docker, local, embedded)

    assert chosen(machine) == (kind, [f"No more real servers here ({'; '.join(why)})."] if why else [])
    assert machine.fetched == [kind], "nothing is fetched for another way"


def test_what_cannot_be_fetched_is_passed_over_in_one_line() -> None:
    machine = Machine(NO_ENGINE, unfetchable={"local": "mvn could not fetch Kafka\nmvn ended with 1:\nno network"})

    assert chosen(machine) == (
        "embedded",
        ["No more real servers here (docker: no Docker engine answers; local: mvn could not fetch Kafka)."],
    )


def test_where_nothing_can_be_had_every_reason_is_said() -> None:
    with pytest.raises(ServerUnavailable) as refusal:
        chosen(Machine(NO_ENGINE, NO_JAVA, NO_WHEEL))

    assert str(refusal.value).splitlines() == [
        "no servers can be had here",
        "docker: no Docker engine answers",
        "local: no java",
        "embedded: no wheel",
    ]
    assert refusal.value.exit_code == 2


def test_being_told_to_stop_is_no_reason_for_another_way() -> None:
    machine, stop = Machine(NO_ENGINE), threading.Event()
    stop.set()

    with pytest.raises(StartInterrupted):
        choose(print, stop, machine.ways)
    assert machine.fetched == ["local"]
