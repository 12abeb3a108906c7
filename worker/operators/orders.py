"""Writing orders, and waiting until the workers have taken them.

Orders are written by an idempotent producer, each acknowledged, outside of any transaction: what is written may be
taken at once, and an interrupted command has written the first so many of its orders. The workers have *taken* an order
when the offset that their group has committed for its partition of the ops topic has passed it: what came of it was
committed in the same transaction, and `worker.operators.outcome` reads it.
"""

from __future__ import annotations

import getpass
import secrets
import socket
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Self

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorError,
    TopicAuthorizationFailedError,
)

from contracts.orders import RANDOM_BYTES, Order, Trail, request_name
from worker.errors import KafkaUnreachable, ProjectorError, RecordTooLarge, Refused, Unfit
from worker.kafka import CONNECTION_OPTIONS, BoundedProducer
from worker.kafka_clients import make_client
from worker.ports import Output
from worker.refusals import refusal_of, unreachable
from worker.settings import KafkaSettings, Settings
from worker.topics import KAFKA_MAX_MESSAGE_BYTES, kafka_admin, read_topics

CLIENT_ID: Final = "restore-projector-operator"
DELIVERY_TIMEOUT_MS: Final = 30_000
"""How long a broker may be away while orders are written: an election takes some seconds, and a person waits."""
WAITING_ORDERS: Final = 10_000
WAITING_BYTES: Final = 32 << 20
"""What is handed over and not yet acknowledged, at most: what bounds memory, and how much a Ctrl-C waits for."""
CLOSE_TIMEOUT_S: Final = 5.0
LOOK_AGAIN_S: Final = 0.2
"""Between looks at what the workers have taken; a batch of theirs takes some ms up to half a second."""

OUTLAST_S: Final = 300.0
"""How long Kafka may be away while the workers are waited for: a broker that was killed restores its logs first."""

PRODUCER_OPTIONS: Final[dict[str, Any]] = {
    "enable_idempotence": True,
    "acks": "all",
    "linger_ms": 5,
    "compression_type": "lz4",
    "delivery_timeout_ms": DELIVERY_TIMEOUT_MS,
    "request_timeout_ms": 10_000,
    "max_block_ms": DELIVERY_TIMEOUT_MS,
    "metrics_enabled": False,
    **CONNECTION_OPTIONS,
}


def new_trail(reason: str = "", actor: str | None = None, request: str | None = None) -> Trail:
    """A trail of its own, or of the invocation `request` that is gone on with. Who: `actor`, else user@host."""
    began_ms = time.time_ns() // 1_000_000
    return Trail(actor or whoami(), reason, request or request_name(began_ms, secrets.token_bytes(RANDOM_BYTES)))


def whoami() -> str:
    """The user of this process and the machine's name: `user@host`."""
    user = "unknown"
    with suppress(KeyError, OSError):  # a user id without a name, as in some containers
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


class OrderWriter:
    """Writes orders into the ops topic, each with the same trail.

    Construction raises KafkaUnreachable, Refused, and Unfit if the topic is not there. `partitions`: how many it has.
    """

    def __init__(self, settings: Settings, trail: Trail) -> None:
        self._settings = settings.kafka
        self._topic = settings.topic_names.ops
        self._trail = trail.headers
        topic = read_topics(settings).get(self._topic)
        if topic is None:
            raise Unfit(f"{self._topic} does not exist: `restore-projector topics create` makes it")
        self.partitions = topic.partitions
        self._max_bytes = int(topic.configs.get("max.message.bytes", KAFKA_MAX_MESSAGE_BYTES))
        self._waiting: deque[tuple[int, int, Any]] = deque()
        self._waiting_bytes = 0
        self.written: Counter[int] = Counter()
        """How many orders were acknowledged, by partition."""
        self.ends: dict[int, int] = {}
        """Of each partition with an order, the offset behind the last one that was acknowledged."""
        self.times: defaultdict[int, set[int]] = defaultdict(set)
        """Of each partition, the timestamps of its orders in ms: one for each batch, however many orders are in it."""
        try:
            self._producer = make_client(
                BoundedProducer,
                client_id=CLIENT_ID,
                max_request_size=max(self._max_bytes, KAFKA_MAX_MESSAGE_BYTES),
                **PRODUCER_OPTIONS,
                **self._settings.client_options(),
            )
        except KafkaError as error:
            raise self._translated(error) from error

    def send(self, order: Order) -> None:
        """Hand an order over; may wait for earlier ones, and raises what kept one of them from being written.

        Raises RecordTooLarge for an order that the topic does not take; those before and after it are not affected.
        """
        headers = (*order.headers, *self._trail)
        size = self._size(order, headers)
        if size > self._max_bytes:
            raise RecordTooLarge(self._topic, size_bytes=size, limit_bytes=self._max_bytes)
        while self._waiting and (self._is_full(size) or self._waiting[0][2].is_done):
            self._settle()
        try:
            future = self._producer.send_any(Output(self._topic, order.partition, order.key, order.value, headers))
        except KafkaError as error:
            raise self._translated(error) from error
        self._waiting.append((order.partition, size, future))
        self._waiting_bytes += size

    def flush(self) -> None:
        """Wait until all that was handed over is written; raises what kept an order from it."""
        while self._waiting:
            self._settle()

    def _is_full(self, size: int) -> bool:
        return len(self._waiting) >= WAITING_ORDERS or self._waiting_bytes + size > WAITING_BYTES

    def _settle(self) -> None:
        """Wait for the oldest of those that wait."""
        partition, size, future = self._waiting[0]
        try:
            written = future.get(timeout=2 * DELIVERY_TIMEOUT_MS / 1000)
        except KafkaError as error:
            raise self._translated(error) from error
        self._waiting.popleft()
        self._waiting_bytes -= size
        self.written[partition] += 1
        self.ends[partition] = max(self.ends.get(partition, 0), int(written.offset) + 1)
        if written.timestamp is not None:
            self.times[partition].add(int(written.timestamp))

    def _size(self, order: Order, headers: tuple[tuple[str, bytes], ...]) -> int:
        """The size of a batch with this order alone, not compressed, as Kafka compares it with the topic's limit.

        That of the largest numbers: it may be some bytes too much, and is never too little.
        """
        named = sum(len(name.encode(errors="replace")) + len(value or b"") + 2 * _VARINT for name, value in headers)
        return _BATCH_BYTES + len(order.key or b"") + len(order.value or b"") + named

    def _translated(self, error: KafkaError) -> ProjectorError:
        if isinstance(error, TopicAuthorizationFailedError):
            return Refused(refusal_of("Write", "topic", self._topic))
        return unreachable(self._settings, error)

    def close(self) -> None:
        """Give up what is not written within some seconds; `flush` first to be sure."""
        self._producer.close(timeout=CLOSE_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


_VARINT: Final = 5
"""Bytes of the longest length in a record, which are varints of 32 bits."""
_BATCH_BYTES: Final = 61 + 5 + 1 + 10 + 5 + 5 + 5 + 5
"""A batch's header; a record's length, attributes, timestamp and offset delta, lengths of key and value, count of
headers (Kafka's protocol, record format 2)."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What the workers have not taken yet.

    `orders`: records of the ops topic up to our last ones, at most (other operators' orders and markers count as well).
    `partitions`: those in which they are. `workers`: how many members the group has; None where Kafka does not tell.
    `away`: why Kafka tells nothing at all just now; the others are then as they were known last.
    """

    orders: int
    partitions: tuple[int, ...]
    workers: int | None
    away: str | None = None

    @property
    def reason(self) -> str:
        """What is waited for, in words."""
        if self.away is not None:
            return f"all orders are written, and until Kafka is back nobody takes them: {self.away}"
        if self.workers == 0:
            return "no worker is running: `restore-projector run` starts one, and it takes what is there"
        named = ", ".join(map(str, self.partitions[:10])) + (", …" if len(self.partitions) > 10 else "")
        return f"the workers have still to take {self.orders:,} orders of partition {named}"


def wait_until_taken(settings: Settings, ends: Mapping[int, int], tell: Callable[[Waiting], None]) -> None:
    """Wait until the workers have taken all orders below these offsets of the ops topic's partitions.

    `tell` hears after each look what is still waited for. A Kafka that is away is waited for as well, for OUTLAST_S.
    Raises KafkaUnreachable and Refused, with a note that says what becomes of the orders.
    """
    view = _View(settings, ends)
    since = time.monotonic()
    while ends:
        try:
            with kafka_admin(settings.kafka) as admin:
                while (waiting := view.look(admin)) is not None:
                    tell(waiting)
                    time.sleep(LOOK_AGAIN_S)
                    since = time.monotonic()
                return
        except KafkaUnreachable as error:
            if time.monotonic() - since > OUTLAST_S:
                error.add_note(_ALL_WRITTEN)
                raise
            tell(replace(view.last, away=str(error)))
            time.sleep(LOOK_AGAIN_S)
        except Refused as error:
            error.add_note(_ALL_WRITTEN)
            raise


_ALL_WRITTEN: Final = (
    "all orders are written and are carried out all the same: `restore-projector status` shows what of the ops topic "
    "the workers have still to take"
)


class _View:
    """What the group has committed of the ops topic, and how many members it has."""

    def __init__(self, settings: Settings, ends: Mapping[int, int]) -> None:
        self._settings: KafkaSettings = settings.kafka
        self._ends = {TopicPartition(settings.topic_names.ops, number): end for number, end in ends.items()}
        self.last = Waiting(sum(ends.values()), tuple(sorted(ends)), None)
        """What was seen last; to begin with, as if nothing had been taken."""

    def look(self, admin: KafkaAdminClient) -> Waiting | None:
        """None when all is taken."""
        group = self._settings.group_id
        try:
            committed = admin.list_group_offsets({group: list(self._ends)})[group]
        except _COORDINATOR_ELSEWHERE:
            committed = {}
        found = {tp: answer.offset for tp, answer in committed.items() if answer is not None}
        behind = {tp: end - max(found.get(tp, 0), 0) for tp, end in self._ends.items() if found.get(tp, -1) < end}
        if not behind:
            return None
        self.last = Waiting(sum(behind.values()), tuple(sorted(tp.partition for tp in behind)), self._workers(admin))
        return self.last

    def _workers(self, admin: KafkaAdminClient) -> int | None:
        group = self._settings.group_id
        try:
            return len(admin.describe_groups([group])[group]["members"])
        except (ValueError, *_COORDINATOR_ELSEWHERE):  # ValueError: see `worker.status.kafka`
            return None


_COORDINATOR_ELSEWHERE: Final = (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError)
"""It comes back within seconds; until then nothing is known."""
