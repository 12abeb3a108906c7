"""The explanation of a decision as a model: what `explain --json` and `decide --explain --json` print.

Not a document that is published: it is made when it is asked for, from a state document (`projections.explain`), and
its ages are those of that moment. As with the documents, the model is for readers, tests and the exported schema.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, Strict

from contracts.decision import Severity, State
from contracts.documents import Action, Claims, Id, InconsistencyCode, Revision, RuleName, Sequence, Text, Time
from contracts.documents import SourceDocument as Source
from contracts.facts import Entity

SCHEMA: Final = "restore.decision-explanation/1"

Age = Annotated[int, Field(ge=0)]
"""In ms, at the explanation's `as_of`; 0 for what is stamped later than that."""
_A_LIST_WILL_DO = Strict(strict=False)


class _Explained(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", serialize_by_alias=True)


class DecidingRule(_Explained):
    """The first rule that holds: its place in the table, which facts made it hold, and why it stands there."""

    name: RuleName
    number: Annotated[int, Field(ge=1)]
    of: Annotated[int, Field(ge=1)]
    when: Text
    because: Annotated[tuple[Text, ...], _A_LIST_WILL_DO]
    why: Text


class EarlierRule(_Explained):
    """A rule that stands before the deciding one: what it asks for, and how that is, so that it does not hold."""

    name: RuleName
    state: State
    when: Text
    why_not: Annotated[tuple[Text, ...], _A_LIST_WILL_DO, Field(min_length=1)]


class Edit(_Explained):
    """A fact that would be another.

    `field` is one of the entity's in `diagnostics.inputs`, a nested one with dots; `from` is its value, null for
    everything of an entity that is not there yet, and `to` the one that it would have. `unreadable` is a field of every
    entity: whether the inputs' list of that name has it. Ids `new-…` stand for ids that are not known yet, and a new
    time for that one or a later.
    """

    entity: Entity
    id: Id
    field: Text
    from_: JsonValue = Field(alias="from")
    to: JsonValue


class Step(_Explained):
    """Something that a source would have to report.

    `correction`: it would take back what was reported as final, which does not happen by itself.
    """

    words: Text
    correction: bool
    edits: Annotated[tuple[Edit, ...], _A_LIST_WILL_DO, Field(min_length=1)]


class BetterState(_Explained):
    """A state nearer to proof, and a shortest list of what would have to become true for it to be shown.

    Not listed are states that are bad news, and those that are only reached when something becomes worse.
    """

    state: State
    status: Text
    steps: Annotated[tuple[Step, ...], _A_LIST_WILL_DO, Field(min_length=1)]


class Fact(_Explained):
    """What is known of an entity, where that came from, and how old it is.

    `fields` are those of `diagnostics.inputs`; null for an entity of which nothing is known but that its newest event
    could not be read, which is what `unreadable` says. Without a source no age is known.
    """

    entity: Entity
    id: Id
    fields: dict[str, JsonValue] | None
    sequence: Sequence | None
    source: Source | None
    age_ms: Age | None
    unreadable: bool


class Inconsistency(_Explained):
    """Facts that contradict each other: the code of the documents, and which facts."""

    code: InconsistencyCode
    words: Text


class Moment(_Explained):
    """One change of state, the oldest first."""

    revision: Revision
    state: State
    changed_at: Time
    status: Text
    age_ms: Age


class StoredDecision(_Explained):
    """What the document says where this version decides otherwise, and by which policy it was decided."""

    state: State
    rule: RuleName
    policy: Annotated[int, Field(ge=1)]


class Explanation(_Explained):
    """Why a restore is decided as it is, why not otherwise, and what would have to become true for something better.

    From `state` to `claims` it is the state document's part of the same names, as this version decides.
    """

    schema_: Literal["restore.decision-explanation/1"] = Field(alias="schema")
    tenant_id: Id
    restore_run_id: Id
    as_of: Time
    state: State
    severity: Severity
    status: Text
    reason: Text
    impact: Text
    primary_next_action: Action
    claims: Claims
    rule: DecidingRule
    rules_before: Annotated[tuple[EarlierRule, ...], _A_LIST_WILL_DO]
    better_states: Annotated[tuple[BetterState, ...], _A_LIST_WILL_DO]
    facts: Annotated[tuple[Fact, ...], _A_LIST_WILL_DO]
    inconsistencies: Annotated[tuple[Inconsistency, ...], _A_LIST_WILL_DO]
    timeline: Annotated[tuple[Moment, ...], _A_LIST_WILL_DO]
    revision: Revision
    policy: Annotated[int, Field(ge=1)]
    changed_at: Time
    updated_at: Time
    stored: StoredDecision | None
