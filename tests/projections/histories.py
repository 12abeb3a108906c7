"""Histories at random, in a small world: few entities and low limits, so that everything meets everything.

What is drawn is biased towards trouble: equal and falling sequences, timestamps that go back, moments at which evidence
expires and deletions are forgotten, links and snapshots at their limits, two tenants that use the same ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Final

import pytest
from hypothesis import strategies as st

from contracts.commands import Forget, ForgetKind, ForgetWhat
from contracts.events import Changed, Deleted, Mark, Rejected
from projections.advance import Input
from tests.projections.builders import (
    START,
    deleted,
    forget,
    null,
    operation,
    placed,
    recompute,
    rejected,
    run,
    snapshot,
    unreadable,
)
from tests.projections.second_fold import Limits

MEMORY_S: Final = 40
SMALL: Final = Limits(links=2, snapshots=2, memory=MEMORY_S * 1000)


@contextmanager
def small_limits() -> Iterator[Limits]:
    """The fold with the limits of the small world."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("projections.runs.MAX_LINKS", SMALL.links)
        patch.setattr("projections.snapshots.MAX_SNAPSHOTS", SMALL.snapshots)
        patch.setattr("projections.workspace.DELETION_MEMORY_MS", SMALL.memory)
        yield SMALL


TENANTS = st.sampled_from([*5 * ["t-1"], "t-2"])
RUNS = st.sampled_from(["rr-1", "rr-2", "rr-3"])
OPERATIONS = st.sampled_from(["op-1", "op-1", "op-2"])
SNAPSHOTS = st.sampled_from(["es-1", "es-2", "es-3"])
SEQUENCES = st.integers(1, 9)
ORIGINS = st.sampled_from(["live", "live", "replay"])
TRACES = st.sampled_from([None, None, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])
MOMENTS = st.sampled_from([None, None, 5, 8, 8, 12, 20, 30, 90])

RUN_EVENTS = st.builds(
    run,
    SEQUENCES,
    st.sampled_from(["previewed", "running", "completed", "completed", "completed", "partial", "failed"]),
    id=RUNS,
    op=st.one_of(OPERATIONS, OPERATIONS, st.none()),
    tenant=TENANTS,
    origin=ORIGINS,
    traceparent=TRACES,
)
OPERATION_EVENTS = st.builds(
    operation,
    SEQUENCES,
    st.sampled_from(["running", "completed", "completed"]),
    st.sampled_from([None, "succeeded", "succeeded", "partially_succeeded", "failed", "cancelled"]),
    id=OPERATIONS,
    tenant=TENANTS,
    completed=st.sampled_from([None, 0, 2]),
    origin=ORIGINS,
    traceparent=TRACES,
)
SNAPSHOT_EVENTS = st.builds(
    snapshot,
    SEQUENCES,
    st.sampled_from(["queued", "active", "active", "active", "superseded", "expired"]),
    id=SNAPSHOTS,
    op=st.one_of(OPERATIONS, OPERATIONS, OPERATIONS, st.none()),
    tenant=TENANTS,
    generated=st.sampled_from([None, -1, 1, 1, 3]),
    expires=MOMENTS,
    traceparent=TRACES,
)


def _about(build: str, entity: str, ids: st.SearchStrategy[str]) -> st.SearchStrategy[Input]:
    builders = {"deleted": deleted, "unreadable": unreadable}
    sequences = st.one_of(SEQUENCES, st.none()) if build == "unreadable" else SEQUENCES
    return st.builds(builders[build], st.just(entity), sequences, id=ids, tenant=TENANTS, traceparent=TRACES)


DELETIONS = st.one_of(
    _about("deleted", "restore_run", RUNS),
    _about("deleted", "operation_run", OPERATIONS),
    _about("deleted", "evidence_snapshot", SNAPSHOTS),
)
MARKS = st.one_of(
    _about("unreadable", "restore_run", RUNS),
    _about("unreadable", "operation_run", OPERATIONS),
    _about("unreadable", "evidence_snapshot", SNAPSHOTS),
)
OTHERS = st.one_of(st.builds(recompute, RUNS, tenant=TENANTS), st.builds(null), st.builds(rejected))
EVENTS = [*5 * [RUN_EVENTS], *3 * [OPERATION_EVENTS], *7 * [SNAPSHOT_EVENTS]]
ANY = [*EVENTS, *3 * [DELETIONS], *2 * [MARKS], OTHERS]
INPUTS = st.sampled_from(ANY).flatmap(lambda inputs: inputs)
"""All but orders to forget: what is forgotten is not promised not to come again, and may begin anew."""


def _orders(whats: list[ForgetWhat]) -> st.SearchStrategy[Input]:
    kinds: list[tuple[ForgetKind, st.SearchStrategy[str]]] = [
        ("run", RUNS), ("deleted-run", RUNS), ("operation", OPERATIONS), ("snapshot", SNAPSHOTS),
    ]  # fmt: skip
    return st.one_of(
        *(
            st.builds(forget, st.just(kind), st.sampled_from(whats), id=ids, tenant=TENANTS, traceparent=TRACES)
            for kind, ids in kinds
        )
    )


WITH_SEQUENCES_FORGOTTEN = st.sampled_from([*ANY, *3 * [_orders(["sequence"])]]).flatmap(lambda inputs: inputs)
"""Revisions grow in these."""
WITH_ORDERS = st.sampled_from([*ANY, *4 * [_orders(["sequence", "everything"])]]).flatmap(lambda inputs: inputs)
"""In these a run that was forgotten begins again at revision 1."""

STEPS = st.sampled_from([*3 * [0], 0.25, *4 * [1], 3, 3, 7, -2, MEMORY_S])
"""Seconds from one record's timestamp to the next one's."""


class History(list[Input]):
    """Inputs in merged order, told line by line when a test fails."""

    def __repr__(self) -> str:
        return "".join(f"\n    {told(input)}" for input in self)


def told(input: Input) -> str:
    """An input in one line: its moment, and what it says."""
    event = input.event
    match event:
        case Changed(facts=facts):
            fields = {name: getattr(facts, name, None) for name in ("status", "outcome", "operation_run_id")}
            fields |= {
                name: None if (at := getattr(facts, name, None)) is None else (at - START) / 1000
                for name in ("completed_at", "generated_at", "expires_at")
            }
            shown = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
            text = f"{facts.tenant_id} {facts.id} #{event.sequence} {shown}"
        case Deleted():
            text = f"{event.tenant_id} {event.id} #{event.sequence} deleted"
        case Rejected(marks=Mark() as mark):
            text = f"{mark.tenant_id} {mark.id} #{mark.sequence} unreadable"
        case Forget():
            text = f"{event.tenant_id} forget {event.what} of {event.kind} {event.id}"
        case other:
            text = f"{other}"
    return f"{(input.at - START) / 1000:+.2f} {input.origin} {text}"


def in_time(inputs: Iterable[Input], steps: Iterable[float]) -> History:
    """The inputs one after another, each at an offset of its own."""
    moments = accumulate(steps)
    return History(placed(input, offset, at) for offset, (input, at) in enumerate(zip(inputs, moments, strict=True)))


@st.composite
def histories(draw: st.DrawFn, inputs: st.SearchStrategy[Input] = INPUTS, max_size: int = 60) -> History:
    """A history in the order in which it is merged."""
    drawn = draw(st.lists(st.tuples(inputs, STEPS), min_size=max_size // 4, max_size=max_size))
    return in_time(*zip(*drawn, strict=True))
