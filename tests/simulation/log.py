"""`worker.ports.Log` on the broker's model, step by step as `worker.kafka.KafkaLog` does it on kafka-python.

Each request to the broker is a call of its own (`surroundings`), so a process may die, stand still or lose an answer
between any two of them. What a client knows of its group it knows from its own polls and heartbeats: it may be out of
date, and after an eviction its metadata is at first the old one, then (-1, '').
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeAlias

from contracts.events import Record
from tests.simulation.broker import Broker, Refused
from tests.simulation.surroundings import Late, Surroundings, T, carried_out
from worker.errors import Fenced, KafkaUnreachable, OffsetOutOfRange, RecordTooLarge
from worker.ports import Committed, Ends, LogSlice, Membership, Output, Position, TopicPartition

CALL_TIMEOUT_MS: Final = 12_000
"""As `worker.kafka.CALL_TIMEOUT_MS`."""
READ_TIMEOUT_MS: Final = 20

Future: TypeAlias = list[int] | Exception
"""What came of a request to write records of one partition: their offsets, or why not."""


class Metadata(NamedTuple):
    """What a client says to the group of itself."""

    generation: int
    member: str


NOBODY: Final = Metadata(-1, "")


class SimulatedLog:
    """One process's consumer, producer and reader."""

    def __init__(self, broker: Broker, around: Surroundings, instance: str | None, transactional_id: str) -> None:
        self._broker = broker
        self._around = around
        self._instance = instance
        self._transactional_id = transactional_id
        self._epoch: int | None = None
        self.metadata = NOBODY
        self.member: str | None = None
        self._stable = False
        self._assigned: frozenset[int] = frozenset()
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self.last_ends: dict[int, Ends] = {}

    def _call(self, call: str, work: Callable[[], T]) -> T:
        try:
            return carried_out(self._around, call, work)
        except Refused as refusal:
            if refusal.why == "FencedInstanceIdError":
                raise Fenced(f"another member has our instance {self._instance}") from refusal
            raise

    # The group's consumer

    def poll(self, timeout_ms: int) -> list[Record]:
        return self._call("poll", lambda: self._poll(timeout_ms))

    def _poll(self, timeout_ms: int) -> list[Record]:
        self._coordinate()
        polled: list[Record] = []
        for place, offset in self._positions.items():
            limit = 0 if place in self._paused else self._around.fetches(place)
            if limit:
                records, self._positions[place] = self._broker.logs[place].read(offset, limit)
                polled += records
        if not polled:
            self._around.idle(timeout_ms)
        return polled

    def _coordinate(self) -> None:
        """Join, take part in a rebalance, learn of the new generation: whatever the group asks for."""
        group, now = self._broker.group, self._around.time.now
        member = None if self.member is None else group.members.get(self.member)
        if member is None and self.member is not None:
            if any(self._instance is not None and m.instance == self._instance for m in group.members.values()):
                return  # Somebody has our place, which nobody tells us until we commit.
            self.member, self.metadata = None, NOBODY
        if member is None or not (group.stable or member.joined):
            self._revoke()
            self.member = group.join(self.member, self._instance, now)
        if group.stable and (not self._stable or self.metadata.generation != group.generation):
            self._revoke()
            assigned = group.assignment.get(self.member or "")
            if assigned is not None:
                self._assign(Metadata(group.generation, self.member or ""), assigned)

    def _revoke(self) -> None:
        self._stable = False
        self._assigned = frozenset()
        self._positions, self._paused = {}, set()

    def _assign(self, metadata: Metadata, numbers: frozenset[int]) -> None:
        self.metadata, self._assigned, self._stable = metadata, numbers, True
        self._positions = {(topic, number): 0 for topic in self._broker.topics.inputs for number in sorted(numbers)}
        self._paused = set(self._positions)

    @property
    def is_stable(self) -> bool:
        """Whether it believes to be in the group."""
        return self._stable

    def membership(self) -> Membership | None:
        self._hear()
        if not self._stable:
            return None
        return Membership(self.metadata.generation, self.metadata.member, self._assigned, self.metadata)

    def _hear(self) -> None:
        """What the heartbeat has told since the last poll, if it has."""
        group = self._broker.group
        if self.member is None or not self._around.hears():
            return
        if self.member not in group.members:
            if self._instance is None or not any(m.instance == self._instance for m in group.members.values()):
                self._stable, self.metadata = False, NOBODY
        elif not group.stable or self.metadata.generation != group.generation:
            self._stable = False

    def committed(self, partitions: Iterable[int]) -> Mapping[TopicPartition, Committed]:
        places = [(topic, number) for number in partitions for topic in self._broker.topics.inputs]
        offsets = self._await("committed", lambda: self._stable_offsets(places))
        found = {}
        for place in places:
            high = self._broker.logs[place].end
            found[place] = committed = offsets.get(place, Committed(0, 0, by="nobody"))
            if not 0 <= committed.offset <= high:
                raise OffsetOutOfRange(*place, committed.offset, 0, high)
        return found

    def _stable_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, Committed] | None:
        offsets = self._broker.stable_offsets(places)
        if offsets is None:
            self._around.met("waited for pending offsets")
        return offsets

    def _await(self, call: str, ask: Callable[[], T | None]) -> T:
        """Ask until there is an answer; in vain for as long as a call may last, it is given up."""
        until = self._around.time.now + CALL_TIMEOUT_MS
        answer = self._call(call, ask)
        while answer is None:
            if self._around.time.now > until:
                raise KafkaUnreachable("kafka", f"{call} did not end within {CALL_TIMEOUT_MS} ms")
            self._around.wait(20)
            answer = ask()
        return answer

    def resume_at(self, offsets: Mapping[TopicPartition, int]) -> None:
        for place, offset in offsets.items():
            if place not in self._positions:
                raise Refused("IllegalStateError: a partition that is not assigned")
            self._positions[place] = offset
            self._paused.discard(place)

    def pause(self, inputs: Iterable[TopicPartition]) -> None:
        self._paused.update(place for place in inputs if place in self._positions)

    def resume(self, inputs: Iterable[TopicPartition]) -> None:
        self._paused.difference_update(inputs)

    def next_offset(self, input: TopicPartition) -> int:
        if input not in self._positions:
            raise Refused("IllegalStateError: a partition that is not assigned")
        return self._positions[input]

    def input_ends(self, inputs: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return self._call("input_ends", lambda: {place: self._end(place, committed=False) for place in inputs})

    def _end(self, place: TopicPartition, *, committed: bool) -> int:
        log = self._broker.logs[place]
        return log.stable_end if committed else log.end

    # The compacted topics

    def log_id(self) -> str:
        return self._call("log_id", lambda: "topics")

    def ends(self, partitions: Sequence[int]) -> Mapping[int, Ends]:
        self.last_ends = self._call("ends", lambda: {number: self._ends(number) for number in partitions})
        return self.last_ends

    def _ends(self, number: int) -> Ends:
        state, internal = (self._broker.logs[place] for place in self._compacted(number))
        if state.stable_end < state.end or internal.stable_end < internal.end:
            self._around.met("took over under an open transaction")
        return Ends(0, 0, state.end, internal.end)

    def _compacted(self, number: int) -> tuple[TopicPartition, TopicPartition]:
        return (self._broker.topics.decision_state, number), (self._broker.topics.internal, number)

    def read(self, positions: Mapping[int, Position]) -> Mapping[int, LogSlice]:
        slices = self._call("read", lambda: {number: self._read(number, at) for number, at in positions.items()})
        if all(
            (s.next_state, s.next_internal) == (positions[n].state, positions[n].internal) for n, s in slices.items()
        ):
            self._around.wait(READ_TIMEOUT_MS)
        return slices

    def _read(self, number: int, at: Position) -> LogSlice:
        state, internal = self._compacted(number)
        states, next_state = self._broker.logs[state].read(at.state, self._around.fetches(state))
        internals, next_internal = self._broker.logs[internal].read(at.internal, self._around.fetches(internal))
        return LogSlice(states, internals, next_state, next_internal)

    # The producer

    def new_producer(self) -> None:
        self._epoch = None
        self._epoch = self._await("new_producer", lambda: self._broker.begin_producer(self._transactional_id))

    def publish(
        self, outputs: Sequence[Output], offsets: Mapping[TopicPartition, Committed], token: Any
    ) -> Sequence[int]:
        self.begin()
        written = checked(outputs, self.send(outputs))
        self.send_offsets(offsets, token)
        self.commit()
        return written

    def begin(self) -> None:
        """The first request that goes to the coordinator waits until the transaction before has ended everywhere."""
        self._await("begin", lambda: True if not self._broker.is_busy(self._transactional_id) else None)

    def send(self, outputs: Sequence[Output]) -> dict[TopicPartition, Future]:
        """Everything is written when this returns, or it is known of what that is not so: send and flush."""
        return {place: self.produce(some) for place, some in by_place(outputs).items()}

    def produce(self, outputs: Sequence[Output]) -> Future:
        """One request, for one partition."""
        producer = self._transactional_id, self.epoch
        try:
            return self._request("produce", lambda begin: self._broker.produce(*producer, outputs, begin=begin))
        except (KafkaUnreachable, Refused) as error:
            return error

    def send_offsets(self, offsets: Mapping[TopicPartition, Committed], token: Metadata) -> None:
        producer = self._transactional_id, self.epoch
        self._call(
            "send_offsets",
            lambda: self._broker.add_offsets(*producer, dict(offsets), token.generation, token.member, self._instance),
        )

    def commit(self) -> None:
        epoch = self.epoch
        self._request("commit", lambda _: self._broker.end(self._transactional_id, epoch, "commit"))

    def _request(self, call: str, work: Callable[[bool], T]) -> T:
        """A request that may be given up here and land there nevertheless."""
        try:
            return self._call(call, lambda: work(True))
        except Late as late:
            self._around.later(late.delay_ms, lambda: self._land(call, work))
            raise KafkaUnreachable("kafka", f"{call}: no answer") from late

    def _land(self, call: str, work: Callable[[bool], object]) -> None:
        with suppress(Refused):
            work(False)
            self._around.met(f"a late {call} was taken")
            return
        self._around.met(f"a late {call} was refused")

    @property
    def epoch(self) -> int:
        if self._epoch is None:
            raise Refused("there is no producer")
        return self._epoch

    def close(self) -> None:
        """Leave the group; a static member stays in it until its session ends."""
        if self.member is not None and self._instance is None:
            self._broker.group.leave(self.member, self._around.time.now)


def by_place(outputs: Sequence[Output]) -> dict[TopicPartition, list[Output]]:
    """Outputs by partition, each in order."""
    sorted_out: dict[TopicPartition, list[Output]] = {}
    for output in outputs:
        sorted_out.setdefault((output.topic, output.partition), []).append(output)
    return sorted_out


def checked(outputs: Sequence[Output], futures: Mapping[TopicPartition, Future]) -> list[int]:
    """Each output's offset; raises what any future failed with, RecordTooLarge first."""
    failed = [future for future in futures.values() if isinstance(future, Exception)]
    for place, future in futures.items():
        if isinstance(future, Refused) and future.why == "MessageSizeTooLargeError":
            raise RecordTooLarge(place[0]) from future
    if failed:
        raise failed[0]
    left = {place: iter(future) for place, future in futures.items() if not isinstance(future, Exception)}
    return [next(left[output.topic, output.partition]) for output in outputs]
