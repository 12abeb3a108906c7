"""`forget`: a tenant's sequences, or all that is known of a tenant, through the ops topic."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from worker.cli.orders import (
    Actor,
    DryRun,
    OneTenant,
    Rate,
    Why,
    Yes,
    ask,
    bar,
    changes_json,
    changes_rows,
    ended_early,
    say,
    waiting_bar,
)
from worker.cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from contracts.commands import ForgetKind, ForgetWhat
    from contracts.orders import Trail
    from worker.operators.forgetting import Forgetting, TenantRecords
    from worker.operators.outcome import Outcome
    from worker.settings import Settings

WORDS: Final[dict[ForgetKind, str]] = {
    "run": "restore runs",
    "deleted-run": "deleted restore runs",
    "snapshot": "evidence snapshots",
    "operation": "operations",
}
"""What the store's kinds of records are of, in the order in which they are shown."""


def add_to(app: typer.Typer) -> None:
    app.command(
        epilog="Example: restore-projector forget --tenant acme --sequences --reason 'restored from a backup' --dry-run"
    )(forget)


def forget(
    tenant: OneTenant,
    reason: Why,
    *,
    sequences: Annotated[
        bool, typer.Option("--sequences", help="Let the next event of each entity be taken, whatever its sequence.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--everything", help="Remove the tenant: documents, facts, memory of deletions.")
    ] = False,
    actor: Actor = None,
    rate: Rate = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Forget of a tenant the sequences, or everything, beside running workers.

    --sequences is for a source that was restored from a backup: its sequences fell, so all that it sends is older than
    what is known, and changes nothing. Afterwards whatever it sends next is taken. What is known stays until then, no
    state changes, and each restore takes revisions, as its document shows sequences.

    --everything is for a tenant who has left. Stop what sends for the tenant first. Each restore is published as
    removed; nothing is remembered, also not of deletions. A tenant who comes back begins at revision 1, so with ids of
    changes that were used before. Exit 1 when something is left, as the tenant's sources still send.

    One order for each stored record goes into the ops topic. Alerting leaves out what comes of it (origin
    `recompute`). Ctrl-C leaves nothing half done, exit code 130: orders that were written are carried out, and the
    command can be given again.
    """
    from worker.operators.forgetting import TenantRecords
    from worker.operators.orders import new_trail
    from worker.reading import StoreReader
    from worker.settings import load_settings

    if sequences == everything:
        raise typer.BadParameter("expected one of the two", param_hint="--sequences, --everything")
    what: ForgetWhat = "everything" if everything else "sequence"
    settings = load_settings()
    with StoreReader(settings.redis) as store:
        records = TenantRecords(settings, store, tenant)
        records.check()
        found = records.count()
        if dry_run:
            _show_found(tenant, found, json=json)
            return
        if found:
            ask(f"{_shown(found)}: {_question(tenant, what)}", yes=yes)
        left = _forget(settings, records, what, new_trail(reason, actor), rate, json=json)
    raise typer.Exit(1 if left else 0)


def _question(tenant: str, what: ForgetWhat) -> str:
    if what == "everything":
        return f"remove all that is known of tenant {tenant}?"
    return f"forget their sequences, so that what tenant {tenant}'s sources send next is taken?"


def _forget(
    settings: Settings, records: TenantRecords, what: ForgetWhat, trail: Trail, rate: float | None, *, json: bool
) -> Counter[ForgetKind]:
    """Have it forgotten, and say what has come of it; returns what is left."""
    from worker.operators.forgetting import Forgetting
    from worker.operators.log import LogReader

    began = time.monotonic()
    work = Forgetting(settings, records, what, trail, rate)
    with LogReader(settings.kafka) as reader, ended_early(lambda: _ended(work, trail)):
        published = work.begin(reader)
        left = _rounds(work, records, what)
        outcome = work.outcome(published)
    summary = {
        "tenant_id": records.tenant,
        "what": what,
        "request": trail.request,
        "actor": trail.actor,
        "reason": trail.reason,
        "forgotten": dict(work.sent),
        "left": dict(left),
        "documents_written": outcome.documents,
        "changes_of_state": changes_json(outcome.changes),
        "seconds": round(time.monotonic() - began, 1),
    }
    _show(summary, outcome, json=json)
    if left:
        say(f"{_shown(left)} are left: something still sends for tenant {records.tenant}. Stop it, then do this again")
    return left


def _rounds(work: Forgetting, records: TenantRecords, what: ForgetWhat) -> Counter[ForgetKind]:
    """Order once, with everything to be forgotten again for what came in meanwhile; returns what is left of that."""
    from worker.operators.forgetting import MAX_ROUNDS

    left: Counter[ForgetKind] = Counter()
    for _ in range(MAX_ROUNDS if what == "everything" else 1):
        before = work.written
        with bar("orders", records.count().total()) as show:
            work.send(show)
        with waiting_bar(work.written - before) as tell:
            work.wait(tell)
            if what == "everything":
                left = work.left(tell)
        if not left:
            break
    return left


def _ended(work: Forgetting, trail: Trail) -> str:
    return (
        f"ended after {work.written:,} orders (request {trail.request}), which are carried out all the same; "
        "give the command again for the rest: what is forgotten already is passed over"
    )


def _shown(found: Mapping[ForgetKind, int]) -> str:
    """`12 restore runs, 3 operations`; `nothing`."""
    return ", ".join(f"{found[kind]:,} {words}" for kind, words in WORDS.items() if found.get(kind)) or "nothing"


def _show_found(tenant: str, found: Mapping[ForgetKind, int], *, json: bool) -> None:
    if json:
        print_json({"tenant_id": tenant, "stored": {kind: found.get(kind, 0) for kind in WORDS}})
        return
    print_table(("nothing is written", ""), _rows(found))


def _rows(found: Mapping[ForgetKind, int]) -> list[tuple[str, str]]:
    return [(words, f"{found.get(kind, 0):,}") for kind, words in WORDS.items()]


def _show(summary: dict[str, Any], outcome: Outcome, *, json: bool) -> None:
    if json:
        print_json(summary)
        return
    rows = [
        ("request", summary["request"]),
        *_rows(summary["forgotten"]),
        ("documents written", f"{outcome.documents:,}"),
        ("changes of state", f"{outcome.changes.total():,}"),
        *changes_rows(outcome.changes),
        ("seconds", f"{summary['seconds']:g}"),
    ]
    print_table(("forgotten", ""), rows)
