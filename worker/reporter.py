"""What the loop does, told to logs, metrics and health. The loop itself knows none of the three."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from contracts.topics import TOPICS, Topics
from projections import rules
from projections.record import Key
from worker.batch import Batch
from worker.errors import DecidedByNewer, KafkaUnreachable, PartitionStopped, RedisUnreachable
from worker.health import Health
from worker.logs import Events
from worker.metrics import PARTITION_STATES, Metrics
from worker.partition import Partition, Phase
from worker.ports import Clock
from worker.recompute import Recompute

IDLE_AFTER_S: Final = 2.0
"""A partition that has decided nothing for so long, and holds nothing, has nothing to do: it is not late."""


class Reporter:
    """`worker.observer.Observer` for a worker in production."""

    def __init__(self, topics: Topics, metrics: Metrics, health: Health, events: Events, clock: Clock) -> None:
        self._roles = {getattr(topics, row.role): row.role for row in TOPICS}
        self._metrics = metrics
        self._health = health
        self._events = events
        self._clock = clock
        self._lag = _Lag(clock)
        self._restores: dict[int, tuple[str, int, float]] = {}
        self._owned: list[int] | None = None

    def turned(self, partitions: Sequence[Partition]) -> None:
        phases = Counter(map(_state, partitions))
        recomputing = sum(p.recompute is not None for p in partitions)
        self._health.turned()
        if len(partitions) == phases[Phase.RUNNING.value] and self._owned == [p.number for p in partitions]:
            again = f", {recomputing} decide everything again" if recomputing else ""
            self._health.ready(True, f"{len(partitions)} partitions run{again}")
        else:
            detail = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items()))
            self._health.ready(False, detail or "waiting for the group")
        for state in PARTITION_STATES:
            self._metrics.partitions.labels(state).set(phases[state])
        self._metrics.partitions_recomputing.set(recomputing)
        self._metrics.recompute_left_records.set(sum(p.recompute.left for p in partitions if p.recompute is not None))
        self._metrics.stream_time_lag_seconds.set(self._lag.seconds(partitions))
        self._metrics.last_turn_timestamp_seconds.set_to_current_time()

    def lost(self) -> None:
        if self._owned:
            self._events.partitions_lost(partitions=self._owned)
        self._owned = None

    def taken_over(self, generation: int, partitions: Sequence[Partition]) -> None:
        self._server_back()
        self._owned = [p.number for p in partitions]
        self._events.partitions_assigned(partitions=self._owned, generation=generation)

    def restoring(self, partition: Partition, reason: str | None) -> None:
        """`reason`: why in full; None when only the log's tail is missing."""
        ends, position = partition.ends, partition.position
        records = (ends.high_state - position.state) + (ends.high_internal - position.internal)
        self._restores[partition.number] = ("tail" if reason is None else "full", 0, time.monotonic())
        if records:
            self._events.partition_restoring(
                partition=partition.number, full=reason is not None, reason=reason or "behind the log", records=records
            )

    def restored_slice(self, partition: int, records: int) -> None:
        kind, so_far, began = self._restores[partition]
        self._restores[partition] = (kind, so_far + records, began)
        self._metrics.restored_records.inc(records)

    def running(self, partition: Partition) -> None:
        kind, records, began = self._restores.pop(partition.number)
        self._metrics.restores.labels(kind).inc()
        seconds = time.monotonic() - began
        if records or kind == "full":
            self._events.partition_restored(
                partition=partition.number, full=kind == "full", records=records, seconds=seconds
            )
        self._events.partition_taken_over(partition=partition.number, offsets=partition.offsets)

    def stopped(self, error: PartitionStopped) -> None:
        self._events.partition_stopped(partition=error.partition, kind=error.kind, detail=str(error))

    def recomputing(self, partition: Partition) -> None:
        work, before = partition.recompute, partition.policies
        assert work is not None, "it has just begun"
        self._events.partition_recomputing(
            partition=partition.number, policy=rules.POLICY, before=before.complete, records=work.end - work.at.state
        )

    def passed_over(self, run: Key) -> None:
        self._events.run_passed_over(tenant=run.tenant, run=run.id)

    def recomputed(self, partition: Partition, work: Recompute) -> None:
        self._events.partition_recomputed(
            partition=partition.number,
            policy=rules.POLICY,
            documents=work.looked,
            published=work.published,
            seconds=self._clock.monotonic() - work.began_at,
        )

    def published(self, batches: Sequence[Batch], seconds: float) -> None:
        metrics = self._metrics
        metrics.transactions.labels("committed").inc()
        metrics.transaction_seconds.observe(seconds)
        metrics.batch_records.observe(sum(len(batch.taken) for batch in batches))
        now = self._clock.now_ms()
        for batch in batches:
            self._count(batch)
            if batch.taken:
                metrics.publication_delay_seconds.observe(max(now - batch.taken[0].timestamp, 0) / 1000)
            for letter in batch.effects.letters:
                record = letter.record
                self._events.dead_letter(
                    reason=letter.reason, topic=record.topic, partition=record.partition, offset=record.offset
                )

    def stored(self, seconds: float) -> None:
        self._metrics.store_seconds.observe(seconds)

    def _count(self, batch: Batch) -> None:
        metrics = self._metrics
        for (topic, outcome), count in batch.outcomes.items():
            metrics.records.labels(self._roles[topic], outcome).inc(count)
        for state, count in Counter(c.body["to_state"] or "removed" for c in batch.effects.changes).items():
            metrics.changes_published.labels(state).inc(count)
        for reason, count in Counter(letter.reason for letter in batch.effects.letters).items():
            metrics.dead_letters.labels(reason).inc(count)
        metrics.documents_published.inc(batch.documents)
        metrics.expiries.inc(batch.effects.counts["expired"])
        metrics.recomputed_documents.inc(batch.effects.counts["recomputed"])

    def recovering(self, error: Exception, delay_s: float) -> None:
        self._metrics.recoveries.inc()
        if isinstance(error, KafkaUnreachable | RedisUnreachable):
            self._metrics.server_up.labels(error.server.lower()).set(0)
            self._events.server_unreachable(error.server, address=error.address, error=error)
        else:
            self._events.recovering(error, wait_ms=round(delay_s * 1000))

    def _server_back(self) -> None:
        for server in ("Kafka", "Redis"):
            self._metrics.server_up.labels(server.lower()).set(1)
            self._events.server_back(server)

    def failed_transaction(self) -> None:
        self._metrics.transactions.labels("failed").inc()

    def waiting_for_input(self) -> None:
        self._metrics.merge_waits.inc()

    def waited_in_vain(self, partition: int, topics: Sequence[str], waited_s: float) -> None:
        self._metrics.merge_wait_overs.inc()
        for topic in topics:
            self._events.merge_wait_over(partition=partition, topic=topic, waited_ms=round(waited_s * 1000))


def _state(partition: Partition) -> str:
    """One of `worker.metrics.PARTITION_STATES`."""
    return "refused" if isinstance(partition.stopped_by, DecidedByNewer) else partition.phase.value


class _Lag:
    """How far the slowest partition that runs is behind the clock.

    It is at the oldest record that it has left to decide. With none left it is at the last one that it decided, as long
    as that was a moment ago, for the next may be on their way; later it has nothing to do, and is not behind.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moved: dict[int, tuple[int, float]] = {}
        """Of each running partition its stream time, and since when (monotonic s) it has been that."""

    def seconds(self, partitions: Sequence[Partition]) -> float:
        running = [p for p in partitions if p.phase is Phase.RUNNING]
        self._moved = {p.number: self._since(p) for p in running}
        places = [place for p in running if (place := self._place(p)) is not None]
        now = self._clock.now_ms()
        return max((now - min(place, now) for place in places), default=0) / 1000

    def _since(self, partition: Partition) -> tuple[int, float]:
        known = self._moved.get(partition.number, (partition.stream_time, -IDLE_AFTER_S))
        return known if known[0] == partition.stream_time else (partition.stream_time, self._clock.monotonic())

    def _place(self, partition: Partition) -> int | None:
        """The time (ms) of what it decides next, or None if that is nothing."""
        if len(partition.merge):
            return partition.merge.next_timestamp()
        _, since = self._moved[partition.number]
        return partition.stream_time if self._clock.monotonic() - since < IDLE_AFTER_S else None
