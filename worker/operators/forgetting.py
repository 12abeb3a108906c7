"""Having a tenant's records forgotten: one order for each record that the store has of it.

Which records there are, Redis says: the set of the names of all records of the tenant's partition, walked through by
SSCAN, kind by kind. One order a record and never one for all of them, so that a tenant of a million runs is no
transaction of a million documents. An order for what is gone already changes nothing, so a name that comes twice does
no harm, nor does a command that is given again.

Runs go first. What is forgotten of operations and snapshots afterwards bears on no run any more; the other way round
each run would be decided again for every one of them, and the changes published.

While the tenant's sources still send, there is something new each time. So what is left is counted after all orders
were taken, and ordered again, a few times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from contracts.commands import ForgetKind, ForgetWhat
from contracts.ids import partition_of
from contracts.orders import Trail, forget_order
from worker.operators.log import LogReader
from worker.operators.orders import OrderWriter, Waiting, wait_until_taken
from worker.operators.outcome import Outcome, Published, Traced
from worker.operators.pace import Pace
from worker.operators.stored import Walk, check_ready
from worker.reading import StoreReader, partition_count
from worker.settings import Settings

Tell = Callable[[int], None]
KINDS: Final[tuple[ForgetKind, ...]] = ("run", "deleted-run", "snapshot", "operation")
"""In this order they are forgotten."""
TELL_EVERY: Final = 100
"""Orders, between two moves of a progress bar."""
MAX_ROUNDS: Final = 5
"""After so many there is still something left only because something still comes in."""


class TenantRecords:
    """The names of all that the store has of a tenant. Construction raises KafkaUnreachable and Unfit."""

    def __init__(self, settings: Settings, store: StoreReader, tenant: str) -> None:
        self.tenant = tenant
        self.partition = partition_of(tenant, partition_count(settings), settings.kafka.partitioner)
        self._store = store
        self._namespace = settings.redis.namespace

    def check(self) -> None:
        """Raises NotYet unless all of it is in the store, and RedisUnreachable."""
        check_ready(self._store, self._namespace, [self.partition])

    def count(self) -> Counter[ForgetKind]:
        """How many there are of each kind. Raises RedisUnreachable."""
        return Counter({kind: found for kind in KINDS if (found := sum(1 for _ in self.ids(kind)))})

    def ids(self, kind: ForgetKind) -> Iterator[str]:
        """Those of one kind; what is there all the time comes at least once. Raises RedisUnreachable."""
        name = f"{self._namespace}:{{{self.partition}}}:records"
        prefix = f"{kind}:{self.tenant}/"
        walk = Walk(self.partition, "sscan", name, f"{prefix}*")
        while not walk.at_end:
            found: list[Any] = self._store.ask(walk.take)
            yield from (member.decode().removeprefix(prefix) for member in found)


class Forgetting:
    """One invocation: `send`, `wait`, and with everything to be forgotten `left`, over again; then `outcome`.

    Each may raise KafkaUnreachable, Refused, RedisUnreachable. `sent`: how many orders were handed over, by kind.
    """

    def __init__(
        self, settings: Settings, records: TenantRecords, what: ForgetWhat, trail: Trail, rate: float | None = None
    ) -> None:
        self._settings = settings
        self._records = records
        self._what = what
        self._trail = trail
        self._pace = Pace(rate)
        self._ends: dict[int, int] = {}
        self._last: tuple[ForgetKind, str] | None = None
        self.sent: Counter[ForgetKind] = Counter()
        self.written = 0
        """How many orders Kafka has acknowledged."""

    def begin(self, reader: LogReader) -> Published:
        """Where to look for what comes of the orders."""
        return Published(self._settings, reader, [self._records.partition])

    def send(self, tell: Tell) -> None:
        """Write an order for each record that is there."""
        self._write(self._every(tell))

    def _every(self, tell: Tell) -> Iterator[tuple[ForgetKind, str]]:
        count = 0
        for kind in KINDS:
            for id in self._records.ids(kind):
                self._pace.wait()
                yield kind, id
                self.sent[kind] += 1
                self._last = kind, id
                count += 1
                if count % TELL_EVERY == 0:
                    tell(count)
        tell(count)

    def _write(self, names: Iterator[tuple[ForgetKind, str]]) -> None:
        records = self._records
        with OrderWriter(self._settings, self._trail) as writer:
            try:
                for kind, id in names:
                    order = forget_order(
                        records.partition, records.tenant, kind, id, self._what, self._trail.traceparent
                    )
                    writer.send(order)
            finally:
                writer.flush()
                self.written += writer.written.total()
                self._ends |= writer.ends

    def wait(self, tell: Callable[[Waiting], None]) -> None:
        """Wait until the workers have taken all orders."""
        wait_until_taken(self._settings, self._ends, tell)

    def left(self, tell: Callable[[Waiting], None]) -> Counter[ForgetKind]:
        """What the store has of the tenant once all that has come of the orders is in it.

        A worker writes to the store after its commit and before it takes anything else. So when it has taken one more
        order, given after the others had been taken, the store has what came of those: the last order, once more.
        """
        if self._last is not None:
            self._write(iter([self._last]))
            self.wait(tell)
        return self._records.count()

    def outcome(self, published: Published) -> Outcome:
        """What has come of the orders."""
        return published.outcome(Traced(self._trail.request))
