"""What operators may ask of the worker, through the ops topic and so in order with everything else.

A command is a record with the header `op` and the tenant's key, on the tenant's partition:

    op: recompute    value {"restore_run_id": "rr-1"}; decide this run again from its stored facts
    op: replay       value and headers of a source record, and `rp_topic`, `rp_partition`, `rp_offset`, `rp_timestamp`:
                     take it again as if it came from there

Whoever asked and why may stand in the headers `actor` and `reason`; they are for the trail, not for the worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.events import TRACEPARENT, Ignored, Record, Rejected
from contracts.ids import Partitioner, is_identifier, partition_of
from contracts.letters import Reason
from contracts.strict_json import NotJson, parse
from contracts.violations import NOTHING, complaint, quote, show
from contracts.wire import AN_IDENTIFIER, read_identifier

REPLAY_HEADERS: Final = ("rp_topic", "rp_partition", "rp_offset", "rp_timestamp")
OWN_HEADERS: Final = frozenset({"op", "actor", "reason", *REPLAY_HEADERS})
"""Headers of the command, which the replayed record did not have."""
MAX_NUMBER: Final = 2**63 - 1
"""The largest offset and the largest timestamp that Kafka has."""

Headers = dict[str, bytes | None]
"""Header values by name, the last of several; Kafka has headers without a value."""


@dataclass(frozen=True, slots=True)
class Recompute:
    """Decide a run again from its stored facts; only a difference is published (interfaces, section 10)."""

    tenant_id: str
    id: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """Take a source record again. `record` is as it was in its own topic."""

    record: Record


Command = Recompute | Replay | Ignored | Rejected


class CommandDecoder:
    """Decodes records of the ops topic, which lie in their tenant's partition like all others."""

    def __init__(self, partitions: int, partitioner: Partitioner) -> None:
        self._partitions = partitions
        self._partitioner = partitioner

    def decode(self, record: Record) -> Command:
        """The command, or why it is none; never raises."""
        headers: Headers = dict(record.headers)
        operation = headers.get("op")
        if record.value is None and operation is None:
            return Ignored()
        match operation:
            case b"recompute":
                return self._recompute(record, _traceparent(headers))
            case b"replay":
                return _replay(record, headers)
            case other:
                detail = complaint("header op", "recompute or replay", _show(other))
                return Rejected("not_an_event", detail, traceparent=_traceparent(headers))

    def _recompute(self, record: Record, traceparent: str | None) -> Command:
        def rejected(reason: Reason, place: str, expected: str, got: str) -> Rejected:
            return Rejected(reason, complaint(place, expected, got), traceparent=traceparent)

        try:
            order = parse(record.value or b"")
        except NotJson as error:
            return rejected("not_json", "$", error.expected, error.got)
        run = read_identifier(order.get("restore_run_id")) if isinstance(order, dict) else None
        if run is None:
            came = order.get("restore_run_id", NOTHING) if isinstance(order, dict) else order
            return rejected("schema_violation", "$.restore_run_id", AN_IDENTIFIER, show(came))
        tenant = None if record.key is None else record.key.decode(errors="replace")
        if tenant is None or not is_identifier(tenant):
            return rejected("key_mismatch", "key", "a tenant id", _show(record.key))
        expected = partition_of(tenant, self._partitions, self._partitioner)
        if record.partition != expected:
            return rejected("partition_mismatch", "partition", str(expected), str(record.partition))
        return Recompute(tenant, run, traceparent)


def _replay(record: Record, headers: Headers) -> Command:
    topic = headers.get("rp_topic")
    if not topic:
        return Rejected("not_an_event", complaint("header rp_topic", "a topic's name", _show(topic)))
    numbers = []
    for name in REPLAY_HEADERS[1:]:
        number = _number(headers.get(name))
        if number is None:
            expected = f"decimal digits, up to {MAX_NUMBER}"
            return Rejected("not_an_event", complaint(f"header {name}", expected, _show(headers.get(name))))
        numbers.append(number)
    partition, offset, timestamp = numbers
    if partition != record.partition:
        expected = f"{record.partition}, where this record is"
        return Rejected("partition_mismatch", complaint("header rp_partition", expected, str(partition)))
    own = tuple((n, v) for n, v in record.headers if n not in OWN_HEADERS)
    return Replay(Record(topic.decode(errors="replace"), partition, offset, timestamp, record.key, record.value, own))


def _number(text: bytes | None) -> int | None:
    """The number that decimal digits give; None if there are none or they give one that Kafka has not."""
    if text is None or not text.isdigit() or len(text) > len(str(MAX_NUMBER)) or int(text) > MAX_NUMBER:
        return None
    return int(text)


def _traceparent(headers: Headers) -> str | None:
    text = (headers.get("traceparent") or b"").decode(errors="replace")
    return text if TRACEPARENT.fullmatch(text) else None


def _show(text: bytes | None) -> str:
    return show(NOTHING) if text is None else quote(text.decode(errors="replace"))
