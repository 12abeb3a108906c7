"""What the worker counts. Names, units, labels and meanings are in the one table `Metrics.__init__`.

Base units, and no label whose values come from outside: a tenant or a run in a label would make a time series each.
Labelled series exist from the start, at 0, so that a rate is right from the first event on; only those by partition do
not. The metrics of one worker are in a registry of its own, so that two workers in one process (a test) do not add up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector

from contracts.decision import STATES
from contracts.letters import REASONS
from contracts.topics import TOPICS
from projections.rules import UNFINISHED

RecordOutcome = Literal["applied", "stale", "ignored", "dead_letter"]
TransactionOutcome = Literal["committed", "failed"]
PartitionState = Literal["taking_over", "restoring", "running", "stopped", "refused"]
Server = Literal["kafka", "redis"]

RECORD_OUTCOMES: Final[tuple[RecordOutcome, ...]] = ("applied", "stale", "ignored", "dead_letter")
TRANSACTION_OUTCOMES: Final[tuple[TransactionOutcome, ...]] = ("committed", "failed")
PARTITION_STATES: Final[tuple[PartitionState, ...]] = ("taking_over", "restoring", "running", "stopped", "refused")
"""The phases of `worker.partition`; refused is stopped because a newer version has decided in it."""
SERVERS: Final[tuple[Server, ...]] = ("kafka", "redis")
INPUT_ROLES: Final = tuple(row.role for row in TOPICS if row.direction == "input")

SECONDS_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""A transaction takes about 5 ms when quiet; its time-out is 10 s."""
RECORDS_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Up to the default of RESTORE_PROJECTOR_LIMITS__BATCH_RECORDS."""


class Metrics:
    """All metrics of one worker; each attribute is called as its metric without the prefix and the unit's suffix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)  # CPU, memory, open files: process_*

        # What came in. Their sum over outcomes is the number of input records consumed and committed.
        self.records = self._counter(
            "records", "Input records by topic role and by what became of them.",
            topic_role=INPUT_ROLES, outcome=RECORD_OUTCOMES,
        )  # fmt: skip
        self.expiries = self._counter("expiries", "Evidence expiries applied.")
        self.dead_letters = self._counter("dead_letters", "Records set aside, by reason.", reason=REASONS)

        # What went out, counted when the transaction is committed.
        self.documents_published = self._counter("documents_published", "State documents and their tombstones written.")
        self.changes_published = self._counter(
            "changes_published", "State changes written, by the state entered.", state=(*STATES, "removed")
        )
        self.publication_delay_seconds = self._histogram(
            "publication_delay_seconds",
            "From the timestamp of the oldest record of a partition's batch to the commit of what it caused.",
            SECONDS_BUCKETS,
        )

        # How the work goes.
        self.transactions = self._counter("transactions", "Transactions by outcome.", outcome=TRANSACTION_OUTCOMES)
        self.transaction_seconds = self._histogram(
            "transaction_seconds", "From begin to the end of commit.", SECONDS_BUCKETS
        )
        self.store_seconds = self._histogram(
            "store_seconds", "From a commit to its results being in Redis.", SECONDS_BUCKETS
        )
        self.batch_records = self._histogram("batch_records", "Input records in one transaction.", RECORDS_BUCKETS)
        self.merge_waits = self._counter(
            "merge_waits", "Times that the merge waited for an input with records to come, or an open transaction."
        )
        self.merge_wait_overs = self._counter(
            "merge_wait_overs", "Times that it went on without them: order by time was not kept."
        )
        self.stream_time_lag_seconds = self._gauge(
            "stream_time_lag_seconds",
            "How far the slowest running partition is behind the clock; 0 while nothing comes in.",
        )
        self.last_turn_timestamp_seconds = self._gauge(
            "last_turn_timestamp_seconds", "When the loop turned last (Unix time); older than 30 s is stuck."
        )

        # Partitions and recovery.
        self.partitions = self._gauge("partitions", "Partitions of this worker, by state.", state=PARTITION_STATES)
        self.recoveries = self._counter(
            "recoveries", "Times that everything in memory was dropped and taken over again."
        )
        self.restores = self._counter("restores", "Restores of a partition's store.", kind=("tail", "full"))
        self.partitions_recomputing = self._gauge(
            "partitions_recomputing", "Running partitions of which everything is being decided again by newer rules."
        )
        self.recompute_left_records = self._gauge(
            "recompute_left_records", "Records of decision-state that are still to be looked at for that."
        )
        self.recomputed_documents = self._counter(
            "recomputed_documents", "Documents published again because rules or wording have changed, or on order."
        )
        self.restored_records = self._counter("restored_records", "Records read from the compacted topics to restore.")
        self.server_up = self._gauge("server_up", "1 while the server answered last time, else 0.", server=SERVERS)

        # All partitions, whoever has them, as `status` says it: each worker says the same, so take the maximum.
        self.partition_condition = self._by_partition(
            "partition_condition", "1 for how a partition is, 0 for what it is not.", "condition"
        )
        self.lag_records = self._by_partition("lag_records", "Records that wait, markers of transactions counted.")
        self.lag_seconds = self._by_partition("lag_seconds", "How long the oldest record that waits has waited.")
        self.store_behind_records = self._by_partition(
            "store_behind_records", "Records of the compacted topics that are not yet in Redis."
        )
        self.open_dead_letters = self._by_partition(
            "open_dead_letters", "Dead letters neither redriven nor dismissed, of the newest 5,000 offsets."
        )
        self.runs_overdue = self._gauge(
            "runs_overdue", "Restores that have been unfinished for too long, by state.", state=UNFINISHED
        )
        self.survey_timestamp_seconds = self._gauge(
            "survey_timestamp_seconds", "When all partitions were last looked at (Unix time); 0 never."
        )

    def _counter(self, name: str, meaning: str, **labels: Iterable[str]) -> Counter:
        counter = Counter(f"restore_projector_{name}", meaning, tuple(labels), registry=self.registry)
        _create_series(counter, labels)
        return counter

    def _gauge(self, name: str, meaning: str, **labels: Iterable[str]) -> Gauge:
        gauge = Gauge(f"restore_projector_{name}", meaning, tuple(labels), registry=self.registry)
        _create_series(gauge, labels)
        return gauge

    def _by_partition(self, name: str, meaning: str, *labels: str) -> Gauge:
        """Without series at first: how many partitions there are is known when they were looked at."""
        return Gauge(f"restore_projector_{name}", meaning, ("partition", *labels), registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"restore_projector_{name}", meaning, buckets=buckets, registry=self.registry)

    def exposition(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)


def _create_series(metric: Counter | Gauge, labels: dict[str, Iterable[str]]) -> None:
    combinations: list[dict[str, str]] = [{}]
    for label, values in labels.items():
        combinations = [{**given, label: value} for given in combinations for value in values]
    for combination in combinations if labels else ():
        metric.labels(**combination)
