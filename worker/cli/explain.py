"""`explain`: why a restore is decided as it is, read from the store; what `decide --explain` shows too."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.output import Json, print_json
from worker.errors import ProjectorError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.settings import Settings


class NoDocument(ProjectorError):
    """There is no such restore run, or it cannot be known yet."""


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: restore-projector explain t-1 rr-1")(explain)


def explain(
    tenant: Annotated[str, typer.Argument(help="The tenant's id.")],
    run: Annotated[str, typer.Argument(help="The restore run's id.")],
    *,
    json: Json = False,
) -> None:
    """Say why a restore is decided as it is, why not otherwise, and what would change it for the better.

    Shows the deciding rule and why none before it held; for each better state a shortest list of what would have to
    become true; the facts with their age and place in Kafka; contradictions; and the changes of state so far.

    Exit 1 if there is no such restore run, and while its partition is being restored, so that it may be there later.
    """
    from worker.settings import load_settings

    for name, id in (("TENANT", tenant), ("RUN", run)):
        check_identifier(name, id)
    show(read_document(load_settings(), tenant, run), json=json)


def check_identifier(name: str, id: str) -> None:
    """Raises typer.BadParameter for what is no identifier."""
    from contracts.ids import is_identifier

    if not is_identifier(id):
        raise typer.BadParameter(f"{name} {id[:80]!r}: expected an identifier, [A-Za-z0-9._-]{{1,128}}")


def read_document(settings: Settings, tenant: str, run: str) -> dict[str, Any]:
    """The state document as the store has it. Raises NoDocument, KafkaUnreachable, RedisUnreachable, Unfit."""
    from contracts.decision import decode
    from contracts.times import format_time
    from worker.reading import StoreReader, tenant_partition

    partition = tenant_partition(settings, tenant)
    with StoreReader(settings.redis) as store:
        seen = store.see(partition, tenant, run)
    if seen.document is not None:
        return decode(seen.document)
    name = f"restore run {run} of tenant {tenant}"
    if seen.restoring:
        raise NoDocument(f"{name}: not yet: partition {partition} is being restored from Kafka, ask again later")
    if seen.deleted is not None and seen.deleted.revision:
        at = format_time(seen.deleted.changed_at)
        raise NoDocument(f"{name} does not exist: it was deleted at {at} (revision {seen.deleted.revision})")
    raise NoDocument(f"{name} does not exist")


def show(document: Mapping[str, Any], *, json: bool) -> None:
    """Print the explanation of a state document."""
    from contracts.printable import printable_value
    from projections.explain import explain as explain_document

    explanation = printable_value(explain_document(document, now_ms()))
    if json:
        print_json(explanation)
    else:
        from worker.cli.explanation import print_explanation

        print_explanation(explanation)


def now_ms() -> int:
    """The moment of the ages."""
    return time.time_ns() // 1_000_000
