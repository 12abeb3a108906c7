"""A worker that was away publishes what one that was there would have: the order in time decides, nothing else."""

from __future__ import annotations

import random

import pytest

from contracts.ids import partition_of
from tests.consistency import check
from tests.installation import PARTITIONS, Live, live_worker
from tests.processes import running
from tests.servers.waiting import wait_until
from tests.stories import Stories, Traffic
from tests.traffic import Sender, now_ms, operation, run, sender, snapshot
from worker.settings import Settings

pytestmark = pytest.mark.slow

SOME = 300


def test_what_was_missed_is_caught_up_as_if_it_had_been_seen(settings: Settings) -> None:
    """With evidence that came and expired in between; the fold knows only the input's timestamps."""
    with sender(settings, PARTITIONS) as send, Traffic(send, seed=random.randrange(2**32)) as traffic:
        traffic.wait_for(SOME)
        with running(settings):
            traffic.wait_for(SOME)
        traffic.wait_for(SOME)
        with running(settings):
            traffic.wait_for(SOME)
            traffic.end()
            summary = check(settings)
    assert summary.counts["expired"] > 2
    assert summary.outcomes["dead_letter"] > 10


def test_a_backlog_in_any_order_of_time_is_merged_as_the_timestamps_say(settings: Settings) -> None:
    """Everything at once: records of a run within the same millisecond, thousands of equal timestamps."""
    with sender(settings, PARTITIONS) as send:
        _preload(send, random.randrange(2**32), stories=150)
        with running(settings):
            summary = check(settings)
    assert summary.outcomes["applied"] > 1_000


def test_how_input_is_cut_into_batches_does_not_show(settings: Settings) -> None:
    limits = settings.limits.model_copy(update={"batch_records": 2 * PARTITIONS})
    with sender(settings, PARTITIONS) as send:
        _preload(send, random.randrange(2**32), stories=20)
        with running(settings.model_copy(update={"limits": limits})):
            assert check(settings).outcomes["applied"] > 50


def test_evidence_that_expired_in_the_workers_absence_expires_at_its_time(settings: Settings) -> None:
    """Between the two records it lay between, though all three are read at once."""
    tenant = "t-1"
    with sender(settings, PARTITIONS) as send:
        send.steps(operation(tenant, "op-1", 1), run(tenant, "rr-1", 1, "completed", "op-1"))
        send.events(snapshot(tenant, "es-1", 1, "op-1", expires_in_ms=300))
        expired = now_ms() + 300
        wait_until(lambda: now_ms() > expired, 2, "the evidence expires")
        send.events(snapshot(tenant, "es-2", 1, "op-1"))
    with live_worker(settings) as live:
        live.wait_for(tenant, "rr-1", lambda d: d["revision"] == 4)
        states = [dict(change.headers)["ce_tostate"].decode() for change in live.changes(tenant, "rr-1")]
        origins = [dict(change.headers)["ce_origin"].decode() for change in live.changes(tenant, "rr-1")]
        check(settings)
    assert states == [
        "completed_proof_incomplete",
        "completed_with_evidence",
        "completed_proof_incomplete",
        "completed_with_evidence",
    ]
    assert origins == ["live", "live", "deadline", "live"]


def test_a_busy_partition_does_not_keep_evidence_of_an_idle_one_from_expiring(live: Live) -> None:
    idle, busy = _tenants_of_different_partitions()
    live.send.steps(
        operation(idle, "op-1", 1),
        run(idle, "rr-1", 1, "completed", "op-1"),
        snapshot(idle, "es-1", 1, "op-1", expires_in_ms=1_000),
    )
    live.wait_for_state(idle, "rr-1", "completed_with_evidence")
    sequence = 0

    def expired_meanwhile() -> bool:
        nonlocal sequence
        sequence += 1
        live.send.events(run(busy, "rr-1", sequence, "running"))
        document = live.document(idle, "rr-1")
        return document is not None and document["state"] == "completed_proof_incomplete"

    wait_until(expired_meanwhile, 5, "the evidence expires")
    check(live.settings)


def _tenants_of_different_partitions() -> tuple[str, str]:
    first = "t-0"
    names = (f"t-{n}" for n in range(1, 100))
    return first, next(name for name in names if _partition(name) != _partition(first))


def _partition(tenant: str) -> int:
    return partition_of(tenant, PARTITIONS, "murmur2")


def _preload(send: Sender, seed: int, stories: int) -> None:
    """Many stories, as fast as they can be written."""
    made = Stories(seed, send)
    told = [made.next() for _ in range(stories)]
    steps = [(story, next(story)) for story in told]
    while steps:
        places = iter(send.messages([message for _, messages in steps for message in messages]))
        following = []
        for story, messages in steps:
            where = [next(places) for _ in messages]
            try:
                following.append((story, story.send(where)))
            except StopIteration:
                continue
        steps = following
