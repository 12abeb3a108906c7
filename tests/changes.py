"""State changes written as the worker writes them, for tests of those who read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import KafkaProducer

from contracts.decision import State, encode
from contracts.documents import change_headers
from contracts.ids import run_key
from projections.output import state_change
from worker.settings import Settings

CHANGED_AT = 1_793_527_260_000
"""2026-11-01T10:01:00Z"""


def a_change(
    run: str = "rr-1",
    to: State | None = "in_progress",
    was: State | None = None,
    *,
    tenant: str = "t-1",
    revision: int = 1,
    origin: Any = "live",
    changed_at: int = CHANGED_AT,
) -> dict[str, Any]:
    """A state change by the run's own event."""
    return state_change(
        tenant, run, was, to, revision=revision, origin=origin, cause=("restore_run", run, 1), changed_at=changed_at
    )


class Changes:
    """Publishes state changes, each call in a transaction of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = KafkaProducer(
            **settings.kafka.client_options(),
            transactional_id=f"{settings.kafka.group_id}-changes",
            metrics_enabled=False,
        )
        self._producer.init_transactions()

    def publish(self, *changes: dict[str, Any], partition: int = 0) -> Sequence[int]:
        """Their offsets."""
        self._producer.begin_transaction()
        offsets = self._send(changes, partition)
        self._producer.commit_transaction()
        return offsets

    def take_back(self, *changes: dict[str, Any], partition: int = 0) -> None:
        """Write them, and abort the transaction."""
        self._producer.begin_transaction()
        self._send(changes, partition)
        self._producer.abort_transaction()

    def _send(self, changes: Sequence[dict[str, Any]], partition: int) -> Sequence[int]:
        topics = self._settings.topic_names
        sent = [
            self._producer.send(
                topics.decision_changes,
                key=run_key(change["tenant_id"], change["restore_run_id"]).encode(),
                value=encode(change),
                headers=change_headers(change, topics.prefix, None),
                partition=partition,
            )
            for change in changes
        ]
        return [int(future.get(timeout=30).offset) for future in sent]

    def close(self) -> None:
        self._producer.close(timeout=5)


@contextmanager
def changes_of(settings: Settings) -> Iterator[Changes]:
    changes = Changes(settings)
    try:
        yield changes
    finally:
        changes.close()
