"""Waiting for rest, looking, folding, judging."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from kafka import KafkaConsumer
from redis import Redis

from contracts.letters import read_letter
from projections.advance import Outcome
from projections.inputs import InputDecoder
from tests.consistency.fold import REFUSAL, Folded, Source, fold
from tests.consistency.invariants import Case, violations
from tests.consistency.observation import (
    Observation,
    Place,
    committed_offsets,
    consumer,
    observe,
    read_log,
)
from tests.consistency.watching import Watched
from tests.servers.clients import REDIS_ERRORS, redis_client
from tests.servers.waiting import wait_until
from worker.settings import Settings

REST_TIMEOUT_S: Final = 60.0
"""Invariant 9: after healing, nothing is left to do within so long."""
CALM_MS: Final = 8_000
"""No deadline may lie so near ahead while we look: it would fall in the middle of it. Looking takes about 3 s."""
MAX_TOLD: Final = 25
"""Violations in a message: one damage shows in a few places, a broken fold in thousands."""


class Inconsistent(AssertionError):
    """What is there is not what the input asks for; `violations` are all that was found."""

    def __init__(self, found: list[str]) -> None:
        self.violations = found
        more = [] if len(found) <= MAX_TOLD else [f"… and {len(found) - MAX_TOLD} more"]
        super().__init__("\n".join([f"{len(found)} violations", *found[:MAX_TOLD], *more]))


@dataclass(frozen=True, slots=True)
class Summary:
    """What was checked, for a test to say that it was enough. `outcomes`: of all input records."""

    outcomes: Counter[Outcome]
    counts: Counter[str]
    changes: int
    runs: int


def check(settings: Settings, watched: Watched | None = None, timeout_s: float = REST_TIMEOUT_S) -> Summary:
    """Wait for rest and check everything, also what was `watched` meanwhile.

    Raises Inconsistent, or AssertionError when it does not come to rest.
    """
    seen = observe(settings, at=wait_for_rest(settings, timeout_s))
    folded = _fold(seen, settings)
    upcoming = [f.next_deadline for f in folded.values() if f.next_deadline is not None]
    if min(upcoming, default=seen.at + CALM_MS + 1) <= seen.at + CALM_MS:
        wait_until(
            lambda: _now_ms() > max(d for d in upcoming if d <= seen.at + CALM_MS),
            CALM_MS / 1000 + 1,
            "the next deadlines fall",
        )
        return check(settings, watched, timeout_s)
    return judge(seen, settings, folded, watched)


def judge(
    seen: Observation,
    settings: Settings,
    folded: dict[int, Folded] | None = None,
    watched: Watched | None = None,
) -> Summary:
    """Compare what was seen with what must be. Raises Inconsistent."""
    case = Case(seen, _fold(seen, settings) if folded is None else folded)
    found = list(violations(case))
    if watched is not None:
        found += watched.violations(list(case.seen_of(seen.topics.decision_state)))
    if found:
        raise Inconsistent(found)
    return Summary(
        outcomes=Counter(outcome for f in case.folded.values() for outcome in f.outcomes.values()),
        counts=sum((f.counts for f in case.folded.values()), Counter()),
        changes=sum(len(changes) for f in case.folded.values() for changes in f.changes.values()),
        runs=sum(len(f.documents) for f in case.folded.values()),
    )


def _fold(seen: Observation, settings: Settings) -> dict[int, Folded]:
    inputs = InputDecoder(seen.topics, seen.partitions, settings.kafka.partitioner, settings.limits.value_bytes)
    refused = set(_refused(seen))
    return {number: fold(seen.log, seen.topics, number, inputs, seen.at, refused) for number in range(seen.partitions)}


def _refused(seen: Observation) -> Iterator[Source]:
    """The inputs whose dead letters say that Kafka did not take their outputs."""
    for number in range(seen.partitions):
        for record in seen.log[seen.topics.dead_letters, number]:
            with suppress(ValueError):
                letter = read_letter(record.headers)
                if (letter.reason, letter.detail) == (REFUSAL.reason, REFUSAL.detail):
                    yield letter.topic, letter.partition, letter.offset


def wait_for_rest(settings: Settings, timeout_s: float = REST_TIMEOUT_S) -> int:
    """Wait until all input is committed, the store is ready, and nothing in it is due; returns when that was, in ms."""
    with consumer(settings) as reader, redis_client(settings.redis.url.get_secret_value()) as client:
        inputs = read_log(reader, settings, settings.topic_names.inputs)
        behind_last = {place: records[-1].offset + 1 for place, records in inputs.items() if records}
        rest = _Rest(settings, reader, client, behind_last, sorted({number for _, number in inputs}))
        wait_until(rest.no_lag, timeout_s, lambda: f"rest: {rest.missing}")
        return wait_until(rest.since, timeout_s, lambda: f"rest: {rest.missing}")


class _Rest:
    """What is still to be waited for, `missing` in words."""

    def __init__(
        self,
        settings: Settings,
        reader: KafkaConsumer,
        client: Redis,
        behind_last: dict[Place, int],
        numbers: list[int],
    ) -> None:
        self._namespace = settings.redis.namespace
        self._reader = reader
        self._client = client
        self._behind_last = behind_last
        self._numbers = numbers
        self.missing = "nothing was looked at"

    def no_lag(self) -> bool:
        committed = committed_offsets(self._reader, list(self._behind_last))
        lag = {place: end - max(committed[place], 0) for place, end in self._behind_last.items()}
        behind = [f"{topic} partition {number}: {n}" for (topic, number), n in lag.items() if n > 0]
        self.missing = f"lag of {', '.join(behind)}"
        return not behind

    def since(self) -> int:
        """The present, in ms, if the store is at rest now; else 0."""
        now = _now_ms()
        try:
            return now if all(self._is_at_rest(number, now) for number in self._numbers) else 0
        except REDIS_ERRORS as error:
            self.missing = f"Redis: {error}"
            return 0

    def _is_at_rest(self, number: int, now: int) -> bool:
        status = self._client.hget(f"{self._namespace}:{{{number}}}:position", "status")
        due = self._client.zcount(f"{self._namespace}:{{{number}}}:deadlines", "-inf", now)
        self.missing = f"partition {number} of the store: status {status!r}, {due} deadlines due"
        return status == b"ready" and not due


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
