"""A run's story told again from the records that made it, in memory: what each of them did, in the order of the worker.

The same fold as everywhere (`projections.advance`), over a world in which there is nothing but these records. So what
differs from what was published is due to something that is not among them: records that were removed by then, another
version's rules, or a fault.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from contracts.commands import Forget, Recompute
from contracts.decision import State
from contracts.events import Changed, Deleted, Ignored, Record, Rejected
from projections.advance import Effects, Input, Outcome, advance, advance_time, current_document
from projections.record import Key, RunRecord
from projections.workspace import Workspace

IDLE_DELAY_MS: Final = 1_000
"""How far an idle partition's stream time stays behind the clock (interfaces, section 4)."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one record did, or time by itself (`record` None, `at` then is when something fell due).

    `says`: what came, in words. `revision`, `state`: the run's afterwards; None while there is no such run. `before`:
    the state that it had.
    """

    at: int
    record: Record | None
    says: str
    outcome: Outcome | Literal["due"]
    before: State | None
    state: State | None
    revision: int | None


@dataclass(frozen=True, slots=True)
class Retold:
    """`document`: as it is in the end; None if there is no such run."""

    steps: Sequence[Step]
    document: dict[str, Any] | None


def retell(
    records: Iterable[Record],
    topics: Sequence[str],
    decode: Callable[[Record], Input],
    tenant: str,
    run: str,
    *,
    present: int,
    deletion_memory_ms: int,
) -> Retold:
    """Fold records of one partition. `topics`: the inputs in their order; `present`: when they were read, in ms."""
    workspace = Workspace(complete=True, deletion_memory_ms=deletion_memory_ms)
    key = Key("run", tenant, run)
    steps: list[Step] = []
    for record in _merged(records, topics):
        input = decode(record)
        steps += _fallen_due(workspace, key, min(input.at, present))
        before = _standing(workspace, key)
        outcome = advance(workspace, Effects(), input, present)
        steps.append(_step(input.at, record, _words(input), outcome, before, _standing(workspace, key)))
    steps += _fallen_due(workspace, key, present - IDLE_DELAY_MS)
    found = workspace.find(key)
    return Retold(steps, current_document(workspace, found) if isinstance(found, RunRecord) else None)


def _merged(records: Iterable[Record], topics: Sequence[str]) -> Iterator[Record]:
    """As the worker merges them: the earliest of each input's next record, equal ones in the order of the inputs."""
    queues: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: -record.offset):
        queues[record.topic].append(record)
    while waiting := [topic for topic in topics if queues[topic]]:
        yield queues[min(waiting, key=lambda topic: queues[topic][-1].timestamp)].pop()


Standing = tuple[State | None, int | None]


def _standing(workspace: Workspace, key: Key) -> Standing:
    found = workspace.find(key)
    return (found.state, found.revision) if isinstance(found, RunRecord) else (None, None)


def _fallen_due(workspace: Workspace, key: Key, until: int) -> Iterator[Step]:
    """What time does to the run up to a moment."""
    before = _standing(workspace, key)
    advance_time(workspace, Effects(), until)
    found = workspace.find(key)
    if isinstance(found, RunRecord) and _standing(workspace, key) != before:
        yield _step(found.updated_at, None, "evidence expires", "due", before, _standing(workspace, key))


def _step(
    at: int, record: Record | None, says: str, outcome: Outcome | Literal["due"], before: Standing, after: Standing
) -> Step:
    return Step(at, record, says, outcome, before[0], after[0], after[1])


def _words(input: Input) -> str:
    event = input.event
    again = ", fed again" if input.origin == "replay" else ""
    match event:
        case Changed():
            return f"{event.entity} {event.id} changed, sequence {event.sequence}{again}"
        case Deleted():
            return f"{event.entity} {event.id} deleted, sequence {event.sequence}{again}"
        case Ignored():
            return f"says nothing{again}"
        case Rejected():
            return f"cannot be read: {event.reason}: {event.detail}{again}"
        case Recompute():
            return f"an order to decide restore run {event.id} again"
        case Forget():
            return f"an order to forget of {event.kind} {event.id}: {event.what}"


def differences(told: Any, published: Any, place: str = "$") -> Iterator[str]:
    """Where two documents differ, in words, the first place first."""
    if isinstance(told, dict) and isinstance(published, dict):
        for name in dict.fromkeys([*published, *told]):
            if name not in told or name not in published:
                yield f"{place}.{name}: only in what {'was published' if name in published else 'is told'}"
            else:
                yield from differences(told[name], published[name], f"{place}.{name}")
    elif isinstance(told, list) and isinstance(published, list) and len(told) == len(published):
        for at, (one, other) in enumerate(zip(told, published, strict=True)):
            yield from differences(one, other, f"{place}[{at}]")
    elif told != published:
        yield f"{place}: published {published!r}, told {told!r}"
