"""What Redis tells: of each partition's part of the store, of overdue restores, and whether it is full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import redis

from contracts.decision import State
from worker.fitness import nodes_of
from worker.nodes import reason
from worker.overdue import count
from worker.redis import read_offsets
from worker.settings import OverdueSettings, RedisSettings
from worker.status.facts import StoreCopy

FIELDS: Final = ("generation", "state", "internal", "status", "log_id", "applied_at", "status_since", "offsets")


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What Redis says. `copies` lacks partitions of which nothing is there. The rest: see `facts.Survey`."""

    copies: Mapping[int, StoreCopy]
    overdue: Mapping[State, int] | None = None
    error: str | None = None
    full: tuple[int, int] | None = None


class StoreView:
    """Asks Redis; `look` never raises: a store that does not answer is itself a fact."""

    def __init__(self, settings: RedisSettings, limits: OverdueSettings) -> None:
        self._settings = settings
        self._limits = limits
        self._nodes = nodes_of(settings)

    def look(self, log_id: str, ends: Mapping[int, tuple[int, int]], now: int) -> StoreFacts:
        """`ends` of the compacted topics by partition, as `log_id` names them; `now` in ms."""
        try:
            rows = self._rows(ends)
            full = self._full()
            overdue = count(self._nodes, self._settings.namespace, ends, self._limits, now)
        except redis.exceptions.RedisError as error:
            self._nodes.forget()
            return StoreFacts({}, error=f"Redis at {self._settings.address} cannot be reached: {reason(error)}")
        copies = {number: _copy(row, log_id, ends[number]) for number, row in rows.items()}
        return StoreFacts({number: copy for number, copy in copies.items() if copy is not None}, overdue, None, full)

    def _rows(self, numbers: Iterable[int]) -> Mapping[int, list[bytes | None]]:
        """The position records of these partitions, field by field."""
        rows: dict[int, list[bytes | None]] = {}
        for client, group in self._nodes.grouped(numbers):
            with client.pipeline(transaction=False) as step:
                for number in group:
                    step.hmget(f"{self._settings.namespace}:{{{number}}}:position", *FIELDS)
                rows.update(zip(group, step.execute(), strict=True))
        return {number: rows[number] for number in sorted(rows)}

    def _full(self) -> tuple[int, int] | None:
        """Used and allowed memory of a server that is full."""
        for client in self._nodes.masters().values():
            try:
                memory: Mapping[str, Any] = client.info("memory")
            except redis.exceptions.NoPermissionError:
                return None
            used, allowed = int(memory.get("used_memory", 0)), int(memory.get("maxmemory", 0))
            if 0 < allowed <= used:
                return used, allowed
        return None

    def close(self) -> None:
        self._nodes.close()


def _behind(position: int, end: int) -> int:
    """Records that are missing: what lies last is the marker of the transaction that wrote them."""
    return max(0, end - position - 1)


def _copy(row: list[bytes | None], log_id: str, ends: tuple[int, int]) -> StoreCopy | None:
    """A position record; None if there is none that can be read, which the worker takes for none as well."""
    told = {name: value.decode() for name, value in zip(FIELDS, row, strict=True) if value is not None}
    try:
        state, internal = int(told["state"]), int(told["internal"])
        since = told.get("status_since")
        return StoreCopy(
            restoring=told["status"] != "ready",
            generation=told["generation"],
            state=state,
            internal=internal,
            behind=_behind(state, ends[0]) + _behind(internal, ends[1]),
            follows=told["log_id"] == log_id,
            applied_at=int(told["applied_at"]),
            status_since=None if since is None else int(since),
            offsets=read_offsets(told.get("offsets")),
        )
    except (KeyError, ValueError):
        return None
