"""Restores of which something has been awaited for too long: how many there are, and which.

The store's sorted sets of the unfinished hold every restore of which something is awaited, by the time since when it
has been in its state (`worker/scripts/apply.lua`); how long that may be, the settings say for each state. A partition
that is being restored gives what it has so far, one that nobody took over yet gives nothing. Nothing here writes.

`nodes` may be those of anyone who may read these sets; any call may raise `redis.exceptions.RedisError`. `now_ms` is
compared with `changed_at`, which is the time of a record in Kafka.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from contracts.decision import State
from contracts.ids import split_run_key
from projections.rules import UNFINISHED
from worker.nodes import Nodes
from worker.redis import unfinished_key
from worker.settings import OverdueSettings


class OverdueRun(NamedTuple):
    """A run that has been in this state for too long: since `since_ms`, its `changed_at`."""

    tenant: str
    run: str
    state: State
    since_ms: int


def count(
    nodes: Nodes, namespace: str, partitions: Iterable[int], settings: OverdueSettings, now_ms: int
) -> dict[State, int]:
    """How many are overdue, by state; 0 where none can be.

    One round trip to each Redis that has some of the partitions, and nothing that grows with their number.
    """
    total = dict.fromkeys(UNFINISHED, 0)
    for client, numbers in nodes.grouped(partitions):
        asked = list(_sets(namespace, numbers, settings, now_ms))
        with client.pipeline(transaction=False) as step:
            for _, key, before in asked:
                step.zcount(key, "-inf", before)
            found = step.execute()
        for (state, _, _), number in zip(asked, found, strict=True):
            total[state] += number
    return total


def oldest(
    nodes: Nodes, namespace: str, partitions: Iterable[int], settings: OverdueSettings, now_ms: int, limit: int
) -> list[OverdueRun]:
    """Those that have been overdue for longest, in that order, at most `limit`.

    One round trip to each Redis that has some of the partitions, in which each set gives no more than `limit`.
    """
    # Of the same age in the order in which Redis has them, or the limit would choose others than the order does.
    ages: list[tuple[int, bytes, State]] = []
    for client, numbers in nodes.grouped(partitions):
        asked = list(_sets(namespace, numbers, settings, now_ms))
        with client.pipeline(transaction=False) as step:
            for _, key, before in asked:
                step.zrangebyscore(key, "-inf", before, start=0, num=limit, withscores=True)
            found = step.execute()
        for (state, _, _), rows in zip(asked, found, strict=True):
            ages += ((int(since), member, state) for member, since in rows)
    return [
        OverdueRun(*split_run_key(member.decode()), state, since)
        for since, member, state in heapq.nsmallest(limit, ages)
    ]


def _sets(
    namespace: str, partitions: Iterable[int], settings: OverdueSettings, now_ms: int
) -> Iterator[tuple[State, str, str]]:
    """State, key, and the score below which a member is overdue, of each set that may have some."""
    limits = {state: settings.limit_ms(state) for state in UNFINISHED}
    for partition in partitions:
        for state, limit_ms in limits.items():
            if limit_ms is not None:
                yield state, unfinished_key(namespace, partition, state), f"({now_ms - limit_ms}"
