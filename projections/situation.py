"""The facts as the rules see them: is an operation linked, what may be known of its status and its outcome.

Derived once for each decision, so that the rules, the attention, the evidence and the inconsistencies all mean the
same by "linked" (interfaces, section 5). A deletion takes an operation's status and its proof away, but not what it
came to: what failed has failed, whether the row is kept or not. So `outcome` outlives a deletion, `operation_status`
does not.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from contracts.facts import Facts, OperationRun, OperationStatus, Outcome, RestoreRun, RunStatus

PRE_EXECUTION: Final[frozenset[RunStatus]] = frozenset({"draft", "scoped", "checked", "previewed"})
"""The contract, state 1: statuses before anything is executed."""
ACTIVE: Final[frozenset[RunStatus | OperationStatus]] = frozenset({"queued", "running"})
"""The contract, state 2: statuses of a run, and of an operation, that is on its way."""
TERMINAL: Final[frozenset[RunStatus]] = frozenset({"completed", "partial", "completed_with_errors"})
"""The contract, state 3: statuses of a run that was executed to its end."""
FINAL: Final[frozenset[RunStatus]] = TERMINAL | {"failed", "cancelled"}
"""Statuses that a run does not leave by itself (interfaces, section 5, `run_ahead_of_operation`)."""


class Situation(NamedTuple):
    """What one decision is made from."""

    facts: Facts
    run: RestoreRun
    status: RunStatus
    operation: OperationRun | None
    """The operation that the run names, deleted or not; None if it names none or that one was never seen."""
    linked: bool
    """The run names an operation that is not known to be deleted; whether it was seen yet does not matter."""
    operation_status: OperationStatus | None
    """None where no operation is linked, or the linked one was never seen."""
    outcome: Outcome | None
    """The named operation's last known outcome; a deleted one's still counts."""


def situate(facts: Facts) -> Situation:
    """The situation that these facts describe; an operation that the run does not name is not seen."""
    run = facts.run
    operation = facts.operation
    if operation is None or operation.id != run.operation_run_id or operation.tenant_id != run.tenant_id:
        return Situation(facts, run, run.status, None, run.operation_run_id is not None, None, None)
    if operation.deleted:
        return Situation(facts, run, run.status, operation, False, None, operation.outcome)
    return Situation(facts, run, run.status, operation, True, operation.status, operation.outcome)


def preview_exists(situation: Situation) -> bool:
    """A preview was made: status previewed, or a dry run that went to its end (interfaces, section 5)."""
    return situation.status == "previewed" or (situation.run.is_dry_run and situation.status in TERMINAL)
