"""`recompute`: decide stored runs again, through the ops topic."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.orders import (
    Actor,
    DryRun,
    Rate,
    Reason,
    Run,
    Tenant,
    Yes,
    ask,
    bar,
    changes_json,
    changes_rows,
    ended_early,
    waiting_bar,
)
from worker.cli.output import Json, print_json, print_table
from worker.errors import ProjectorError

if TYPE_CHECKING:
    from contracts.orders import Trail
    from worker.operators.outcome import Outcome
    from worker.operators.recompute import Recomputation
    from worker.operators.stored import StoredRuns
    from worker.settings import Settings


class NoSuchRun(ProjectorError):
    """There is nothing to decide."""


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: restore-projector recompute --tenant t-1 --reason 'new wording' --dry-run")(recompute)


def recompute(
    *,
    every: Annotated[bool, typer.Option("--all", help="All runs of all tenants.")] = False,
    tenant: Tenant = None,
    run: Run = None,
    reason: Reason = "",
    actor: Actor = None,
    rate: Rate = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Decide runs again from their stored facts, beside running workers; only differences are published.

    Say which: --all, --tenant T, or --tenant T --run R. One order for each run goes into the ops topic, the workers
    carry them out in order with everything else, and this waits until all are taken and says what has changed. What is
    published has the origin `recompute`, by which alerting leaves it out.

    Workers of a new version recompute by themselves. This is for when you want to be sure, or for a single run.

    Ctrl-C leaves nothing half done, exit code 130: orders that were written are carried out, and the command can be
    given again, as a run that is decided as before publishes nothing.
    """
    from worker.operators.stored import StoredRuns
    from worker.reading import StoreReader
    from worker.settings import load_settings

    _check_choice(every=every, tenant=tenant, run=run)
    settings = load_settings()
    with StoreReader(settings.redis) as store:
        runs = StoredRuns(settings, store, tenant, run)
        runs.check()
        if dry_run:
            _estimate(runs, json=json)
            return
        if run is None:
            ask(f"Decide all runs of {f'tenant {tenant}' if tenant else 'all tenants'} again?", yes=yes)
        _recompute(settings, runs, _trail(reason, actor), rate, run, json=json)


def _check_choice(*, every: bool, tenant: str | None, run: str | None) -> None:
    if every == (tenant is not None):
        raise typer.BadParameter("expected one of --all, --tenant T, --tenant T --run R", param_hint="--all, --tenant")
    if run is not None and tenant is None:
        raise typer.BadParameter("expected --tenant with it: a run's id is its tenant's", param_hint="--run")


def _trail(reason: str, actor: str | None) -> Trail:
    from worker.operators.orders import new_trail

    return new_trail(reason, actor)


def _estimate(runs: StoredRuns, *, json: bool) -> None:
    from worker.operators.recompute import estimate

    with bar("runs", None) as show:
        found = estimate(runs, show)
    summary = {
        "runs": found.runs,
        "documents_that_would_change": found.documents,
        "changes_of_state": changes_json(found.changes),
    }
    if json:
        print_json(summary)
        return
    rows = [
        ("runs", f"{found.runs:,}"),
        ("documents that would change", f"{found.documents:,}"),
        ("changes of state", f"{found.changes.total():,}"),
        *changes_rows(found.changes),
    ]
    print_table(("nothing is written", ""), rows)


def _recompute(
    settings: Settings, runs: StoredRuns, trail: Trail, rate: float | None, run: str | None, *, json: bool
) -> None:
    from worker.operators.log import LogReader
    from worker.operators.recompute import Recomputation

    began = time.monotonic()
    work = Recomputation(settings, runs, trail, rate)
    with LogReader(settings.kafka) as reader, ended_early(lambda: _left(work, trail)):
        with bar("orders", runs.count()) as show:
            published = work.send(reader, show)
        with waiting_bar(work.sent) as tell:
            work.wait(tell)
        outcome = work.outcome(published)
    if run is not None and not work.sent:
        raise NoSuchRun(
            f"restore run {run} does not exist: the store has no document of it, so there is nothing to decide"
        )
    _show(_summary(trail, work.sent, outcome, time.monotonic() - began), outcome, json=json)


def _left(work: Recomputation, trail: Trail) -> str:
    return (
        f"ended after {work.sent:,} orders (request {trail.request}), which are carried out all the same; "
        "give the command again for the rest: a run that is decided as before publishes nothing"
    )


def _summary(trail: Trail, sent: int, outcome: Outcome, seconds: float) -> dict[str, Any]:
    return {
        "request": trail.request,
        "actor": trail.actor,
        "reason": trail.reason,
        "decided_again": sent,
        "documents_changed": outcome.documents,
        "changes_of_state": changes_json(outcome.changes),
        "dead_letters": dict(outcome.letters),
        "seconds": round(seconds, 1),
    }


def _show(summary: dict[str, Any], outcome: Outcome, *, json: bool) -> None:
    if json:
        print_json(summary)
        return
    rows = [
        ("request", summary["request"]),
        ("decided again", f"{summary['decided_again']:,}"),
        ("documents changed", f"{outcome.documents:,}"),
        ("changes of state", f"{outcome.changes.total():,}"),
        *changes_rows(outcome.changes),
        ("dead letters", f"{outcome.letters.total():,}"),
        ("seconds", f"{summary['seconds']:g}"),
    ]
    print_table(("recompute", ""), rows)
