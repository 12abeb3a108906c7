"""What applying inputs brings forth beside changed records: state changes, dead letters, counts of what happened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from contracts.decision import Origin, State
from contracts.events import Record
from contracts.facts import Entity
from contracts.letters import Reason
from projections.output import state_change
from projections.record import Key


class Change(NamedTuple):
    """A state change to be published: of which run, the value, the trace that it belongs to."""

    key: Key
    body: dict[str, Any]
    traceparent: str | None


class Letter(NamedTuple):
    """A record to be set aside, why, and what was expected and came."""

    record: Record
    reason: Reason
    detail: str


@dataclass(slots=True)
class Effects:
    """What applying inputs has brought forth beside changed records, in order."""

    changes: list[Change] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    traceparents: dict[Key, str] = field(default_factory=dict)
    """Of each run's last cause, for its document's header."""
    removed: dict[Key, int] = field(default_factory=dict)
    """Of each run that was removed, the revision which that took, for its tombstone's header."""
    counts: Counter[str] = field(default_factory=Counter)
    """decided, expired, forgotten, evicted, marked, recomputed: how often each happened."""


class Cause(NamedTuple):
    """Why a run is decided again."""

    entity: Entity
    id: str
    sequence: int | None
    at: int
    origin: Origin
    traceparent: str | None = None


def trace(effects: Effects, key: Key, cause: Cause) -> None:
    """Only the last cause of what is published counts: an earlier one's trace is not that of this document."""
    if cause.traceparent is None:
        effects.traceparents.pop(key, None)
    else:
        effects.traceparents[key] = cause.traceparent


def publish_change(
    effects: Effects, key: Key, before: State | None, after: State | None, revision: int, at: int, cause: Cause
) -> None:
    body = state_change(
        key.tenant,
        key.id,
        before,
        after,
        revision=revision,
        origin=cause.origin,
        cause=(cause.entity, cause.id, cause.sequence),
        changed_at=at,
    )
    effects.changes.append(Change(key, body, cause.traceparent))
