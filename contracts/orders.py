"""What operators' commands write into the ops topic: the other side of `contracts.commands`.

An order lies on the partition that it is about, under the key of that partition's tenant (or of the source record).
Every order names who asked, why, and the invocation of a command that it is of: its *trail*. All orders of one
invocation share the `request`, so the topic itself says how far an invocation came.

A replayed record has headers of its own, which may be called as an order's are. An order's come behind them and
begin with `op`, so from the last `op` on they are the order's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from contracts.commands import ForgetKind, ForgetWhat
from contracts.events import Record

REQUEST: Final = re.compile("[0-9a-f]{32}")
"""An invocation's name, as long as a trace id: 12 digits for when it began (ms since the epoch), 20 random ones. So
who looks for its orders knows from where on they lie."""
RANDOM_BYTES: Final = 10
MAX_TRAIL_LENGTH: Final = 1_000
"""Of `actor` and of `reason`, in characters: a sentence or two, and far below what a topic has room for."""
Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Order:
    """A record of the ops topic without its trail."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class Trail:
    """Who asked, why (may be empty), and the name of the invocation (`request_name`)."""

    actor: str
    reason: str
    request: str

    @property
    def headers(self) -> Headers:
        """As an order carries them, behind its own."""
        named = (("actor", self.actor), ("reason", self.reason), ("request", self.request))
        return tuple((name, text.encode()) for name, text in named)

    @property
    def traceparent(self) -> str:
        """A W3C trace context that what comes of an order can be found by: the request is the trace's id."""
        return f"00-{self.request}-{self.request[:16]}-01"


def request_name(began_ms: int, random: bytes) -> str:
    """The name of an invocation that began then; `random`: RANDOM_BYTES of them."""
    return f"{began_ms & 0xFFFF_FFFF_FFFF:012x}{random.hex()}"


def request_began_ms(request: str) -> int:
    """When an invocation began, by its name; raises ValueError for what is none."""
    if REQUEST.fullmatch(request) is None:
        raise ValueError(f"expected a request, 32 digits 0-9a-f, got {request[:80]!r}")
    return int(request[:12], 16)


def recompute_order(partition: int, tenant: str, run: str, traceparent: str | None = None) -> Order:
    """Decide this run again from its stored facts."""
    value = _bytes({"restore_run_id": run})
    return Order(partition, tenant.encode(), value, (("op", b"recompute"), *_trace_header(traceparent)))


def replay_order(record: Record, letter: int | None = None) -> Order:
    """Take a source record again, as it was and from where it was.

    `letter`: the offset, in the same partition of the dead-letter topic, of the dead letter that is redriven by this.
    """
    place = (
        ("rp_topic", record.topic.encode()),
        ("rp_partition", b"%d" % record.partition),
        ("rp_offset", b"%d" % record.offset),
        ("rp_timestamp", b"%d" % record.timestamp),
    )
    headers = (*record.headers, ("op", b"replay"), *place, *_letter_header(letter))
    return Order(record.partition, record.key, record.value, headers)


def dismiss_order(partition: int, key: bytes | None, letter: int) -> Order:
    """Take note that this dead letter, of the same partition, is seen to and stays as it is."""
    return Order(partition, key, None, (("op", b"dismiss"), *_letter_header(letter)))


def forget_order(
    partition: int, tenant: str, kind: ForgetKind, id: str, what: ForgetWhat, traceparent: str | None = None
) -> Order:
    """Forget a stored record's sequence, or the record with all that is remembered of it."""
    value = _bytes({"kind": kind, "id": id, "what": what})
    return Order(partition, tenant.encode(), value, (("op", b"forget"), *_trace_header(traceparent)))


def headers_of_order(record: Record) -> dict[str, bytes]:
    """An order's own headers, without those of the record that it replays; empty for what is no order."""
    for at in range(len(record.headers) - 1, -1, -1):
        if record.headers[at][0] == "op":
            return dict(record.headers[at:])
    return {}


def _trace_header(traceparent: str | None) -> Headers:
    return () if traceparent is None else (("traceparent", traceparent.encode()),)


def _letter_header(letter: int | None) -> Headers:
    return () if letter is None else (("letter", b"%d" % letter),)


def _bytes(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
