"""What may differ between Kafka, Redis and a fresh decision: each kind, what it usually comes from, what cures it.

There is one cure for Redis, whatever it is: the partition is restored in full. A decision that differs from a fresh one
is decided again by an order. What Kafka itself has wrong no command mends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from contracts.printable import printable

Cure = Literal["rebuild", "recompute", "wait", "none"]
CURES: Final[Mapping[Cure, str]] = {
    "rebuild": "`rebuild`",
    "recompute": "`recompute`",
    "wait": "see `status`",
    "none": "no command: report it",
}
Name = Literal[
    "no_position", "other_topics", "other_layout", "outside_the_log", "gone_back", "behind", "restoring",
    "wrong_size", "wrong_index",
    "lost_key", "changed_key", "extra_key", "not_listed", "listed_without_key",
    "missing_index_entry", "wrong_index_entry", "extra_index_entry",
    "unreadable", "older_policy", "contradicts_its_facts", "other_facts", "one_sided_link",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of difference: what it is, the likely cause, and what cures it."""

    means: str
    cause: str
    cure: Cure


KINDS: Final[Mapping[Name, Kind]] = {
    "no_position": Kind(
        "Redis does not say how far a partition's copy goes.",
        "Redis was emptied, the position was removed by hand, or no worker has ever had the partition",
        "rebuild",
    ),
    "other_topics": Kind(
        "The copy follows topics that are not those of Kafka now.",
        "the topics were deleted and made anew, or this Redis or its namespace is another installation's",
        "rebuild",
    ),
    "other_layout": Kind("Another version keeps other indexes.", "a worker of another version had it last", "rebuild"),
    "outside_the_log": Kind(
        "The position is not in the log.",
        "the position was changed by hand, Kafka has lost records, or a dump of another installation was put back",
        "rebuild",
    ),
    "gone_back": Kind(
        "Redis holds records from behind its position.",
        "the position was set back by hand, or a part of an older dump was put over the copy",
        "rebuild",
    ),
    "behind": Kind(
        "Redis lacks the newest records, and nobody brings it up to date.",
        "an older copy was put back (a dump, or a replica that lagged and took over), or no worker has the partition",
        "rebuild",
    ),
    "restoring": Kind(
        "The partition is being restored and does not come on.", "no worker has it, or its worker hangs", "wait"
    ),
    "wrong_size": Kind(
        "An index has not as many members as it was left with.", "it was changed or removed by hand", "rebuild"
    ),
    "wrong_index": Kind("What should be an index is something else.", "something else writes to this key", "rebuild"),
    "lost_key": Kind("Kafka has a record that Redis lacks.", "the key was removed by hand", "rebuild"),
    "changed_key": Kind("Redis has other bytes than Kafka.", "the key was changed by hand", "rebuild"),
    "extra_key": Kind(
        "Redis has a key that Kafka does not have.",
        "it was written by hand, or something else uses this namespace",
        "rebuild",
    ),
    "not_listed": Kind("A key is missing in the set of all records.", "the set was changed by hand", "rebuild"),
    "listed_without_key": Kind(
        "The set of all records names one that Kafka does not have.", "the set was changed by hand", "rebuild"
    ),
    "missing_index_entry": Kind(
        "A record is missing in an index: lists, counts or deadlines do not show it.",
        "the index was changed by hand",
        "rebuild",
    ),
    "wrong_index_entry": Kind("An index has a record at another time.", "the index was changed by hand", "rebuild"),
    "extra_index_entry": Kind(
        "An index names what is not there, or is elsewhere.", "the index was changed by hand", "rebuild"
    ),
    "unreadable": Kind(
        "A record cannot be read, in Kafka as in Redis.", "a newer version wrote it, or something else did", "none"
    ),
    "older_policy": Kind(
        "The decision is one of an older policy, and this version decides otherwise.",
        "no worker of this version has decided it again yet",
        "recompute",
    ),
    "contradicts_its_facts": Kind(
        "The decision does not follow from the facts in the document itself.",
        "it was written by another program, or by a worker whose rules are not those of its policy",
        "recompute",
    ),
    "other_facts": Kind(
        "The document was decided from other facts than are stored.",
        "a worker has not decided a run again that it should have: please report it",
        "recompute",
    ),
    "one_sided_link": Kind(
        "A record names another one that does not name it, in Kafka as in Redis.",
        "a worker has written one of them without the other: please report it",
        "none",
    ),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be.

    `key`: in Redis, without namespace and partition. `cause`: where more is known than the kind says. `run`: tenant and
    run of a decision that is to be taken again.
    """

    name: Name
    partition: int
    key: str
    expected: str
    got: str
    cause: str | None = None
    run: tuple[str, str] | None = None

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]

    @property
    def likely(self) -> str:
        return self.cause or self.kind.cause

    @property
    def remedy(self) -> str:
        """What to type."""
        match self.kind.cure:
            case "rebuild":
                return f"restore-projector rebuild --partition {self.partition}"
            case "recompute" if self.run is not None:
                return f"restore-projector recompute --tenant {self.run[0]} --run {self.run[1]}"
            case "wait":
                return "restore-projector status"
            case _:
                return "restore-projector explain, and report it"

    def to_json(self) -> dict[str, Any]:
        return {
            "difference": self.name,
            "partition": self.partition,
            "key": printable(self.key),
            "expected": printable(self.expected),
            "got": printable(self.got),
            "likely_cause": printable(self.likely),
            "cure": self.kind.cure,
            "do": self.remedy,
        }
