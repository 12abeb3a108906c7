"""One turn after another: poll, merge, decide, publish, store.

    poll ─▶ merge by timestamp ─▶ guarded read ─▶ apply ─▶ one transaction ─▶ one script per partition ─▶ again

One thread, synchronously; a transaction is never open while polling, so a rebalance never finds one. Fetching goes on
meanwhile, so batches grow by themselves when there is much to do and are small when there is little.

There is one way to recover. Whatever goes wrong, be it a transaction whose result is unknown, a store that is
elsewhere, a lost server, an exception nobody thought of, the worker drops all it knows in memory and takes its
partitions over again, as at the start and as after every rebalance: a new producer under the same transactional id,
which ends whatever transaction was open; the committed offsets; the ends of the compacted topics; the store's position;
and what lies between them is restored. So the same few steps are exercised all the time, and no error needs an
understanding of its own.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from contracts.events import Record, Rejected
from contracts.topics import Topics
from projections import rules
from projections.advance import Input
from projections.inputs import InputDecoder
from worker.batch import Batch, Batcher
from worker.errors import (
    BatchSplit,
    DecidedByNewer,
    Fenced,
    OffsetOutOfRange,
    OffsetWentBack,
    PartitionStopped,
    RecordTooLarge,
    StoreDamaged,
    Unfit,
    Unstable,
)
from worker.merge import Merge
from worker.observer import Observer
from worker.partition import Partition, Phase
from worker.policies import completed, found_policies, refuse_newer, touched
from worker.ports import (
    Clock,
    Committed,
    Log,
    Membership,
    Output,
    Policies,
    Position,
    Store,
    Stored,
    StoreStatus,
    TopicPartition,
)
from worker.recompute import SLICE_RUNS, TELL_S, Recompute
from worker.restore import is_copy_of, restore_slices, starting_position
from worker.suspects import Suspects

POLL_TIMEOUT_MS: Final = 500
"""How long an idle poll waits; it returns at once when there is data (measured: 1 to 4 % of a core idle)."""
UNSTABLE_POLL_MS: Final = 500
"""A join that ends outside `poll` is lost, so while the group is not stable nothing but long polls is done."""
RESTORE_BUDGET_S: Final = 1.0
"""How long a turn may restore before polling again, so that the membership is kept and other partitions go on."""
LOOK_S: Final = 5.0
"""How often an idle partition makes sure that its store is where it was left, so that a wiped one is restored soon, and
that Kafka answers, so that it is said when it does not."""
TOUCH_MS: Final = 600_000
"""How often the store of a quiet partition is said to be up to date: often within `worker.restore.TAIL_MAX_AGE_MS`."""
IDLE_DELAY_MS: Final = 1_000
"""How far behind the clock the stream time of an idle partition stays: longer than a record needs to become visible."""
PAUSE_BYTES: Final = 1 << 20
"""An input with this much buffered is not fetched until some of it is merged."""
BACKOFF_S: Final = (0.2, 5.0)
"""Shortest and longest wait before taking over again after an error; doubled each time, with jitter."""
LOOK_AGAIN_S: Final = 30.0
"""How often all is taken over again to see whether Kafka tells the right offsets of a partition by now: a broker
restarts in less, and the other partitions stand still for less than a second meanwhile."""
NOWHERE: Final = Position("", 0, 0)
"""Of the store of a partition that is stopped: it is left as it is, and nobody restores it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one turn, and of memory.

    `batch_records`: of all partitions together. `deletion_memory_ms`: in stream time; None: the default.
    """

    batch_records: int = 5_000
    merge_wait_s: float = 30.0
    unstable_exit_s: float = 90.0
    deletion_memory_ms: int | None = None


@dataclass(slots=True)
class _Trouble:
    """What is remembered of errors from one take-over to the next."""

    backoff_s: float = BACKOFF_S[0]
    retry_at: float = 0.0
    damaged: set[int] = field(default_factory=set)
    newer: dict[int, DecidedByNewer] = field(default_factory=dict)


class Worker:
    """The loop over a log and a store. Call `turn` until it should end, then `close` the log."""

    def __init__(
        self,
        log: Log,
        store: Store,
        clock: Clock,
        inputs: InputDecoder,
        topics: Topics,
        observer: Observer,
        limits: Limits | None = None,
    ) -> None:
        self._log = log
        self._store = store
        self._clock = clock
        self._inputs = inputs
        self._topics = topics
        self._observer = observer
        self._limits = limits or Limits()
        self._batcher = Batcher(store, self._to_input, topics, self._limits.deletion_memory_ms)
        self._membership: Membership | None = None
        self._partitions: dict[int, Partition] = {}
        self._unstable_since: float | None = None
        self._trouble = _Trouble()
        self._suspects = Suspects()
        self._in_hand: list[Batch] = []
        self._turn_began_ms = 0

    @property
    def partitions(self) -> Sequence[Partition]:
        return list(self._partitions.values())

    def turn(self) -> None:
        """One turn. Raises only what ends the process: Fenced, Unfit, Unstable."""
        try:
            self._turn()
        except (Fenced, Unfit, Unstable):
            raise
        except Exception as error:  # noqa: BLE001  there is one way to recover, whatever it was
            self._recover(error)
        self._observer.turned(self.partitions)

    def _turn(self) -> None:
        self._turn_began_ms = self._clock.now_ms()
        records = self._log.poll(self._poll_timeout_ms())
        membership = self._log.membership()
        if membership is None:
            self._wait_for_group()
            return
        self._unstable_since = None
        if self._clock.monotonic() < self._trouble.retry_at:
            return
        if self._membership != membership or self._should_look_again():
            self._take_over(membership)
            records = []
        self._buffer(records)
        self._restore()
        self._publish(self._batches())
        self._recompute()
        self._control_flow()

    def _poll_timeout_ms(self) -> int:
        """No waiting while there is something to do besides."""
        if self._membership is None or self._unstable_since is not None:
            return UNSTABLE_POLL_MS
        busy = any(
            p.phase is Phase.RESTORING or p.recompute is not None or (len(p.merge) and p.waiting_since is None)
            for p in self.partitions
        )
        return 0 if busy else min(POLL_TIMEOUT_MS, self._until_next_deadline_ms())

    def _until_next_deadline_ms(self) -> int:
        dues = [p.next_due for p in self.partitions if p.phase is Phase.RUNNING and p.next_due is not None]
        if not dues:
            return POLL_TIMEOUT_MS
        return max(200, min(dues) + IDLE_DELAY_MS - self._clock.now_ms())

    def _wait_for_group(self) -> None:
        self._membership = None
        self._partitions = {}
        self._observer.lost()
        now = self._clock.monotonic()
        if self._unstable_since is None:
            self._unstable_since = now
        if now - self._unstable_since > self._limits.unstable_exit_s:
            raise Unstable(f"the consumer group was not stable for {self._limits.unstable_exit_s:.0f} s")

    # Recovering and taking over

    def _recover(self, error: Exception) -> None:
        """Forget everything, wait a little, take over again."""
        trouble = self._trouble
        delay = trouble.backoff_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
        trouble.retry_at = self._clock.monotonic() + delay
        if isinstance(error, RecordTooLarge):
            # Every time brings the culprit nearer, as BatchSplit does what fits: no reason to wait longer and longer.
            for run in self._suspects.refused(self._in_hand):
                self._observer.passed_over(run)
        elif not isinstance(error, BatchSplit):
            trouble.backoff_s = min(trouble.backoff_s * 2, BACKOFF_S[1])
        if isinstance(error, StoreDamaged):
            trouble.damaged.add(error.partition)
        if isinstance(error, DecidedByNewer):
            trouble.newer[error.partition] = error
        self._log.pause((topic, number) for number in self._partitions for topic in self._topics.inputs)
        self._membership = None
        self._partitions = {}
        self._observer.recovering(error, delay)

    def _to_input(self, record: Record) -> Input:
        if self._suspects.is_culprit(record):
            reason = "expected an event whose outputs Kafka takes, got one that makes a larger record"
            return Input(Rejected("too_large", reason), record.timestamp, record)
        return self._inputs.decode(record)

    def _should_look_again(self) -> bool:
        now = self._clock.monotonic()
        return any(p.look_again_at is not None and now >= p.look_again_at for p in self.partitions)

    def _take_over(self, membership: Membership) -> None:
        self._membership = None
        self._partitions = {}
        numbers = sorted(membership.partitions)
        self._log.pause((topic, number) for number in numbers for topic in self._topics.inputs)
        self._log.new_producer()
        # Before the offsets: what was committed with them is not newer. And before the ends: see `starting_position`.
        statuses = {n: self._store.status(n) for n in numbers}
        committed: dict[int, dict[str, Committed] | OffsetOutOfRange] = {n: self._committed(n) for n in numbers}
        ends = self._log.ends(numbers)
        log_id = self._log.log_id()
        for number in numbers:
            partition = Partition(number, Merge(self._topics.inputs), {}, 0, ends[number], NOWHERE)
            self._partitions[number] = partition
            try:
                self._begin_restore(partition, committed[number], statuses[number], log_id)
            except PartitionStopped as error:
                self._stop(partition, error)
        self._membership = membership
        self._observer.taken_over(membership.generation, self.partitions)

    def _begin_restore(
        self,
        partition: Partition,
        offsets: Mapping[str, Committed] | OffsetOutOfRange,
        status: StoreStatus | None,
        log_id: str,
    ) -> None:
        """Find where the partition stands, in Kafka and in the store. Raises PartitionStopped."""
        number = partition.number
        if isinstance(offsets, OffsetOutOfRange):
            raise offsets
        if (found_out := self._trouble.newer.pop(number, None)) is not None:
            raise found_out
        partition.policies = found_policies(offsets.values(), status)
        refuse_newer(number, partition.policies)
        if (doubt := _doubt(partition, status, offsets, log_id)) is not None:
            raise doubt
        partition.position, reason = starting_position(
            self._store,
            number,
            status,
            partition.ends,
            log_id,
            self._clock.now_ms(),
            distrusted=number in self._trouble.damaged,
        )
        if reason is None and status is not None:
            partition.applied_at = status.applied_at
        else:  # what others have published until the store was removed is to be in it as well
            partition.applied_at = self._turn_began_ms
            partition.ends = self._log.ends([number])[number]
        self._trouble.damaged.discard(number)
        partition.offsets = {topic: c.offset for topic, c in offsets.items()}
        partition.stream_time = max(c.stream_time for c in offsets.values())
        partition.become(Phase.RESTORING)
        self._observer.restoring(partition, reason)

    def _stop(self, partition: Partition, error: PartitionStopped) -> None:
        """The partition stands still, the others go on; when it is taken over again, it is looked at anew."""
        partition.become(Phase.STOPPED)
        partition.stopped_by = error
        if isinstance(error, OffsetWentBack):
            partition.look_again_at = self._clock.monotonic() + LOOK_AGAIN_S
        self._observer.stopped(error)

    def _committed(self, number: int) -> dict[str, Committed] | OffsetOutOfRange:
        try:
            return {topic: c for (topic, _), c in self._log.committed([number]).items()}
        except OffsetOutOfRange as error:
            return error

    def _restore(self) -> None:
        """Restore for a while; a partition whose store has caught up begins to run."""
        until = self._clock.monotonic() + RESTORE_BUDGET_S
        restoring = [p for p in self.partitions if p.phase is Phase.RESTORING]
        while restoring and self._clock.monotonic() < until:
            try:
                counts = restore_slices(self._log, self._store, self._clock, restoring)
            except DecidedByNewer as error:
                self._stop(self._partitions[error.partition], error)
                counts = {}
            for number, count in counts.items():
                self._observer.restored_slice(number, count)
                if self._partitions[number].is_restored:
                    self._run(self._partitions[number])
            restoring = [p for p in restoring if p.phase is Phase.RESTORING]

    def _run(self, partition: Partition) -> None:
        self._look_at_store(partition)
        self._log.resume_at({(topic, partition.number): offset for topic, offset in partition.offsets.items()})
        partition.become(Phase.RUNNING)
        self._observer.running(partition)
        if partition.policies.complete < rules.POLICY:
            self._begin_recompute(partition)

    # Deciding again

    def _begin_recompute(self, partition: Partition) -> None:
        """All that the log holds by now was decided with an older policy, or may have been; see `worker.recompute`."""
        end, low = partition.position.state, partition.ends.low_state
        begin = max(low, partition.policies.reached)
        if begin >= end:
            partition.policies = completed(partition.policies)
            return
        now = self._clock.monotonic()
        at = Position("", begin, partition.position.internal)
        partition.recompute = Recompute(low, at, end, began_at=now, told_at=now)
        self._observer.recomputing(partition)

    def _recompute(self) -> None:
        """A slice of one partition, in a transaction of its own beside the live ones."""
        running = [p for p in self.partitions if p.recompute is not None]
        if not running or any(p.phase is Phase.RESTORING for p in self.partitions):
            return
        partition = running[0]
        work = partition.recompute
        assert work is not None, "chosen by it"
        if not work.pending and not work.is_read:
            work.take(self._log.read({partition.number: work.at})[partition.number])
            work.pass_over(self._suspects.passed_over)
        limit = self._suspects.slice_runs(partition.number, SLICE_RUNS)
        batch = self._batcher.recompute(partition, list(islice(work.pending, limit)))
        for _ in batch.again:
            work.pending.popleft()
        self._publish_recomputed(partition, work, batch)

    def _publish_recomputed(self, partition: Partition, work: Recompute, batch: Batch) -> None:
        """What differs is published at once; how far it has come now and then, and that it is done."""
        now = self._clock.monotonic()
        done = work.is_read and not work.pending
        if not (batch.outputs or done or now - work.told_at >= TELL_S):
            return
        policies = replace(touched(partition.policies), reached=work.reached)
        batch.policies = completed(policies) if done else policies
        self._publish([batch])
        work.told_at = now
        work.published += batch.effects.counts["recomputed"]
        if done:
            partition.recompute = None
            self._observer.recomputed(partition, work)

    # Merging

    def _buffer(self, records: Sequence[Record]) -> None:
        for record in records:
            partition = self._partitions.get(record.partition)
            if partition is not None and partition.phase is Phase.RUNNING:
                partition.merge.add(record)

    def _batches(self) -> list[Batch]:
        running = [p for p in self.partitions if p.phase is Phase.RUNNING]
        busy = [p for p in running if len(p.merge)]
        idle = [p for p in running if not len(p.merge)]
        for partition in busy:
            limit = self._suspects.limit(partition.number)
            if limit is not None and (alone := self._record_batches([partition], limit)):
                return alone
        busy = [p for p in busy if self._suspects.limit(p.number) is None]
        share = max(1, self._limits.batch_records // max(1, len(busy)))
        return self._record_batches(busy, share) + self._deadline_batches(idle)

    def _record_batches(self, partitions: Sequence[Partition], limit: int) -> list[Batch]:
        """Batches, each of at most `limit` records, of what is buffered and known to be next."""
        if not partitions:
            return []
        ended = self._ended(partitions)
        batches = []
        for partition in partitions:
            if not self._may_go_on(partition, ended[partition.number]):
                continue
            records = partition.merge.take(limit, ended[partition.number])
            batch = self._batcher.prepare(partition, records, self._clock.now_ms())
            partition.merge.give_back(records[len(batch.taken) :])
            batches.append(batch)
        return batches

    def _ended(self, partitions: Sequence[Partition]) -> dict[int, list[str]]:
        """Of each partition, the inputs that hold nothing which was not polled yet, not even in open transactions."""
        inputs = [(topic, p.number) for p in partitions for topic in self._topics.inputs]
        ends = self._log.input_ends(inputs) if inputs else {}
        ended: dict[int, list[str]] = {p.number: [] for p in partitions}
        for topic, number in inputs:
            if self._log.next_offset((topic, number)) >= ends[topic, number]:
                ended[number].append(topic)
        return ended

    def _may_go_on(self, partition: Partition, ended: list[str]) -> bool:
        """Whether no empty input may still hold the next record; what does not come is not waited for for ever.

        What an open transaction holds back was appended before what comes later in other inputs, and is to be decided
        before it. An input that was waited for in vain is not waited for again before it has moved.
        """
        missing = [topic for topic in partition.merge.empty() if topic not in ended]
        places = {topic: self._log.next_offset((topic, partition.number)) for topic in missing}
        now = self._clock.monotonic()
        if all(partition.given_up.get(topic) == at for topic, at in places.items()):
            partition.waiting_since = None
            ended.extend(missing)
            return True
        if partition.waiting_since is None:
            partition.waiting_since = now
            self._observer.waiting_for_input()
        if now - partition.waiting_since < self._limits.merge_wait_s:
            return False
        self._observer.waited_in_vain(partition.number, missing, now - partition.waiting_since)
        partition.waiting_since = None
        partition.given_up |= places
        ended.extend(missing)
        return True

    def _deadline_batches(self, partitions: Sequence[Partition]) -> list[Batch]:
        """Batches of what fell due in partitions that have nothing to read, not even in open transactions."""
        unseen = [p for p in partitions if self._clock.monotonic() - p.looked_at >= LOOK_S]
        self._ended(unseen)  # raises if Kafka is away, which polling does not
        for partition in unseen:
            self._look_at_store(partition)
        until = self._clock.now_ms() - IDLE_DELAY_MS
        due = [p for p in partitions if p.next_due is not None and p.next_due <= until]
        if not due:
            return []
        ended = self._ended(due)
        idle = [p for p in due if len(ended[p.number]) == len(self._topics.inputs)]
        batches = [self._batcher.prepare(p, (), self._clock.now_ms(), until) for p in idle]
        for batch in batches:
            if not batch.outputs:  # The deadline that was remembered is no longer there.
                self._look_at_store(batch.partition)
        return [batch for batch in batches if batch.outputs]

    def _look_at_store(self, partition: Partition) -> None:
        """Find the earliest deadline, or that the store is elsewhere; say now and then that it is up to date."""
        partition.next_due = self._store.next_due(partition.number, partition.position)
        partition.looked_at = self._clock.monotonic()
        if self._turn_began_ms - partition.applied_at >= TOUCH_MS:
            self._apply(partition, partition.position, ())

    # Publishing

    def _publish(self, batches: list[Batch]) -> None:
        """One transaction for all partitions, then each partition's store."""
        if not batches:
            return
        assert self._membership is not None
        self._in_hand = batches
        began = self._clock.monotonic()
        outputs: list[Output] = [output for batch in batches for output in batch.outputs]
        offsets = {k: v for batch in batches for k, v in self._offsets_after(batch).items()}
        try:
            written = self._log.publish(outputs, offsets, self._membership.token)
        except Exception:
            self._observer.failed_transaction()
            raise
        committed_at = self._clock.monotonic()
        self._observer.published(batches, committed_at - began)
        at = 0
        for batch in batches:
            number = batch.partition.number
            batch.partition.offsets = {topic: c.offset for (topic, of), c in offsets.items() if of == number}
            self._store_batch(batch, written[at : at + len(batch.outputs)])
            at += len(batch.outputs)
            batch.partition.policies = _policies_after(batch)
            self._suspects.went_through(batch)
        self._in_hand = []  # let go before the next ones are made: they are most of what is in memory
        self._trouble.backoff_s = BACKOFF_S[0]
        self._observer.stored(self._clock.monotonic() - committed_at)

    def _offsets_after(self, batch: Batch) -> dict[TopicPartition, Committed]:
        """The next offset of every input of a batch's partition; an empty buffer has passed the markers as well."""
        partition = batch.partition
        after: dict[TopicPartition, Committed] = {}
        for topic in self._topics.inputs:
            buffered = partition.merge.next_offset(topic)
            if buffered is None:
                buffered = max(self._log.next_offset((topic, partition.number)), partition.offsets[topic])
            after[topic, partition.number] = Committed(buffered, batch.stream_time, _policies_after(batch))
        return after

    def _store_batch(self, batch: Batch, written: Sequence[int]) -> None:
        partition = batch.partition
        after = batch.position_after(written, self._topics)
        policy = _newly_touched(batch)
        if batch.outputs or policy is not None:
            self._apply(partition, after, batch.writes, policy)
        partition.stream_time = batch.stream_time
        if partition.next_due is not None and partition.next_due <= batch.stream_time:
            self._look_at_store(partition)
        dues = [due for due in (partition.next_due, batch.earliest_due) if due is not None]
        partition.next_due = min(dues, default=None)

    def _apply(
        self, partition: Partition, after: Position, writes: Sequence[Stored], policy: int | None = None
    ) -> None:
        """Write and move on, as of when this turn began: who has slept since does not know what the log holds now."""
        self._store.apply(
            partition.number,
            partition.position,
            after,
            writes,
            restoring=False,
            applied_at=self._turn_began_ms,
            policy=policy,
            offsets=partition.offsets,
        )
        partition.position, partition.applied_at = after, self._turn_began_ms

    def _control_flow(self) -> None:
        """Before the next poll: do not fetch what would only lie in memory, and fetch again what no longer would."""
        for partition in self.partitions:
            if not (len(partition.merge) or partition.paused):
                continue
            for topic in self._topics.inputs:
                full = partition.merge.buffered_bytes(topic) >= PAUSE_BYTES
                if full and topic not in partition.paused:
                    self._log.pause([(topic, partition.number)])
                    partition.paused.add(topic)
                elif not full and topic in partition.paused:
                    self._log.resume([(topic, partition.number)])
                    partition.paused.remove(topic)


def _doubt(
    partition: Partition, status: StoreStatus | None, offsets: Mapping[str, Committed], log_id: str
) -> OffsetWentBack | None:
    """Why these offsets are not what was committed: a store that is a copy of this log is a second witness.

    Who resets offsets is believed.
    """
    if status is None or not is_copy_of(status, partition.ends, log_id):
        return None
    for topic, known in status.offsets.items():
        told = offsets.get(topic)
        if told is not None and told.offset < known and told.by != "other":
            return OffsetWentBack(topic, partition.number, told.offset if told.by == "worker" else None, known)
    return None


def _policies_after(batch: Batch) -> Policies:
    """As a batch says, or as they are; whoever publishes anything has touched the partition."""
    policies = batch.partition.policies if batch.policies is None else batch.policies
    return touched(policies) if batch.outputs else policies


def _newly_touched(batch: Batch) -> int | None:
    """The policy that the store is to name from now on; None if that stays."""
    after = _policies_after(batch).touched
    return None if after == batch.partition.policies.touched else after
