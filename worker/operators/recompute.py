"""Deciding stored runs again: one order for each run, and what has come of it.

An order that changes nothing publishes nothing, so ordering too much does no harm: neither does a run that comes twice
out of a walk through Redis, nor a command that is begun anew after it was interrupted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from contracts.decision import decode
from contracts.orders import Trail, recompute_order
from projections.afresh import decided_afresh
from worker.operators.log import LogReader
from worker.operators.orders import OrderWriter, Waiting, wait_until_taken
from worker.operators.outcome import Outcome, Published, Traced
from worker.operators.pace import Pace
from worker.operators.stored import StoredRuns, readable
from worker.settings import Settings

Tell = Callable[[int], None]
TELL_EVERY: Final = 100
"""Orders, between two moves of a progress bar."""


@dataclass(slots=True)
class Estimate:
    """What deciding again would do. `changes`: of state, by former and new one."""

    runs: int = 0
    documents: int = 0
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)


def estimate(runs: StoredRuns, tell: Tell) -> Estimate:
    """Decide every run again from the facts in its document, by this version's rules, and write nothing.

    `tell` hears how many were decided. Raises RedisUnreachable.
    """
    found = Estimate()
    for number, keys in runs.read():
        for key, document in zip(keys, runs.documents(number, keys), strict=True):
            if document is not None:
                with readable(key):
                    _decide_again(found, document)
        tell(found.runs)
    return found


def _decide_again(found: Estimate, data: bytes) -> None:
    document = decode(data)
    rule, fields = decided_afresh(document)
    found.runs += 1
    found.documents += any(document.get(name) != value for name, value in fields.items())
    if document["state"] != rule.state:
        found.changes[document["state"], rule.state] += 1


class Recomputation:
    """One invocation: `send`, then `wait`, then `outcome`. Each may raise KafkaUnreachable, Refused, RedisUnreachable.

    `sent`: how many orders were written, whatever happens.
    """

    def __init__(self, settings: Settings, runs: StoredRuns, trail: Trail, rate: float | None) -> None:
        self._settings = settings
        self._runs = runs
        self._trail = trail
        self._pace = Pace(rate)
        self._ends: dict[int, int] = {}
        self.sent = 0

    def send(self, reader: LogReader, tell: Tell) -> Published:
        """Write an order for each run; returns where to look for what comes of them."""
        published = Published(self._settings, reader, self._runs.partitions)
        with OrderWriter(self._settings, self._trail) as writer:
            try:
                self._send_all(writer, tell)
            finally:
                self.sent, self._ends = writer.written.total(), writer.ends
        return published

    def _send_all(self, writer: OrderWriter, tell: Tell) -> None:
        count = 0
        try:
            for number, keys in self._runs.read():
                for key in keys:
                    self._pace.wait()
                    writer.send(recompute_order(number, key.tenant, key.id, self._trail.traceparent))
                    count += 1
                    if count % TELL_EVERY == 0:
                        tell(count)
        finally:
            writer.flush()
        tell(count)

    def wait(self, tell: Callable[[Waiting], None]) -> None:
        """Wait until the workers have taken all orders."""
        wait_until_taken(self._settings, self._ends, tell)

    def outcome(self, published: Published) -> Outcome:
        """What has come of the orders."""
        return published.outcome(Traced(self._trail.request))
