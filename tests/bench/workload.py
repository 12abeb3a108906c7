"""The events that are measured with: the lives of restore runs, many at a time.

Ten events a run, 30 % of the runs without evidence, 1 % of the events sent twice, 1 % out of order, 200 tenants; about
40 % of the events change a state.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from contracts.times import format_time
from contracts.topics import Topics

TENANTS = 200
AT_A_TIME = 200
BEGAN = 1_780_000_000_000
COUNTS = {"total": 12, "succeeded": 12, "failed": 0, "skipped": 0, "partial": 0, "non_applied": 0}


@dataclass(frozen=True, slots=True)
class Event:
    """One input record. `key`: the tenant; `run`: the restore run that it bears on."""

    topic: str
    key: str
    run: str
    value: bytes
    headers: list[tuple[str, bytes]]


class Workload:
    """Events for a set of topics; the same seed gives the same events."""

    def __init__(self, topics: Topics, seed: int = 1) -> None:
        self._topics = topics
        self._random = random.Random(seed)
        self._born = 0

    def events(self, count: int) -> Iterator[Event]:
        """So many events of interleaved lives."""
        lives: list[Iterator[Event]] = []
        held: Event | None = None
        sent = 0
        while sent < count:
            while len(lives) < AT_A_TIME:
                lives.append(self._life())
            life = self._random.choice(lives)
            event = next(life, None)
            if event is None:
                lives.remove(life)
                continue
            if held is None and self._random.random() < 0.01:
                held = event
                continue
            again = self._random.random() < 0.01
            for each in (event, *((event,) if again else ()), *((held,) if held is not None else ())):
                if sent < count:
                    yield each
                    sent += 1
            held = None

    def single(self, number: int) -> Event:
        """A first event of a run of its own: one event, one document, one change."""
        tenant = f"tenant-{number % TENANTS}"
        return self._event("restore_run", tenant, f"lone-{number}", 1, _run(tenant, f"lone-{number}", "queued", None))

    def _life(self) -> Iterator[Event]:
        number = self._born
        self._born += 1
        tenant, run, operation = f"tenant-{self._random.randrange(TENANTS)}", f"rr-{number}", f"op-{number}"
        start = BEGAN + number * 1000
        for sequence, status in enumerate(("draft", "checked", "previewed"), 1):
            yield self._event("restore_run", tenant, run, sequence, _run(tenant, run, status, None))
        yield self._event("restore_run", tenant, run, 4, _run(tenant, run, "queued", operation))
        for sequence, (status, outcome) in enumerate((("running", "pending"), ("completed", "succeeded")), 1):
            data = {
                "id": operation,
                "tenant_id": tenant,
                "status": status,
                "outcome": outcome,
                "started_at": format_time(start),
                "completed_at": format_time(start + 60_000) if status == "completed" else None,
            }
            if status == "running":
                yield self._event("operation_run", tenant, run, sequence, data)
                yield self._event("restore_run", tenant, run, 5, _run(tenant, run, "running", operation))
            else:
                yield self._event("operation_run", tenant, run, sequence, data)
        yield self._event("restore_run", tenant, run, 6, _run(tenant, run, "completed", operation))
        if self._random.random() < 0.7:
            for sequence, status in enumerate(("generating", "active"), 1):
                data = {
                    "id": f"es-{number}",
                    "tenant_id": tenant,
                    "operation_run_id": operation,
                    "status": status,
                    "generated_at": format_time(start + 90_000),
                    "expires_at": None,
                }
                yield self._event("evidence_snapshot", tenant, run, sequence, data)
        else:
            for sequence in (7, 8):
                yield self._event("restore_run", tenant, run, sequence, _run(tenant, run, "completed", operation))

    def _event(self, entity: str, tenant: str, run: str, sequence: int, data: dict[str, Any]) -> Event:
        topic = next(t for t, e in self._topics.entities.items() if e == entity)
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", f"{data['id']}-{sequence}".encode()),
            ("ce_source", b"urn:bench"),
            ("ce_type", f"restore.{entity}.changed".encode()),
            ("ce_sequence", str(sequence).encode()),
            ("content-type", b"application/json"),
        ]
        return Event(topic, tenant, run, json.dumps(data).encode(), headers)


def _run(tenant: str, run: str, status: str, operation: str | None) -> dict[str, Any]:
    return {
        "id": run,
        "tenant_id": tenant,
        "status": status,
        "is_dry_run": False,
        "operation_run_id": operation,
        "metadata": {"counts": COUNTS} if status == "completed" else None,
        "result_attention": None,
        "updated_at": format_time(BEGAN),
    }
