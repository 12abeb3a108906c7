"""Any facts of one run, as Hypothesis strategies."""

from __future__ import annotations

from hypothesis import strategies as st

from contracts.facts import (
    ATTENTION_STATES,
    MAX_SEQUENCE,
    OPERATION_STATUSES,
    OUTCOMES,
    RUN_STATUSES,
    SNAPSHOT_STATUSES,
    Counts,
    EvidenceSnapshot,
    Facts,
    OperationRun,
    RestoreRun,
    Source,
)
from contracts.times import EARLIEST, LATEST

maybe_times = st.none() | st.integers(EARLIEST, LATEST)
maybe_counts = st.none() | st.integers(0, 3) | st.integers(0, 2**53 - 1)
maybe_sequences = st.none() | st.integers(0, MAX_SEQUENCE)
sources = st.none() | st.builds(
    Source, st.just("restore.restore-runs.v1"), st.integers(0, 63), st.integers(0, 2**40), st.integers(0, 2**41)
)


def runs() -> st.SearchStrategy[RestoreRun]:
    return st.builds(
        RestoreRun,
        st.just("rr-1"),
        st.just("t-1"),
        st.sampled_from(RUN_STATUSES),
        st.booleans(),
        st.sampled_from([None, "op-1"]),
        st.builds(Counts, *[maybe_counts] * 6),
        st.none() | st.sampled_from(ATTENTION_STATES),
        maybe_times,
        maybe_sequences,
        sources,
    )


operations = st.builds(
    OperationRun,
    st.just("op-1"),
    st.just("t-1"),
    st.sampled_from(OPERATION_STATUSES),
    st.none() | st.sampled_from(OUTCOMES),
    maybe_times,
    maybe_times,
    st.booleans(),
    maybe_sequences,
    sources,
)
snapshots = st.builds(
    EvidenceSnapshot,
    st.sampled_from(["es-1", "es-2", "es-3"]),
    st.just("t-1"),
    st.sampled_from(SNAPSHOT_STATUSES),
    st.just("op-1"),
    maybe_times,
    maybe_times,
    st.booleans(),
    maybe_sequences,
    sources,
)
unreadable = st.sets(
    st.sampled_from(["restore_run/rr-1", "operation_run/op-1", "evidence_snapshot/es-1"]), max_size=3
).map(lambda names: tuple(sorted(names)))


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    """Facts that join, as the worker would have put them together."""
    run = draw(runs())
    marks = draw(unreadable)
    if run.operation_run_id is None:
        return Facts(run, unreadable=marks)
    evidence = draw(st.lists(snapshots, max_size=3, unique_by=lambda s: s.id))
    by_id = tuple(sorted(evidence, key=lambda s: s.id))
    return Facts(run, draw(st.none() | operations), by_id, marks)
