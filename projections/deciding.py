"""Something was applied to a run: it takes a revision, is decided again, and another state is a change.

Every rule about entities ends here, once for each run that it bears on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from contracts.decision import TIMELINE_LENGTH
from contracts.facts import Facts
from projections.effects import Cause, Effects, publish_change, trace
from projections.output import state_document
from projections.record import Key, RunRecord, Transition, own_mark
from projections.rules import decide
from projections.workspace import Workspace


def facts_of(workspace: Workspace, record: RunRecord) -> Facts:
    """All that a run's decision depends on, from where each fact lives."""
    run = record.run
    own = (own_mark(run.id),) if record.marked else ()
    if run.operation_run_id is None:
        return Facts(run, unreadable=own)
    operation = workspace.operation(run.tenant_id, run.operation_run_id)
    assert operation is not None, "a named operation has a record: the run's link is in it"
    unreadable = tuple(sorted({*own, *operation.unreadable})) if operation.unreadable else own
    return Facts(run, operation.operation, tuple(operation.snapshots.values()), unreadable)


def current_document(workspace: Workspace, record: RunRecord) -> dict[str, Any]:
    """The state document of a run as it stands."""
    facts = facts_of(workspace, record)
    return state_document(record, facts, decide(facts))


def decide_again(workspace: Workspace, effects: Effects, record: RunRecord, cause: Cause) -> None:
    """Something was applied to this run: take a revision, derive the state, publish a change of it."""
    run = record.run
    key = Key("run", run.tenant_id, run.id)
    state = decide(facts_of(workspace, record)).state
    effects.counts["decided"] += 1
    record.revision += 1
    record.updated_at = max(record.updated_at, cause.at)
    record.stored = None
    if state != record.state:
        before, record.previous_state, record.state = record.state, record.state, state
        record.changed_at = record.updated_at
        record.timeline.append(Transition(record.revision, state, record.changed_at))
        del record.timeline[:-TIMELINE_LENGTH]
        publish_change(effects, key, before, state, record.revision, record.changed_at, cause)
    trace(effects, key, cause)
    workspace.put(key, record)


def decide_all_again(workspace: Workspace, effects: Effects, tenant: str, runs: Iterable[str], cause: Cause) -> None:
    for id in sorted(runs):
        record = workspace.run(tenant, id)
        assert record is not None, "an operation's record names only runs that exist"
        decide_again(workspace, effects, record, cause)
