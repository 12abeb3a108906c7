"""The eight topics: what each is for, its name, and how Kafka cleans it up (interfaces, section 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from contracts.facts import Entity

Role = Literal[
    "restore_runs", "operation_runs", "evidence_snapshots", "ops",
    "decision_state", "decision_changes", "dead_letters", "internal",
]  # fmt: skip
Direction = Literal["input", "output", "internal"]
Cleanup = Literal["compact", "delete"]

DEFAULT_PREFIX = "restore"

MAX_PREFIX_LENGTH = 200
"""In characters; Kafka's limit for a topic's name is 249, and the longest suffix has 28."""

_PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One row of the table. `suffix` follows the prefix and a dot; `entity` is what an input's events are about."""

    role: Role
    direction: Direction
    suffix: str
    cleanup: Cleanup
    entity: Entity | None
    key: str


TOPICS: tuple[TopicRow, ...] = (
    TopicRow("restore_runs", "input", "restore-runs.v1", "delete", "restore_run", "tenant id"),
    TopicRow("operation_runs", "input", "operation-runs.v1", "delete", "operation_run", "tenant id"),
    TopicRow("evidence_snapshots", "input", "evidence-snapshots.v1", "delete", "evidence_snapshot", "tenant id"),
    TopicRow("ops", "input", "projection.ops.v1", "delete", None, "tenant id"),
    TopicRow("decision_state", "output", "decision-state.v1", "compact", None, "<tenant>/<restore run>"),
    TopicRow("decision_changes", "output", "decision-changes.v1", "delete", None, "<tenant>/<restore run>"),
    TopicRow("dead_letters", "output", "projection.dead-letters.v1", "delete", None, "the source record's key"),
    TopicRow("internal", "internal", "projection.internal.v1", "compact", None, "<kind>/<tenant>/<id>"),
)
"""In the order of interfaces, section 2, which is also the order in which inputs of equal timestamps are merged."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics' names under one prefix. Raises ValueError for a prefix that Kafka would not take."""

    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        if _PREFIX.fullmatch(self.prefix) is None or len(self.prefix) > MAX_PREFIX_LENGTH:
            raise ValueError(
                f"expected a topic prefix of 1 to {MAX_PREFIX_LENGTH} letters, digits, '.', '_' and '-',"
                f" not beginning with a dot, got {self.prefix[:80]!r}"
            )

    def name(self, row: TopicRow) -> str:
        return f"{self.prefix}.{row.suffix}"

    @property
    def restore_runs(self) -> str:
        return f"{self.prefix}.restore-runs.v1"

    @property
    def operation_runs(self) -> str:
        return f"{self.prefix}.operation-runs.v1"

    @property
    def evidence_snapshots(self) -> str:
        return f"{self.prefix}.evidence-snapshots.v1"

    @property
    def ops(self) -> str:
        return f"{self.prefix}.projection.ops.v1"

    @property
    def decision_state(self) -> str:
        return f"{self.prefix}.decision-state.v1"

    @property
    def decision_changes(self) -> str:
        return f"{self.prefix}.decision-changes.v1"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}.projection.dead-letters.v1"

    @property
    def internal(self) -> str:
        return f"{self.prefix}.projection.internal.v1"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The four inputs, in the order in which records of equal timestamps are merged."""
        return tuple(self.name(row) for row in TOPICS if row.direction == "input")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Decision state, decision changes, dead letters."""
        return tuple(self.name(row) for row in TOPICS if row.direction == "output")

    @property
    def all(self) -> tuple[str, ...]:
        """All eight, in the order of the table."""
        return tuple(self.name(row) for row in TOPICS)

    @property
    def entities(self) -> dict[str, Entity]:
        """Topic name → the entity whose events it carries, for the three entity topics."""
        return {self.name(row): row.entity for row in TOPICS if row.entity is not None}
