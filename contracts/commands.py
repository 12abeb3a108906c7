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

from contracts.decision import decode
from contracts.events import Ignored, Record, Rejected
from contracts.ids import Partitioner, is_identifier, partition_of

REPLAY_HEADERS: Final = ("rp_topic", "rp_partition", "rp_offset", "rp_timestamp")


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
        headers = dict(record.headers)
        if record.value is None and headers.get("op") is None:
            return Ignored()
        match headers.get("op"):
            case b"recompute":
                return self._recompute(record)
            case b"replay":
                return _replay(record, headers)
            case other:
                got = "none" if other is None else repr(other[:80])
                return Rejected("not_an_event", f"expected the header op with recompute or replay, got {got}")

    def _recompute(self, record: Record) -> Command:
        try:
            run = decode(record.value or b"").get("restore_run_id")
        except ValueError as error:
            return Rejected("not_json", f"expected a JSON object, got {str(error)[:80]!r}")
        if not isinstance(run, str) or not is_identifier(run):
            return Rejected("schema_violation", f"$.restore_run_id: expected an identifier, got {repr(run)[:80]}")
        tenant = (record.key or b"").decode("utf-8", "replace")
        if not is_identifier(tenant):
            return Rejected("key_mismatch", f"expected the tenant's id as key, got {tenant[:80]!r}")
        expected = partition_of(tenant, self._partitions, self._partitioner)
        if record.partition != expected:
            return Rejected("partition_mismatch", f"expected partition {expected}, got {record.partition}")
        return Recompute(tenant, run)


def _replay(record: Record, headers: dict[str, bytes]) -> Command:
    places = [headers.get(name, b"") for name in REPLAY_HEADERS]
    topic, partition, offset, timestamp = places
    if not topic or not all(place.isdigit() for place in places[1:]):
        names = ", ".join(REPLAY_HEADERS)
        return Rejected("not_an_event", f"expected the headers {names}, the last three decimal, got {places!r}"[:300])
    if int(partition) != record.partition:
        expected = f"expected rp_partition {record.partition}, where this record is"
        return Rejected("partition_mismatch", f"{expected}, got {int(partition)}"[:200])
    own = tuple((n, v) for n, v in record.headers if n not in ("op", "actor", "reason", *REPLAY_HEADERS))
    source = Record(
        topic.decode("utf-8", "replace"), int(partition), int(offset), int(timestamp), record.key, record.value, own
    )
    return Replay(source)
