"""What goes wrong, for tests that look at it from outside: calls that wait, offsets that go back, workers not ready."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from tests.processes import ThreadWorker
from worker.cli import status
from worker.settings import Settings
from worker.status import condition


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """To `status` in this process a second is late, so that a test need not wait for what takes ten."""
    monkeypatch.setattr(condition, "LATE_MS", 1_000)
    monkeypatch.setattr(condition, "OPEN_MS", 1_000)
    monkeypatch.setattr(status, "LOOK_AGAIN_S", 0.3)


class Gate:
    """Closed at first."""

    def __init__(self) -> None:
        self._tickets = threading.Semaphore(0)
        self._opened = threading.Event()
        self.waiting = threading.Event()

    def pass_through(self) -> None:
        self.waiting.set()
        while not self._opened.is_set() and not self._tickets.acquire(timeout=0.05):
            pass

    def let_one_through(self) -> None:
        self._tickets.release()

    def open(self) -> None:
        self._opened.set()

    @contextmanager
    def trickling(self, every_s: float) -> Iterator[None]:
        """One at a time is let through meanwhile."""
        over = threading.Event()

        def trickle() -> None:
            while not over.wait(every_s):
                self.let_one_through()

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def gate(
    monkeypatch: pytest.MonkeyPatch, kind: type, method: str, *, closed_for: Callable[..., bool]
) -> Iterator[Gate]:
    """A method of which calls wait until they are let through, one at a time or all."""
    gate = Gate()
    real = getattr(kind, method)

    def waits(self: object, *args: object, **kwargs: object) -> object:
        if closed_for(*args, **kwargs):
            gate.pass_through()
        return real(self, *args, **kwargs)

    monkeypatch.setattr(kind, method, waits)
    try:
        yield gate
    finally:
        gate.open()


def commit(settings: Settings, place: TopicPartition, told: OffsetAndMetadata) -> OffsetAndMetadata:
    """As if the group's coordinator told this; returns what was committed before."""
    client = KafkaConsumer(group_id=settings.kafka.group_id, **settings.kafka.client_options())
    try:
        before = client.committed(place, metadata=True)
        assert isinstance(before, OffsetAndMetadata)
        client.assign([place])
        client.commit({place: told})
    finally:
        client.close()
    return before


@contextmanager
def running_partly(settings: Settings) -> Iterator[ThreadWorker]:
    """A worker that will not be ready."""
    worker = ThreadWorker(settings)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
