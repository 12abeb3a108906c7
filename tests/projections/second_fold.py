"""A second way to fold a history, to hold against the first.

Written from interfaces, sections 4, 6 and 7. Everything that is known of an entity lies in one dictionary, and who is
concerned by what is found by looking through all of it: no links, no stored records, no closure, no workspace, no
index of deadlines. It is slow, and each sentence of the specification is one statement here. What a decision says
is not its business: `decide` and `describe` have a second opinion of their own (`second_opinion`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from contracts.commands import Forget, Recompute
from contracts.decision import encode
from contracts.events import Changed, Deleted, Ignored, Mark, Record, Rejected
from contracts.facts import EvidenceSnapshot, Facts, OperationRun, RestoreRun
from contracts.times import format_time
from projections.advance import Input
from projections.document import describe
from projections.rules import POLICY, decide

Name = tuple[str, str]
"""Tenant and id."""

SEVERITY = {
    "not_executed": "info",
    "in_progress": "info",
    "completed_with_evidence": "info",
    "completed_proof_incomplete": "notice",
    "needs_review": "warning",
    "blocked_or_cancelled": "warning",
    "failed": "critical",
}
ORDER = [
    {"not_executed"},
    {"in_progress"},
    {"blocked_or_cancelled", "failed", "needs_review"},
    {"completed_proof_incomplete"},
    {"completed_with_evidence"},
]


@dataclass(frozen=True)
class Limits:
    """Memory of deletions in ms of stream time."""

    links: int = 1000
    snapshots: int = 20
    memory: int = 30 * 24 * 3600 * 1000


@dataclass
class Run:
    """`facts` is None while the run is deleted; `shown` is the status in words of the last document.

    A `sequence` of None is forgotten: whatever comes is newer. So it is with the others.
    """

    sequence: int | None
    facts: RestoreRun | None
    unreadable: bool = False
    revision: int = 0
    state: str | None = None
    previous: str | None = None
    shown: str | None = None
    timeline: list[tuple[int, str, int]] = field(default_factory=list)
    changed_at: int = 0
    updated_at: int = 0


@dataclass
class Operation:
    """`facts` is None while only an unreadable event is known."""

    facts: OperationRun | None = None
    unreadable: bool = False
    forget_at: int | None = None


@dataclass
class Snapshot:
    """`facts` is None for a deleted one; `kept`: it is with the operation where it was seen last."""

    sequence: int | None
    facts: EvidenceSnapshot | None
    last_operation: str | None
    kept: bool
    unreadable: bool = False
    forget_at: int | None = None


class SecondFold:
    """Takes inputs one by one; has documents, changes and dead letters."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.now = 0
        self.runs: dict[Name, Run] = {}
        self.operations: dict[Name, Operation] = {}
        self.snapshots: dict[Name, Snapshot] = {}
        self.changes: list[tuple[dict[str, Any], str | None]] = []
        self.letters: list[tuple[Record, str]] = []

    def documents(self) -> dict[str, bytes]:
        """The bytes of every run's document, by `<tenant>/<run>`."""
        existing = {name: run for name, run in self.runs.items() if run.facts is not None}
        return {f"{tenant}/{id}": encode(self._document((tenant, id), run)) for (tenant, id), run in existing.items()}

    # Inputs

    def take(self, input: Input, present: int) -> str:
        self.pass_time(min(input.at, present))
        outcome = self._take(input)
        self._remember_deleted_operations()
        return outcome

    def _take(self, input: Input) -> str:
        event = input.event
        if isinstance(event, Ignored):
            return "ignored"
        if isinstance(event, Rejected):
            self.letters.append((input.record, event.reason))
            if event.marks is not None:
                self._mark(event.marks, input)
            return "dead_letter"
        if isinstance(event, Recompute):
            return "ignored"  # every document is up to date, as there is only one version of the rules here
        if isinstance(event, Forget):
            return "applied" if self._forget(event, input) else "ignored"
        return self._apply(event, input)

    def _apply(self, event: Changed | Deleted, input: Input) -> str:
        name = (event.tenant_id, event.id)
        known, is_deleted = self._known(event.entity, name)
        if known is not None:
            wins = event.sequence > known
            wins |= event.sequence == known and isinstance(event, Deleted) and not is_deleted
            if not wins:
                return "stale"
        facts = event.facts if isinstance(event, Changed) else None
        if event.entity == "restore_run":
            assert facts is None or isinstance(facts, RestoreRun)
            return self._run(name, event.sequence, facts, input)
        if event.entity == "operation_run":
            assert facts is None or isinstance(facts, OperationRun)
            self._operation(name, event, facts, input)
        else:
            assert facts is None or isinstance(facts, EvidenceSnapshot)
            self._snapshot(name, event.sequence, facts, input)
        return "applied"

    def _known(self, entity: str, name: Name) -> tuple[int | None, bool]:
        """The largest sequence applied to an entity, and whether that was its deletion."""
        if entity == "restore_run":
            run = self.runs.get(name)
            return (None, False) if run is None else (run.sequence, run.facts is None)
        if entity == "operation_run":
            operation = self.operations.get(name)
            facts = None if operation is None else operation.facts
            return (None, False) if facts is None else (facts.sequence, facts.deleted)
        snapshot = self.snapshots.get(name)
        if snapshot is None:
            return None, False
        return snapshot.sequence, snapshot.facts is None

    # Restore runs

    def _run(self, name: Name, sequence: int, facts: RestoreRun | None, input: Input) -> str:
        run = self.runs.get(name)
        if facts is None:
            if run is None:
                self.runs[name] = Run(sequence, None)
            elif run.facts is None:
                run.sequence = sequence
            else:
                run.sequence, run.facts, run.unreadable = sequence, None, False
                self._decide(name, input)
            return "applied"
        if facts.operation_run_id is not None:
            others = set(self._runs_naming(name[0], facts.operation_run_id)) - {name}
            if len(others) >= self.limits.links:
                self.letters.append((input.record, "too_many_links"))
                return "dead_letter"
        run = self.runs.setdefault(name, Run(sequence, None))
        run.sequence, run.facts, run.unreadable = sequence, facts, False
        self._decide(name, input)
        return "applied"

    def _runs_naming(self, tenant: str, operation: str | None) -> list[Name]:
        return sorted(
            name
            for name, run in self.runs.items()
            if name[0] == tenant
            and operation is not None
            and run.facts is not None
            and run.facts.operation_run_id == operation
        )

    # Operations

    def _operation(self, name: Name, event: Changed | Deleted, facts: OperationRun | None, input: Input) -> None:
        operation = self.operations.setdefault(name, Operation())
        if facts is None:
            last = operation.facts or OperationRun(event.id, event.tenant_id, None)
            facts = last._replace(deleted=True, sequence=event.sequence, source=event.source)
        operation.facts = facts
        operation.unreadable = False
        operation.forget_at = None
        for run in self._runs_naming(*name):
            self._decide(run, input)

    def _remember_deleted_operations(self) -> None:
        """As long as a run links to it or something newer could not be read, then for the set time."""
        for (tenant, id), operation in self.operations.items():
            deleted = operation.facts is not None and operation.facts.deleted
            if not deleted or self._runs_naming(tenant, id) or self._unreadable(tenant, id):
                operation.forget_at = None
            elif operation.forget_at is None:
                operation.forget_at = self.now + self.limits.memory

    def _unreadable(self, tenant: str, operation: str) -> list[str]:
        found = self.operations.get((tenant, operation))
        names = [f"operation_run/{operation}"] if found is not None and found.unreadable else []
        for (owner, id), snapshot in self.snapshots.items():
            if owner == tenant and snapshot.last_operation == operation and snapshot.unreadable:
                names.append(f"evidence_snapshot/{id}")
        return sorted(names)

    # Snapshots

    def _snapshot(self, name: Name, sequence: int, facts: EvidenceSnapshot | None, input: Input) -> None:
        tenant = name[0]
        before = self.snapshots.get(name)
        last_operation = None if before is None else before.last_operation
        concerned: set[Name] = set()
        if before is not None and (before.kept or before.unreadable):
            concerned.update(self._runs_naming(tenant, last_operation))
        if facts is None:
            forget_at = self.now + self.limits.memory
            self.snapshots[name] = Snapshot(sequence, None, last_operation, kept=False, forget_at=forget_at)
        else:
            past = facts.status == "active" and facts.expires_at is not None and facts.expires_at <= self.now
            target = facts.operation_run_id
            after = Snapshot(sequence, facts._replace(expired=past), target, kept=target is not None)
            self.snapshots[name] = after
            if target is not None:
                self._drop_one_too_many(tenant, target)
            if after.kept:
                concerned.update(self._runs_naming(tenant, target))
        for run in sorted(concerned):
            self._decide(run, input)

    def _drop_one_too_many(self, tenant: str, operation: str) -> None:
        kept = self._kept(tenant, operation)
        if len(kept) > self.limits.snapshots:
            least = min(kept, key=lambda s: self._telling(s, tenant, operation))
            least.kept = False
            least.forget_at = None if least.unreadable else self.now + self.limits.memory

    def _kept(self, tenant: str, operation: str) -> list[Snapshot]:
        return [
            s
            for (owner, _), s in self.snapshots.items()
            if owner == tenant and s.last_operation == operation and s.kept
        ]

    def _telling(self, snapshot: Snapshot, tenant: str, operation: str) -> tuple[bool, float, str]:
        """Current ones last, then by time with unknown ones oldest, then by id."""
        facts = snapshot.facts
        assert facts is not None
        found = self.operations.get((tenant, operation))
        completed = None if found is None or found.facts is None else found.facts.completed_at
        current = facts.status == "active" and not facts.expired
        if facts.generated_at is not None and completed is not None and facts.generated_at < completed:
            current = False
        return current, float("-inf") if facts.generated_at is None else facts.generated_at, facts.id

    # Time

    def pass_time(self, time: int) -> None:
        time = max(time, self.now)
        while True:
            due = sorted(d for d in self._deadlines() if d[0] <= time)
            if not due:
                break
            at, kind, name = due[0]
            if kind == "operation":
                self.operations[name].facts = None
                self.operations[name].forget_at = None
            elif self.snapshots[name].kept:
                self._expire(name, at)
            else:
                del self.snapshots[name]
        self.now = time

    def _deadlines(self) -> list[tuple[int, str, Name]]:
        found = [(o.forget_at, "operation", name) for name, o in self.operations.items() if o.forget_at is not None]
        for name, snapshot in self.snapshots.items():
            if snapshot.forget_at is not None:
                found.append((snapshot.forget_at, "snapshot", name))
            facts = snapshot.facts
            if snapshot.kept and facts is not None and facts.status == "active" and not facts.expired:
                found += [(facts.expires_at, "snapshot", name)] if facts.expires_at is not None else []
        return found

    def _expire(self, name: Name, at: int) -> None:
        snapshot = self.snapshots[name]
        assert snapshot.facts is not None
        snapshot.facts = snapshot.facts._replace(expired=True)
        cause = {"entity": "evidence_snapshot", "id": name[1], "sequence": snapshot.sequence}
        for run in self._runs_naming(name[0], snapshot.last_operation):
            self._decide_because(run, at, cause, "deadline", None)

    # Unreadable events

    def _mark(self, mark: Mark, input: Input) -> None:
        name = (mark.tenant_id, mark.id)
        known, _ = self._known(mark.entity, name)
        if mark.sequence is not None and known is not None and mark.sequence <= known:
            return
        if mark.entity == "restore_run":
            run = self.runs.get(name)
            if run is not None and run.facts is not None and not run.unreadable:
                run.unreadable = True
                self._decide(name, input)
            return
        if mark.entity == "operation_run":
            entity: Operation | Snapshot | None = self.operations.setdefault(name, Operation())
            operation: str | None = mark.id
        else:
            entity = self.snapshots.get(name)
            operation = None if entity is None else entity.last_operation
        if entity is None or operation is None or entity.unreadable:
            return
        entity.unreadable = True
        if isinstance(entity, Snapshot):
            entity.forget_at = None
        for found in self._runs_naming(mark.tenant_id, operation):
            self._decide(found, input)

    # What operators have forgotten

    def _forget(self, order: Forget, input: Input) -> bool:
        """Whether there was something to forget. A decision that follows from it is an operator's work."""
        name = (order.tenant_id, order.id)
        everything = order.what == "everything"
        if order.kind == "operation":
            found = self.operations.get(name)
            concerned = self._runs_naming(*name)
            there = found is not None and self._forget_operation(found, everything=everything)
        elif order.kind == "snapshot":
            concerned = self._concerned_by_snapshot(name, marked_too=everything)
            there = self._forget_snapshot(name, everything=everything)
        else:
            run = self.runs.get(name)
            there = run is not None and (run.facts is None) == (order.kind == "deleted-run")
            there = there and self._forget_run(name, everything=everything)
            concerned = [name] if there and order.kind == "run" else []
        if there:
            entity = {"operation": "operation_run", "snapshot": "evidence_snapshot"}.get(order.kind, "restore_run")
            cause = {"entity": entity, "id": order.id, "sequence": None}
            for run_name in concerned:
                self._decide_because(run_name, input.at, cause, "recompute", order.traceparent)
        if there and everything and order.kind in ("run", "deleted-run"):
            del self.runs[name]
        return there

    def _forget_run(self, name: Name, *, everything: bool) -> bool:
        run = self.runs[name]
        if everything:
            run.facts = None
            return True
        known, run.sequence = run.sequence, None
        if run.facts is not None:
            run.facts = run.facts._replace(sequence=None)
        return known is not None

    def _forget_operation(self, operation: Operation, *, everything: bool) -> bool:
        facts = operation.facts
        if everything:
            there = facts is not None or operation.unreadable
            operation.facts, operation.unreadable = None, False
            return there
        if facts is None or facts.sequence is None:
            return False
        operation.facts = facts._replace(sequence=None)
        return True

    def _concerned_by_snapshot(self, name: Name, *, marked_too: bool) -> list[Name]:
        snapshot = self.snapshots.get(name)
        if snapshot is None or not (snapshot.kept or (marked_too and snapshot.unreadable)):
            return []
        return self._runs_naming(name[0], snapshot.last_operation)

    def _forget_snapshot(self, name: Name, *, everything: bool) -> bool:
        if everything:
            return self.snapshots.pop(name, None) is not None
        snapshot = self.snapshots.get(name)
        if snapshot is None or snapshot.sequence is None:
            return False
        snapshot.sequence = None
        if snapshot.facts is not None:
            snapshot.facts = snapshot.facts._replace(sequence=None)
        return True

    # Decisions

    def _decide(self, name: Name, input: Input) -> None:
        event = input.event
        assert isinstance(event, Changed | Deleted | Rejected)
        about = event.marks if isinstance(event, Rejected) else event
        assert about is not None
        cause = {"entity": about.entity, "id": about.id, "sequence": about.sequence}
        self._decide_because(name, input.at, cause, input.origin, event.traceparent)

    def _decide_because(self, name: Name, at: int, cause: dict[str, Any], origin: str, traceparent: str | None) -> None:
        run = self.runs[name]
        run.revision += 1
        run.updated_at = max(run.updated_at, at)
        before, was = run.state, run.shown
        if run.facts is None:
            run.state = run.previous = run.shown = None
            run.timeline = []
            words: dict[str, Any] = {}
        else:
            facts = self._facts(name, run.facts)
            rule = decide(facts)
            run.state = rule.state
            words = describe(facts, rule)
            run.shown = words["status"]
        if run.state == before:
            return
        run.changed_at = run.updated_at
        if run.state is not None:
            run.previous = before
            run.timeline = [*run.timeline, (run.revision, run.state, run.changed_at)][-20:]
        now = "removed" if run.shown is None else run.shown
        change = {
            "tenant_id": name[0],
            "restore_run_id": name[1],
            "from_state": before,
            "to_state": run.state,
            "summary": f"{name[1]}: {now}" + ("" if was is None else f" (was: {was})"),
            "status": words.get("status"),
            "reason": words.get("reason"),
            "impact": words.get("impact"),
            "revision": run.revision,
            "severity": "info" if run.state is None else SEVERITY[run.state],
            "direction": _direction(before, run.state),
            "origin": origin,
            "cause": cause,
            "changed_at": format_time(run.changed_at),
        }
        self.changes.append((change, traceparent))

    def _facts(self, name: Name, run: RestoreRun) -> Facts:
        tenant, operation_id = name[0], run.operation_run_id
        unreadable = [f"restore_run/{run.id}"] if self.runs[name].unreadable else []
        if operation_id is None:
            return Facts(run, unreadable=tuple(unreadable))
        operation = self.operations.get((tenant, operation_id))
        evidence = [s.facts for s in self._kept(tenant, operation_id) if s.facts is not None]
        unreadable += self._unreadable(tenant, operation_id)
        return Facts(run, None if operation is None else operation.facts, tuple(evidence), tuple(sorted(unreadable)))

    def _document(self, name: Name, run: Run) -> dict[str, Any]:
        assert run.facts is not None
        facts = self._facts(name, run.facts)
        return {
            "schema": "restore.decision-state/1",
            "tenant_id": name[0],
            "restore_run_id": name[1],
            "operation_run_id": run.facts.operation_run_id,
            "revision": run.revision,
            "state": run.state,
            "previous_state": run.previous,
            **describe(facts, decide(facts)),
            "timeline": [{"revision": r, "state": s, "changed_at": format_time(at)} for r, s, at in run.timeline],
            "policy": POLICY,
            "changed_at": format_time(run.changed_at),
            "updated_at": format_time(run.updated_at),
        }


def _direction(before: str | None, after: str | None) -> str:
    if before is None:
        return "initial"
    if after is None:
        return "removed"
    rank = {state: at for at, states in enumerate(ORDER) for state in states}
    return "progress" if rank[after] >= rank[before] else "regression"
