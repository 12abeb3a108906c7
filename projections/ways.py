"""What would have to become true for a restore to be shown in a better state.

`CHANGES` is a table of what sources may report that bears on a decision for the better. Sets of its rows are tried, the
smallest first, each by letting the rules decide from the facts as they would be; so nothing here knows a rule, and no
answer can disagree with one. An answer is a shortest way, not the only one: of several as short as each other it is the
one whose rows stand further up.

Better is what is nearer to proof (`contracts.decision.RANK`) and no bad news: nobody asks how a draft could fail.
A state that is only reached when something becomes worse, as when current evidence would have to go, is passed over.

There is no clock here: what would be reported is reported at `now`, in ms.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final, NamedTuple

from contracts.decision import RANK, SEVERITY, STATES, State
from contracts.facts import EvidenceSnapshot, Facts, Outcome, RunStatus, facts_to_json
from projections.attention import totals_differ
from projections.evidence import stored_snapshots
from projections.rules import decide
from projections.situation import ACTIVE, FINAL, Situation, situate
from projections.summary import PARTS

GOOD_OUTCOMES: Final[frozenset[Outcome | None]] = frozenset({None, "pending", "succeeded"})
"""Outcomes that stand in the way of nothing."""


class Edit(NamedTuple):
    """A fact that would be another: a field of an entity in `diagnostics.inputs`, its value in JSON and the new one.

    Nested fields have dots. Of an entity that is not there yet every field is null. `unreadable` is a field too:
    whether the inputs' list of that name has the entity.
    """

    entity: str
    id: str
    field: str
    before: Any
    after: Any


class Step(NamedTuple):
    """Something that a source would have to report: in words, and the facts that it changes.

    `correction`: what was reported as final would be taken back, which does not happen by itself.
    """

    words: str
    correction: bool
    edits: tuple[Edit, ...]


class Way(NamedTuple):
    """A state, the steps to it in an order in which they make sense, and the facts after them."""

    state: State
    steps: tuple[Step, ...]
    facts: Facts


class Change(NamedTuple):
    """One row. `applied` gives the facts as they would be, None where there is nothing to report.

    `words` gets the situations before and after it, `correction` the one that was reported.
    """

    applied: Callable[[Situation, int], Facts | None]
    words: Callable[[Situation, Situation], str]
    correction: Callable[[Situation], bool]


def better_states(state: State) -> list[State]:
    """The states nearer to proof, the nearest first, without those that are bad news."""
    better = [s for s in STATES if RANK[s] > RANK[state] and SEVERITY[s] in ("info", "notice")]
    return sorted(better, key=RANK.__getitem__)


def ways(facts: Facts, now: int) -> list[Way]:
    """A shortest way to each better state that can be reached by nothing becoming worse, the nearest state first."""
    wanted = better_states(decide(facts).state)
    found: dict[State, Way] = {}
    for changes, known in _smallest_first(facts, now):
        if len(found) == len(wanted):
            break
        state = decide(known[-1]).state
        if state in wanted and state not in found:
            found[state] = Way(state, tuple(_steps(changes, known)), known[-1])
    return [found[state] for state in wanted if state in found]


Changed = tuple[tuple[Change, ...], tuple[Facts, ...]]
"""Rows of the table in its order, and the facts before, between and after them."""


def _smallest_first(facts: Facts, now: int) -> Iterator[Changed]:
    """Every set of rows that apply one after the other: those of one row, then of two, and so on."""
    sets: list[Changed] = [((), (facts,))]
    while sets:
        sets = [larger for smaller in sets for larger in _with_one_more(smaller, now)]
        yield from sets


def _with_one_more(changed: Changed, now: int) -> Iterator[Changed]:
    changes, known = changed
    situation = situate(known[-1])
    below = CHANGES.index(changes[-1]) + 1 if changes else 0
    for change in CHANGES[below:]:
        after = change.applied(situation, now)
        if after is not None:
            yield (*changes, change), (*known, after)


def _steps(changes: Sequence[Change], facts: Sequence[Facts]) -> Iterator[Step]:
    reported = situate(facts[0])
    for change, before, after in zip(changes, facts[:-1], facts[1:], strict=True):
        words = change.words(situate(before), situate(after))
        yield Step(words, change.correction(reported), tuple(_edits(before, after)))


def _edits(before: Facts, after: Facts) -> Iterator[Edit]:
    """What differs between the inputs of two documents, field by field."""
    old, new = _fields(before), _fields(after)
    for (entity, id), fields in new.items():
        was = old.get((entity, id), {})
        for name, value in fields.items():
            if was.get(name) != value:
                yield Edit(entity, id, name, was.get(name), value)
    for name in before.unreadable:
        if name not in after.unreadable:
            entity, _, id = name.partition("/")
            yield Edit(entity, id, "unreadable", True, False)


def _fields(facts: Facts) -> dict[tuple[str, str], dict[str, Any]]:
    """For each entity the fields of its JSON, nested ones with dots."""
    inputs = facts_to_json(facts)
    entities = [("restore_run", inputs["restore_run"]), ("operation_run", inputs["operation_run"])]
    entities += [("evidence_snapshot", snapshot) for snapshot in inputs["evidence_snapshots"]]
    return {(name, value["id"]): dict(_leaves(value)) for name, value in entities if value is not None}


def _leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{path}{name}.")
        elif path or name != "id":
            yield f"{path}{name}", inner


# What the rows do.


def _is_executed(s: Situation, _: int) -> Facts | None:
    return s.facts._replace(run=s.run._replace(is_dry_run=False)) if s.run.is_dry_run else None


def _names_an_operation(s: Situation, _: int) -> Facts | None:
    if s.linked:
        return None
    taken = {s.run.operation_run_id, *(snapshot.operation_run_id for snapshot in s.facts.evidence)}
    return s.facts._replace(run=s.run._replace(operation_run_id=_new_id("operation", taken)))


def _operation_completes(s: Situation, now: int) -> Facts | None:
    if s.operation is None or s.operation_status not in ACTIVE:
        return None
    at = now if s.operation.completed_at is None else s.operation.completed_at
    return s.facts._replace(operation=s.operation._replace(status="completed", completed_at=at))


def _operation_succeeds(s: Situation, _: int) -> Facts | None:
    if s.operation is None or not s.linked or s.outcome in GOOD_OUTCOMES:
        return None
    return s.facts._replace(operation=s.operation._replace(outcome="succeeded"))


def _run_becomes(status: RunStatus) -> Change:
    return Change(
        lambda s, _: None if s.status == status else s.facts._replace(run=s.run._replace(status=status)),
        lambda s, _: f"The status of restore run {s.run.id} becomes {status}; it is {s.status}.",
        _run_is_final,
    )


def _run_is_final(s: Situation) -> bool:
    return s.status in FINAL


def _attention_completes(s: Situation, _: int) -> Facts | None:
    if s.run.attention in (None, "completed"):
        return None
    return s.facts._replace(run=s.run._replace(attention="completed"))


def _counts_are_clean(s: Situation, _: int) -> Facts | None:
    counts = s.run.counts
    clean: dict[str, int | None] = {name: 0 for name, _ in PARTS if getattr(counts, name)}
    if totals_differ(counts):
        clean["succeeded"] = counts.total
    return s.facts._replace(run=s.run._replace(counts=counts._replace(**clean))) if clean else None


def _everything_is_readable(s: Situation, _: int) -> Facts | None:
    return s.facts._replace(unreadable=()) if s.facts.unreadable else None


def _snapshot_finishes(s: Situation, now: int) -> Facts | None:
    """The newest of those that are not finished; one whose time is over already would be expired at once."""
    pending = [p for p in stored_snapshots(s) if p.status in ("queued", "generating") and not p.expired]
    pending = [p for p in pending if p.expires_at is None or p.expires_at > now]
    if not s.linked or not pending:
        return None
    finished = max(pending, key=lambda p: (p.generated_at or 0, p.id))
    active = finished._replace(status="active", generated_at=_after_completion(s, now))
    return s.facts._replace(evidence=tuple(active if p is finished else p for p in s.facts.evidence))


def _snapshot_appears(s: Situation, now: int) -> Facts | None:
    run = s.run
    if not s.linked:
        return None
    id = _new_id("snapshot", {snapshot.id for snapshot in s.facts.evidence})
    new = EvidenceSnapshot(id, run.tenant_id, "active", run.operation_run_id, _after_completion(s, now))
    return s.facts._replace(evidence=(*s.facts.evidence, new))


def _after_completion(s: Situation, now: int) -> int:
    completed_at = None if s.operation is None else s.operation.completed_at
    return now if completed_at is None else max(now, completed_at)


def _new_id(kind: str, taken: Collection[str | None]) -> str:
    """An identifier that stands for one that is not known yet."""
    return next(id for n in count(1) if (id := f"new-{kind}" if n == 1 else f"new-{kind}-{n}") not in taken)


# What the rows say.


def _linking(before: Situation, after: Situation) -> str:
    run, old, new = before.run.id, before.run.operation_run_id, after.run.operation_run_id
    if old is None:
        return f"Restore run {run} names an operation, say {new}; it names none."
    return f"Restore run {run} names another operation, say {new}; it names {old}, which was deleted."


def _counting(before: Situation, after: Situation) -> str:
    words: dict[str, str] = {"succeeded": "succeeded", **dict(PARTS)}
    counts = [(words[name], getattr(before.run.counts, name), getattr(after.run.counts, name)) for name in words]
    changes = ", ".join(f"{word} {was} → {becomes}" for word, was, becomes in counts if was != becomes)
    return f"The counts of restore run {before.run.id} change: {changes}."


def _finishing(before: Situation, after: Situation) -> str:
    (old,) = set(before.facts.evidence) - set(after.facts.evidence)
    return f"Evidence snapshot {old.id} becomes active, not older than its operation's completion; it is {old.status}."


def _appearing(before: Situation, _: Situation) -> str:
    operation = before.run.operation_run_id
    return f"A snapshot of operation {operation} appears that is active and not older than the operation's completion."


CHANGES: Final = (
    Change(
        _is_executed,
        lambda s, _: f"Restore run {s.run.id} is reported as no dry run.",
        lambda _: True,
    ),
    Change(_names_an_operation, _linking, lambda s: s.run.operation_run_id is not None),
    Change(
        _operation_completes,
        lambda s, _: f"The status of operation {s.run.operation_run_id} becomes completed; it is {s.operation_status}.",
        lambda _: False,
    ),
    Change(
        _operation_succeeds,
        lambda s, _: f"The outcome of operation {s.run.operation_run_id} becomes succeeded; it is {s.outcome}.",
        lambda _: True,
    ),
    _run_becomes("running"),
    _run_becomes("completed"),
    Change(
        _attention_completes,
        lambda s, _: (
            f"The given result attention of restore run {s.run.id} becomes completed; it is {s.run.attention}."
        ),
        _run_is_final,
    ),
    Change(_counts_are_clean, _counting, _run_is_final),
    Change(
        _everything_is_readable,
        lambda s, _: f"A readable event comes of {' and of '.join(s.facts.unreadable)}.",
        lambda _: False,
    ),
    Change(_snapshot_finishes, _finishing, lambda _: False),
    Change(_snapshot_appears, _appearing, lambda _: False),
)
"""In the order in which they would happen: a row sees what those above it have changed."""
