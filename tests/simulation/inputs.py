"""What producers of the inputs send: everything that can happen to a few entities of a few tenants, by seed.

A small world, so that everything meets everything: two tenants in each partition with the same ids, three runs and
one whose documents Kafka does not take, two operations, three snapshots. Sequences mostly grow; in between are
duplicates, late events, deletions, returns, links that move, records that cannot be read and operators' commands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Final

from contracts.commands import ForgetKind, ForgetWhat
from contracts.events import Record
from contracts.facts import ATTENTION_STATES
from contracts.ids import partition_of
from contracts.orders import Order, dismiss_order, forget_order
from contracts.times import format_time
from contracts.topics import Topics
from tests.simulation.counters import Counters
from tests.traffic import Event, encode, message, operation, run, snapshot

TOPICS: Final = Topics()
PARTITIONS: Final = 2
TENANTS: Final[tuple[str, ...]] = tuple(
    tenant
    for number in range(PARTITIONS)
    for tenant in [t for t in (f"t-{n}" for n in range(1, 40)) if partition_of(t, PARTITIONS, "murmur2") == number][:2]
)
"""Two of each partition."""
RUNS: Final = ("rr-1", "rr-2", "rr-3")
HUGE: Final = "rr-huge"
"""A run whose documents are larger than their topic takes."""
OPERATIONS: Final = ("op-1", "op-1", "op-2")
SNAPSHOTS: Final = ("es-1", "es-2", "es-3")
SOON_MS: Final = (500, 60_000)
"""Evidence expires so soon, where it does: while the history goes on."""
LONG_MS: Final = 40 * 24 * 3600 * 1000
"""Or after everything."""
FORMS: Final = ("binary", "binary", "structured", "debezium", "debezium_wrapped")


KINDS: Final = (
    "run",
    "operation",
    "snapshot",
    "deletion",
    "duplicate",
    "late sequence",
    "null value",
    "unreadable event",
    "garbage",
    "replay",
    "recompute",
    "forget a sequence",
    "forget everything",
    "dismissal",
    "record too large",
    "late record",
    "record from the future",
)
"""What there is of input; each must be met."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A record to be sent. `stamp_ms`: how far its timestamp is from the present, where its producer gives it one."""

    record: Record
    stamp_ms: int = 0


class Inputs:
    """Makes one draft after another. `loose`: timestamps may be the producers' own."""

    def __init__(self, choose: Random, counters: Counters, *, loose: bool) -> None:
        self._choose = choose
        self._counters = counters
        self._loose = loose
        self._sequences = count(1)
        self._last = 0
        self._sent: list[Record] = []
        kinds = [
            (30, "run", self._run),
            (22, "operation", self._operation),
            (26, "snapshot", self._snapshot),
            (7, "deletion", self._deletion),
            (5, "duplicate", self._duplicate),
            (4, "late sequence", self._late),
            (2, "null value", self._null),
            (5, "unreadable event", self._unreadable),
            (3, "garbage", self._garbage),
            (2, "replay", self._replay),
            (2, "recompute", self._recompute),
            (3, "forget a sequence", self._forget_sequence),
            (2, "forget everything", self._forget_everything),
            (1, "dismissal", self._dismissal),
        ]
        self._weights = [weight for weight, _, _ in kinds]
        self._kinds: list[tuple[str, Callable[[str, int], Record]]] = [(name, make) for _, name, make in kinds]

    def next(self, now: int) -> Draft:
        """The next record, as of `now`."""
        name, make = self._choose.choices(self._kinds, self._weights)[0]
        record = make(self._choose.choice(TENANTS), now)
        self._counters.met("input", name)
        return Draft(record, self._stamp())

    def sent(self, placed: Record) -> None:
        """Where a draft's record went."""
        self._sent.append(placed)

    def _stamp(self) -> int:
        if not self._loose or self._choose.random() > 0.1:
            return 0
        stamp = self._choose.choice((-300_000, -5_000, -300, 400, 30_000, 7 * 24 * 3600 * 1000, 10**15))
        self._counters.met("input", "late record" if stamp < 0 else "record from the future")
        return stamp

    def _next(self) -> int:
        self._last = next(self._sequences)
        return self._last

    def _form(self, event: Event) -> Record:
        if self._choose.random() < 0.2:
            event = event.traced(f"00-{self._choose.getrandbits(127) + 1:032x}-00f067aa0ba902b7-01")
        made = message(event, TOPICS, self._choose.choice(FORMS))
        number = partition_of(event.tenant, PARTITIONS, "murmur2")
        headers = tuple((name, value or b"") for name, value in made.headers)
        return Record(made.topic, number, -1, 0, made.key, made.value, headers)

    def _operation_id(self) -> str | None:
        return self._choose.choice((*OPERATIONS, *OPERATIONS, None))

    def _run_event(self, tenant: str, sequence: int) -> Event:
        name = self._choose.choice(RUNS) if self._choose.random() > 0.03 else HUGE
        if name == HUGE:
            self._counters.met("input", "record too large")
        counts = self._choose.choice(
            ({"total": 12, "succeeded": 12}, {"total": 12, "succeeded": 9, "failed": 3}, {"skipped": 1}, None)
        )
        return run(
            tenant,
            name,
            sequence,
            self._choose.choice(("previewed", "running", "completed", "completed", "completed", "partial", "failed")),
            self._operation_id(),
            counts=counts,
            is_dry_run=self._choose.random() < 0.05,
            result_attention=self._choose.choice((None, None, {"state": self._choose.choice(ATTENTION_STATES)})),
        )

    def _run(self, tenant: str, now: int) -> Record:
        return self._form(self._run_event(tenant, self._next()))

    def _operation(self, tenant: str, now: int) -> Record:
        status = self._choose.choice(("running", "completed", "completed", "completed"))
        outcome = self._choose.choice((None, "succeeded", "succeeded", "succeeded", "failed", "blocked", "cancelled"))
        fields = {"completed_at": format_time(now - 1_000)} if self._choose.random() < 0.3 else {}
        id = self._choose.choice(OPERATIONS)
        return self._form(operation(tenant, id, self._next(), status, outcome, **fields))

    def _snapshot(self, tenant: str, now: int) -> Record:
        expiry = self._choose.choice(
            (None, -5_000, self._choose.randint(*SOON_MS), self._choose.randint(*SOON_MS), LONG_MS)
        )
        fields: dict[str, str] = {} if expiry is None else {"expires_at": format_time(now + expiry)}
        if self._choose.random() < 0.5:
            fields["generated_at"] = format_time(now - self._choose.randint(0, 3_000))
        status = self._choose.choice(("generating", "active", "active", "active", "active", "superseded", "expired"))
        id = self._choose.choice(SNAPSHOTS)
        return self._form(snapshot(tenant, id, self._next(), self._operation_id(), status, **fields))

    def _anything(self, tenant: str, status: str) -> Event:
        sequence = self._next()
        return self._choose.choice(
            (
                run(tenant, self._choose.choice(RUNS), sequence, status, self._operation_id()),
                operation(tenant, self._choose.choice(OPERATIONS), sequence, status),
                snapshot(tenant, self._choose.choice(SNAPSHOTS), sequence, self._operation_id(), status),
            )
        )

    def _deletion(self, tenant: str, now: int) -> Record:
        event = self._anything(tenant, "completed")
        return self._form(event.deletion(event.sequence))

    def _duplicate(self, tenant: str, now: int) -> Record:
        return self._choose.choice(self._sent) if self._sent else self._run(tenant, now)

    def _late(self, tenant: str, now: int) -> Record:
        sequence = max(0, self._last - self._choose.randint(1, 9))
        return self._form(self._run_event(tenant, sequence))

    def _null(self, tenant: str, now: int) -> Record:
        return self._run(tenant, now)._replace(value=None)

    def _unreadable(self, tenant: str, now: int) -> Record:
        """About an entity whose id can be read: it will be marked."""
        return self._form(self._anything(tenant, "vanished"))

    def _garbage(self, tenant: str, now: int) -> Record:
        good = self._run(tenant, now)
        return self._choose.choice(
            (
                good._replace(value=self._choose.randbytes(40)),
                good._replace(topic=TOPICS.operation_runs),
                good._replace(key=b"t-nobody"),
                good._replace(headers=(), value=b"{}"),
                good._replace(partition=1 - good.partition),
                good._replace(topic=TOPICS.ops, headers=(("op", b"dance"),)),
            )
        )

    def _replay(self, tenant: str, now: int) -> Record:
        mine = [r for r in self._sent if r.topic != TOPICS.ops and r.value is not None and r.key == tenant.encode()]
        if not mine:
            return self._run(tenant, now)
        earlier = self._choose.choice(mine)
        named = {"op": b"replay", "rp_topic": earlier.topic.encode()}
        numbers = (("partition", earlier.partition), ("offset", earlier.offset), ("timestamp", earlier.timestamp))
        headers = (*earlier.headers, *named.items(), *((f"rp_{name}", b"%d" % n) for name, n in numbers))
        return earlier._replace(topic=TOPICS.ops, headers=headers)

    def _recompute(self, tenant: str, now: int) -> Record:
        number = partition_of(tenant, PARTITIONS, "murmur2")
        value = encode({"restore_run_id": self._choose.choice(RUNS)})
        return Record(TOPICS.ops, number, -1, 0, tenant.encode(), value, (("op", b"recompute"),))

    def _forget_sequence(self, tenant: str, now: int) -> Record:
        return self._forget(tenant, "sequence")

    def _forget_everything(self, tenant: str, now: int) -> Record:
        return self._forget(tenant, "everything")

    def _forget(self, tenant: str, what: ForgetWhat) -> Record:
        """Of any one entity, also of one that was never there."""
        kinds: list[tuple[ForgetKind, tuple[str, ...]]] = [
            ("run", RUNS), ("deleted-run", RUNS), ("operation", OPERATIONS), ("snapshot", SNAPSHOTS),
        ]  # fmt: skip
        kind, ids = self._choose.choice(kinds)
        number = partition_of(tenant, PARTITIONS, "murmur2")
        return _record(forget_order(number, tenant, kind, self._choose.choice(ids), what))

    def _dismissal(self, tenant: str, now: int) -> Record:
        number = partition_of(tenant, PARTITIONS, "murmur2")
        key = self._choose.choice((None, tenant.encode(), b"t-nobody"))
        return _record(dismiss_order(number, key, self._choose.randint(0, 99)))


def _record(order: Order) -> Record:
    return Record(TOPICS.ops, order.partition, -1, 0, order.key, order.value, order.headers)
