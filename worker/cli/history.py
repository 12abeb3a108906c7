"""What the records in an incident's file did, one by one: `decide --history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contracts.violations import InvalidInput, show
from worker.cli.output import print_json, print_table

if TYPE_CHECKING:
    from contracts.incident import Incident
    from projections.retelling import Retold, Step


def tell(value: Any, *, json: bool) -> int:
    """Print it; returns the exit code: 1 where it does not come to what was published. Raises InvalidInput."""
    from contracts.incident import is_incident, read_incident

    if not is_incident(value):
        raise InvalidInput("$.schema", "restore.incident/1, as `restore-projector incident` writes it", _schema(value))
    incident = read_incident(value)
    retold = _retell(incident)
    found = _differences(incident, retold)
    if json:
        steps = [_step_json(step) for step in retold.steps]
        print_json({"steps": steps, "document": retold.document, "differences": found})
    else:
        print_table(("at", "record", "what", "came to"), [_row(step) for step in retold.steps])
        print()
        print("\n".join(found) or "This comes to what was published.")
    return 1 if found else 0


def _schema(value: Any) -> str:
    return show(value.get("schema")) if isinstance(value, dict) else show(value)


def _retell(incident: Incident) -> Retold:
    from contracts.incident import record_from_json
    from contracts.times import parse_time
    from contracts.topics import Topics
    from projections.inputs import InputDecoder
    from projections.retelling import retell

    about = incident.about
    topics = Topics(about.prefix)
    decoder = InputDecoder(topics, about.partitions, about.partitioner, about.max_value_bytes)
    return retell(
        [record_from_json(found) for found in (*incident.inputs, *incident.orders)],
        topics.inputs,
        decoder.decode,
        about.tenant_id,
        about.restore_run_id,
        present=parse_time(about.made_at),
        deletion_memory_ms=about.deletion_memory_ms,
    )


def _differences(incident: Incident, retold: Retold) -> list[str]:
    from projections.retelling import differences

    if incident.document is None or retold.document is None:
        if incident.document is retold.document:
            return []
        return [f"$: published {_there(incident.document)}, told {_there(retold.document)}"]
    return list(differences(retold.document, incident.document))


def _there(document: dict[str, Any] | None) -> str:
    return "nothing" if document is None else f"revision {document['revision']}"


def _row(step: Step) -> tuple[str, str, str, str]:
    from contracts.times import format_time

    record = step.record
    place = "" if record is None else f"{record.topic}/{record.partition}/{record.offset}"
    became = step.state or "no such run"
    came_to: str = step.outcome if step.outcome != "due" else "applied"
    if step.state != step.before:
        came_to += f": {step.before or 'nothing'} → {became}"
    if step.revision is not None and step.outcome in {"applied", "due"}:
        came_to += f" (revision {step.revision})"
    return format_time(step.at), place, step.says, came_to


def _step_json(step: Step) -> dict[str, Any]:
    from contracts.times import format_time

    record = step.record
    place = None if record is None else {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    return {
        "at": format_time(step.at),
        "record": place,
        "says": step.says,
        "outcome": step.outcome,
        "before": step.before,
        "state": step.state,
        "revision": step.revision,
    }
