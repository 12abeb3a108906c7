"""The rules: one table, read from the top; the first row that holds decides the state.

Every row says in plain language when it holds and why it stands where it stands, quotes the passage of the state
contract (docs/restore-result-state-contract.txt) that it comes from, and marks where it departs from that contract on
purpose; a departure always claims less. Interfaces, section 5; docs/decisions.md is made from this table.

The contract lists seven states and what triggers each, but not which wins when several are triggered. The order here:
what is certain before what may still change, bad news before good news, and proof only when nothing else is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from contracts.decision import STATES, State
from contracts.facts import Facts
from projections import because
from projections.attention import attention
from projections.evidence import assess
from projections.situation import ACTIVE, PRE_EXECUTION, TERMINAL, Situation, situate

POLICY: Final = 1
"""Raised by hand when rules or wording change: workers then decide every stored run again (interfaces, section 10)."""
DIGEST: Final = "9dd2c57a5b977938"
"""What this policy decides and says, as `projections.book` sums it up; the check that `POLICY` is raised."""


class Passage(NamedTuple):
    """A passage of the state contract: of which of its seven states, and its words."""

    state: int
    words: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. `because` names the sentences that tell an operator which facts made it hold."""

    name: str
    state: State
    when: str
    holds: Callable[[Situation], bool]
    why: str
    contract: tuple[Passage, ...]
    because: tuple[str, ...]
    deviation: str | None = None
    claims_allowed: bool = True
    """False where not even the state's own claims may be made."""
    awaits: str | None = None
    """What is still awaited from the sources; None where nothing is, and the restore may stay so for good."""


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        name="dry_run",
        state="not_executed",
        when="The restore run is a dry run.",
        holds=lambda s: s.run.is_dry_run,
        why=(
            "A dry run changes nothing in the customer's environment, whatever else its record says. It proves at "
            "most that a preview was made. So it stands first: no later rule can turn it into an execution. A dry run"
            " that failed or was cancelled is still not executed; the inconsistency preview_failed says so."
        ),
        contract=(Passage(1, "restore_runs.is_dry_run = true"),),
        because=("dry run",),
    ),
    Rule(
        name="run_failed",
        state="failed",
        when="The run's status is failed.",
        holds=lambda s: s.status == "failed",
        why=(
            "The run itself says that it failed, and that does not become better by itself. Bad news is shown at once, "
            "also when the operation is still running or says something else."
        ),
        contract=(Passage(6, "restore_runs.status = failed"),),
        because=("status",),
        deviation=(
            "The contract would also allow 'Execution in progress' while the operation is still running. "
            "Failure goes first."
        ),
    ),
    Rule(
        name="operation_failed",
        state="failed",
        when="The outcome of the operation that the run names is failed, even if that operation was deleted since.",
        holds=lambda s: s.outcome == "failed",
        why=(
            "The operation is what executed the restore. If it failed, the restore failed, even where the run's own "
            "record still says running, or says completed. Deleting the operation's record does not undo the failure."
        ),
        contract=(Passage(6, "linked operation run outcome = failed"),),
        because=("outcome", "outcome outlives deletion"),
        deviation=(
            "The contract would also allow 'Execution in progress' where the run or the operation counts as running. "
            "Failure goes first. A deleted operation's outcome still counts."
        ),
    ),
    Rule(
        name="operation_active",
        state="in_progress",
        when="The linked operation is queued or running.",
        holds=lambda s: s.operation_status in ACTIVE,
        why=(
            "As long as the operation works, nothing is final: not a completion that the run already reports, "
            "not a cancellation either, because items may still be applied."
        ),
        contract=(Passage(2, "linked operation_runs.status in { queued, running }"),),
        because=("operation status",),
        awaits="The end of the operation.",
    ),
    Rule(
        name="run_cancelled",
        state="blocked_or_cancelled",
        when="The run's status is cancelled.",
        holds=lambda s: s.status == "cancelled",
        why=(
            "The run was called off, and no operation is known to work on it any more. If items were applied before "
            "that, the inconsistency applied_before_cancellation says so."
        ),
        contract=(Passage(7, "restore_runs.status = cancelled"),),
        because=("status",),
    ),
    Rule(
        name="operation_blocked",
        state="blocked_or_cancelled",
        when=(
            "The outcome of the operation that the run names is blocked; or it is cancelled, "
            "and the run is not completed, partial or completed_with_errors. Even if that operation was deleted since."
        ),
        holds=lambda s: s.outcome == "blocked" or (s.outcome == "cancelled" and s.status not in TERMINAL),
        why=(
            "Something stopped the operation. A run that still waits for it, or says that it is running, will not go "
            "on without somebody who looks at the blocker. An operation that was cancelled has the same consequence, "
            "unless the run reports a completion: then something was done, and needs_review takes it."
        ),
        contract=(Passage(7, "linked operation run outcome = blocked"),),
        because=("outcome", "outcome outlives deletion", "status beside a cancelled outcome"),
        deviation=(
            "The contract does not mention an operation that was cancelled. It is treated like a blocked one. "
            "A deleted operation's outcome still counts."
        ),
    ),
    Rule(
        name="run_active",
        state="in_progress",
        when="The run's status is queued or running.",
        holds=lambda s: s.status in ACTIVE,
        why=(
            "The run says that it is on its way, and nothing worse is known. This holds too when the operation is "
            "already completed: until the run's own record has followed, its counts are not final."
        ),
        contract=(Passage(2, "restore_runs.status in { queued, running }"),),
        because=("status",),
        awaits="The end of the run.",
    ),
    Rule(
        name="run_behind_operation",
        state="in_progress",
        when="The run is draft, scoped, checked or previewed, but the linked operation is completed.",
        holds=lambda s: s.status in PRE_EXECUTION and s.operation_status == "completed",
        why=(
            "Something was executed, so 'Not executed' would be untrue. But the run's record has not followed yet, "
            "so nothing can be said about results. 'In progress' claims neither."
        ),
        contract=(Passage(1, "restore_runs.status in { draft, scoped, checked, previewed } (pre-execution)"),),
        because=("status", "operation status"),
        deviation="The contract leaves this case open; by its letter the run would be 'Not executed', which is untrue.",
        awaits="The run's own record, which has to follow the operation.",
    ),
    Rule(
        name="pre_execution",
        state="not_executed",
        when="The run's status is draft, scoped, checked or previewed.",
        holds=lambda s: s.status in PRE_EXECUTION,
        why="The run is being prepared and no operation is known to have done anything for it.",
        contract=(Passage(1, "restore_runs.status in { draft, scoped, checked, previewed } (pre-execution)"),),
        because=("status",),
        awaits="The execution, or that the run is called off.",
    ),
    Rule(
        name="needs_review",
        state="needs_review",
        when=(
            "The run's status is partial; or the attention is other than completed; "
            "or the outcome of the operation that the run names is cancelled, even if that operation was deleted since."
        ),
        holds=lambda s: s.status == "partial" or s.outcome == "cancelled" or attention(s) != "completed",
        why=(
            "The run came to its end, but not everything is as it should be: items failed, were skipped or were "
            "applied in part, or a source says that somebody should look. That must be seen before any evidence, "
            "because evidence of a partial result is not evidence of a recovery."
        ),
        contract=(
            Passage(
                5, "RestoreSafetyResolver::resultAttentionForRun(...).state in { partial, completed_with_follow_up }"
            ),
            Passage(5, "restore_runs.status = partial"),
        ),
        because=("status", "outcome", "outcome outlives deletion", "shortfalls", "totals differ", "attention"),
        deviation=(
            "The contract would also allow the two completed states. Review goes first. Beside the attention that the"
            " source gives, the one that follows from the facts counts, and the worse of the two decides. A cancelled"
            " operation under a completed run is not mentioned in the contract."
        ),
    ),
    Rule(
        name="input_unreadable",
        state="completed_proof_incomplete",
        when=(
            "The newest event of the run, of its operation or of one of that operation's snapshots could not be read, "
            "and no event of the same entity was applied since."
        ),
        holds=lambda s: bool(s.facts.unreadable),
        why=(
            "Something newer than what is stored was said about this restore, and it is not known what. "
            "It may be that evidence was withdrawn or that items failed. So nothing is claimed until it can be read. "
            "The rules above stand first: all of them already claim less than a completed restore."
        ),
        contract=(Passage(3, "Do not treat this restore as verified recovery until evidence has been reviewed."),),
        because=("status", "unreadable"),
        deviation="The contract does not know events that cannot be read. No claim is allowed.",
        claims_allowed=False,
        awaits="An event of the same entity that can be read.",
    ),
    Rule(
        name="evidence_current",
        state="completed_with_evidence",
        when="The run is linked to an operation, and current evidence of that operation is stored.",
        holds=lambda s: assess(s).current is not None,
        why=(
            "The run is completed, nothing needs review, an operation stands behind it, and there is evidence of that"
            " operation which is not known to be older than its completion. This is the most that is ever shown, and "
            "even here a person has to review the evidence."
        ),
        contract=(
            Passage(
                4,
                "at least one evidence snapshot exists for the same operation_run_id and tenant, "
                "with status/currentness appropriate to repo truth",
            ),
        ),
        because=("status", *because.LINK, *because.CURRENT_EVIDENCE),
    ),
    Rule(
        name="evidence_missing",
        state="completed_proof_incomplete",
        when="The run is linked to an operation.",
        holds=lambda s: s.linked,
        why=(
            "The run is completed and an operation stands behind it, but no evidence of it is current: there is none "
            "yet, it has expired or was superseded, it failed, or it is older than the completion and so cannot show "
            "the result."
        ),
        contract=(
            Passage(3, "operation proof is present (operation_run_id != null)"),
            Passage(3, "post-run evidence snapshot not present or not current for the operation run"),
        ),
        because=("status", *because.LINK, *because.NO_CURRENT_EVIDENCE),
        awaits="Current evidence of the operation.",
    ),
    Rule(
        name="operation_unlinked",
        state="completed_proof_incomplete",
        when="Otherwise: the run names no operation, or the one that it names was deleted.",
        holds=lambda _: True,
        why=(
            "The run says that it is completed, but nothing stands behind that: there is no operation that would "
            "prove the execution. So not even the execution may be claimed."
        ),
        contract=(Passage(3, "operation proof is present (operation_run_id != null)"),),
        because=("status", *because.LINK),
        deviation=(
            "The contract leaves a completed run without an operation open. It is shown as completed without proof: "
            "the operation proof is unavailable and no claim is allowed."
        ),
        claims_allowed=False,
        awaits="An operation that stands behind the run.",
    ),
)

_TABLE: Final = tuple((rule.holds, rule) for rule in RULES)

UNFINISHED: Final[tuple[State, ...]] = tuple(
    state for state in STATES if any(rule.state == state and rule.awaits is not None for rule in RULES)
)
"""States in which something may still be awaited; whether it is, the rule says."""
_FINISHED: Final = frozenset(rule.name for rule in RULES if rule.awaits is None)


def decide(facts: Facts) -> Rule:
    """The first rule that holds."""
    situation = situate(facts)
    for holds, rule in _TABLE:
        if holds(situation):
            return rule
    raise AssertionError("the last rule always holds")


def is_unfinished(document: dict[str, Any]) -> bool:
    """Whether something is still awaited of the restore that a state document is of.

    Of a rule that is not known, as it is another policy's, the state alone says it.
    """
    return document["state"] in UNFINISHED and document["diagnostics"]["rule"] not in _FINISHED
