"""`decide`: facts in, state document out; no server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.output import Json, print_json
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from contracts.facts import Facts

STANDARD_INPUT = Path("-")


def add_to(app: typer.Typer) -> None:
    example = 'Example: echo \'{"restore_run": {"id": "rr-1", "tenant_id": "t-1", "status": "draft",'
    app.command(epilog=example + ' "is_dry_run": false}}\' | restore-projector decide -')(decide)


def decide(
    file: Annotated[
        Path,
        typer.Argument(help="JSON: facts, a state document, or what `incident` wrote; - for standard input."),
    ],
    *,
    why: Annotated[bool, typer.Option("--explain", help="Show why, as `explain` does.")] = False,
    history: Annotated[
        bool, typer.Option("--history", help="Of what `incident` wrote: tell what each record did.")
    ] = False,
    json: Json = False,
) -> None:
    """Decide from facts in a file, and print the state document.

    The facts are those of a document's diagnostics.inputs: restore_run, and optionally operation_run and
    evidence_snapshots; or a whole state document, of which only these are used; or the document in the file that
    `incident` wrote.

    The document is the run's first: revision 1, at the latest time at which the facts came in, else the run's
    updated_at, else 1970. With --json it is one line, byte for byte as it would be published.

    With --explain the decision is explained instead; a whole state document then with its own timeline.

    With --history the records in the file that `incident` wrote are applied one by one, by this version's rules, and it
    is said whether that comes to what was published: exit code 1 if not.
    """
    from contracts.decision import encode
    from contracts.violations import InvalidInput
    from contracts.wire import read_inputs
    from worker.cli.explain import show as show_explanation

    try:
        value = _parse(file)
        if history:
            from worker.cli.history import tell

            raise typer.Exit(tell(value, json=json))
        value = _document_of(value)
        facts = read_inputs(value)
    except (OSError, ValueError) as error:
        # Of ours: NotJson and InvalidInput, which say where, what was expected and what came.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        kind = "are not facts" if isinstance(error, InvalidInput) else "cannot be read"
        raise ConfigurationError(f"the facts in {file} {kind}: {reason}") from error
    if why:
        show_explanation(value if _is_document(value) else first_document(facts), json=json)
        return
    document = first_document(facts)
    if json:
        print(encode(document).decode())
    else:
        print_json(document)


def _parse(file: Path) -> Any:
    from contracts import strict_json

    return strict_json.parse(sys.stdin.buffer.read() if file == STANDARD_INPUT else file.read_bytes())


def _document_of(value: Any) -> Any:
    """The document in what `incident` wrote; anything else as it is."""
    from contracts.incident import is_incident, read_incident
    from contracts.violations import InvalidInput

    if not is_incident(value):
        return value
    incident = read_incident(value)
    if incident.document is None:
        raise InvalidInput("$.document", "a state document", "null: the store had none; --history tells what came")
    return incident.document


def _is_document(value: Any) -> bool:
    """It is a whole state document as it is published, not only the facts in one."""
    from pydantic import ValidationError

    from contracts.documents import StateDocument

    try:
        StateDocument.model_validate(value)
    except ValidationError:
        return False
    return True


def first_document(facts: Facts) -> dict[str, Any]:
    """The state document of a run of which nothing but these facts is known."""
    from projections.output import state_document
    from projections.record import RunRecord, Transition, own_mark
    from projections.rules import decide as decide_rule

    rule = decide_rule(facts)
    sources = [fact.source for fact in (facts.run, facts.operation, *facts.evidence) if fact is not None]
    timestamps = [source.timestamp for source in sources if source is not None]
    at = max(timestamps, default=facts.run.updated_at or 0)
    record = RunRecord(
        run=facts.run,
        marked=own_mark(facts.run.id) in facts.unreadable,
        revision=1,
        state=rule.state,
        previous_state=None,
        timeline=[Transition(1, rule.state, at)],
        changed_at=at,
        updated_at=at,
    )
    return state_document(record, facts, rule)
