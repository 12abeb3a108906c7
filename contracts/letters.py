"""Dead letters: a record that could not be taken, unchanged, with headers that say where it was and why.

Headers are only ever appended. A record that is set aside, fed again and set aside once more carries each place
and reason it went through; the last ones count (interfaces, section 7).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from contracts.events import Record

Reason = Literal[
    "too_large", "not_an_event", "not_json", "unknown_type", "missing_sequence",
    "schema_violation", "key_mismatch", "partition_mismatch", "too_many_links",
]  # fmt: skip
REASONS: tuple[Reason, ...] = get_args(Reason)
"""The first that holds is given, in this order; `not_an_event` stands once for the headers, before `not_json`, and
once for the value's shape, after it."""

MEANINGS: dict[Reason, str] = {
    "too_large": "The value has more bytes than the limit (RESTORE_PROJECTOR_LIMITS__VALUE_BYTES).",
    "not_an_event": "Headers or shape are those of no CloudEvent and no Debezium change event.",
    "not_json": "The value is not strict JSON: UTF-8, finite numbers, each key once, nested at most 200 deep.",
    "unknown_type": "The event's type, table or operation is unknown, or belongs on another entity's topic.",
    "missing_sequence": "There is no sequence, or it is not decimal digits up to 9223372036854775807.",
    "schema_violation": "A field is missing or is not of the contract's type.",
    "key_mismatch": "The record's key is not the id of the tenant that the event is about.",
    "partition_mismatch": "The record lies in another partition than the one of its tenant.",
    "too_many_links": "The restore run names an operation that already has 1,000 restore runs.",
}
"""One sentence for each reason, for people; the documentation is made from it."""

REMEDIES: dict[Reason, str] = {
    "too_large": "Send less, or raise the limit and, where it is smaller, the topics' `max.message.bytes`.",
    "not_an_event": "See what else writes to this topic, and how the source is set up: converters, headers.",
    "not_json": "Mend the source: it is usually another converter, an encoding, or a NaN.",
    "unknown_type": "See whether the source sends to the right topic, or sends tables that are not meant for this.",
    "missing_sequence": "Give each change a sequence: for Debezium a column `revision`, else `source.lsn`.",
    "schema_violation": "`dl_detail` names the field. Mend the source; or upgrade, if the contract has grown.",
    "key_mismatch": "Make the record's key the plain tenant id: no JSON around it, no other column.",
    "partition_mismatch": (
        "Compare the source's partitioner with `RESTORE_PROJECTOR_KAFKA__PARTITIONER`, and the topics' numbers of"
        " partitions."
    ),
    "too_many_links": "Give each restore an operation of its own: one that so many name is a fault of the source.",
}
"""What to do about each reason."""


@dataclass(frozen=True, slots=True)
class Letter:
    """Where a dead letter's record lay (`timestamp` in ms since the epoch), why it was set aside, in one line."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    reason: Reason
    detail: str


def letter_headers(record: Record, reason: Reason, detail: str) -> list[tuple[str, bytes]]:
    """The dead letter's headers: the record's own, unchanged and in order, then the six of this setting aside."""
    return [
        *record.headers,
        ("dl_topic", record.topic.encode()),
        ("dl_partition", b"%d" % record.partition),
        ("dl_offset", b"%d" % record.offset),
        ("dl_timestamp", b"%d" % record.timestamp),
        ("dl_reason", reason.encode()),
        ("dl_detail", detail.encode()),
    ]


def read_letter(headers: Iterable[tuple[str, bytes]]) -> Letter:
    """What the last six `dl_*` headers say; raises ValueError when one is missing or is not what we write."""
    found = {name: value for name, value in headers if name.startswith("dl_") and value is not None}
    try:
        reason = found["dl_reason"].decode()
        if reason not in REASONS:
            raise ValueError(f"expected a dl_reason of {', '.join(REASONS)}, got {reason[:80]!r}")
        return Letter(
            topic=found["dl_topic"].decode(),
            partition=int(found["dl_partition"]),
            offset=int(found["dl_offset"]),
            timestamp=int(found["dl_timestamp"]),
            reason=reason,
            detail=found["dl_detail"].decode(),
        )
    except KeyError as missing:
        raise ValueError(f"expected a header {missing.args[0]}, got none") from missing
