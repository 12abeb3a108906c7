"""Batches are a matter of speed: the same history gives the same records, however it is cut.

Here the worker's own batcher runs over a store that holds nothing but bytes, each batch on a workspace that knows only
what was read for it. What comes of it is held against one fold of the whole history in memory.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.decision import decode
from tests.projections.builders import folded
from tests.projections.histories import WITH_ORDERS, WITH_SEQUENCES_FORGOTTEN, History, histories, small_limits
from tests.worker.batched import assert_same, batched
from worker.ports import Output

SIZES = st.lists(st.sampled_from([1, 1, 2, 3, 5, 8, 100]), min_size=1, max_size=5)


@settings(max_examples=250)
@given(histories(WITH_ORDERS), SIZES)
def test_any_cut_gives_what_the_whole_history_gives(history: History, sizes: list[int]) -> None:
    """Bytes of documents and internal records, revisions, changes, ids of changes, dead letters, stream time."""
    with small_limits():
        worker = batched(history, sizes)
        assert_same(worker, folded(history))


@settings(max_examples=150)
@given(
    histories(WITH_ORDERS),
    SIZES,
    st.sampled_from([1, 2, 1000]),
    st.sampled_from([1, 3, 20_000]),
    st.sampled_from([8, 12, 50_000]),
)
def test_neither_do_the_limits_of_a_batch_matter(
    history: History, sizes: list[int], due: int, decided: int, loaded: int
) -> None:
    """A batch that would fall too much due, decide too much or load too much ends earlier, and nothing else changes."""
    with small_limits(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.batch.MAX_DUE", due)
        patch.setattr("worker.batch.MAX_DECIDED", decided)
        patch.setattr("worker.batch.MAX_LOADED", loaded)
        worker = batched(history, sizes)
        assert_same(worker, folded(history))


@settings(max_examples=100)
@given(histories(WITH_SEQUENCES_FORGOTTEN), SIZES)
def test_the_documents_published_in_between_are_those_of_the_fold_at_that_point(
    history: History, sizes: list[int]
) -> None:
    """Only a run's last document in a batch is written, so readers see revisions grow, not necessarily by one."""
    with small_limits():
        worker = batched(history, sizes)
        one_by_one = batched(history, [1])
    every = {(output.key, output.value) for output in one_by_one.documents}
    seen: dict[bytes | None, int] = {}
    for output in worker.documents:
        if output.value is not None:
            assert (output.key, output.value) in every
        revision = _revision(output)
        assert revision > seen.get(output.key, 0)
        seen[output.key] = revision


def _revision(output: Output) -> int:
    if output.value is None:
        return int(dict(output.headers)["revision"])
    revision: int = decode(output.value)["revision"]
    return revision


@settings(max_examples=100)
@given(histories(WITH_ORDERS), st.integers(0, 40), st.integers(1, 20))
def test_a_batch_prepared_again_is_the_same(history: History, done: int, size: int) -> None:
    """Nothing is written before the transaction has committed, so a failed one can be made again."""
    with small_limits():
        worker = batched(history[:done], [7])
        first, again = worker.prepare(*history[done : done + size]), worker.prepare(*history[done : done + size])
    assert first.outputs == again.outputs
    assert first.writes == again.writes
    assert (first.stream_time, first.outcomes) == (again.stream_time, again.outcomes)
