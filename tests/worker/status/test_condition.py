"""What facts mean: each condition by its least example, its words, and which one counts where several hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.worker.status.sights import (
    NOW,
    OWNER,
    RUNS,
    STORE,
    TOPICS,
    an_input,
    idle,
    partition,
    survey,
    verdict,
    waiting,
)
from worker.ports import Policies
from worker.status.condition import CONDITIONS, IDLE_MS, LATE_MS, NAMES, OPEN_MS
from worker.status.facts import Member, OpenTransaction, PartitionFacts
from worker.status.motion import Motion


def untimed(facts: PartitionFacts) -> PartitionFacts:
    """The same of a broker that keeps no metadata with offsets."""
    return replace(facts, inputs=tuple(replace(row, stream_time=0) for row in facts.inputs))


def decided(policies: Policies, owner: Member = OWNER, documents: tuple[int, int] = (0, 100)) -> PartitionFacts:
    """A partition that is well, whose documents were decided with these policies."""
    facts = partition(owner=owner)
    rows = tuple(replace(row, policies=policies) for row in facts.inputs)
    return replace(facts, inputs=rows, documents=documents)


MOVING = Motion(moved_at=NOW, taken=100.0, arrived=20.0, restored=500.0)
STILL = Motion(taken=0.0, arrived=5.0, restored=0.0)
SEEN = replace(STORE, offsets={RUNS: 11}, applied_at=NOW - LATE_MS)
"""Of a store that has seen offset 11 committed."""
OPENED = OpenTransaction(RUNS, 10, NOW - 20_000, "etl-7", 60_000)


def test_every_condition_is_in_the_table_once_and_has_words() -> None:
    assert tuple(row.name for row in CONDITIONS) == NAMES
    assert all(row.words and row.label for row in CONDITIONS)
    assert [row.name for row in CONDITIONS if row.well] == ["caught_up", "idle"]


@pytest.mark.parametrize(
    ("facts", "motion", "name"),
    [
        (partition(), Motion(), "caught_up"),
        (partition(waiting(5, 200)), Motion(), "caught_up"),
        (partition(waiting(5, LATE_MS - 1)), STILL, "caught_up"),
        (idle(partition(), IDLE_MS + 1), Motion(), "idle"),
        (partition(*(an_input(topic, None, 0, stream_time=0) for topic in TOPICS.inputs)), Motion(), "idle"),
        (idle(partition(waiting(1, 10)), IDLE_MS + 1), Motion(), "caught_up"),
        (untimed(partition(store=replace(STORE, applied_at=NOW - IDLE_MS))), Motion(), "caught_up"),
        (untimed(partition(store=replace(STORE, applied_at=NOW - IDLE_MS - 1))), Motion(), "idle"),
        (partition(waiting(5, LATE_MS)), MOVING, "slow"),
        (partition(waiting(5, LATE_MS)), Motion(), "slow"),
        (partition(waiting(5, LATE_MS)), STILL, "stuck"),
        (partition(owner=None), Motion(), "owned_by_nobody"),
        (partition(an_input(low=11)), Motion(), "stopped"),
        (partition(an_input(committed=11)), Motion(), "stopped"),
        (partition(an_input(committed=None, low=7)), Motion(), "caught_up"),
        (partition(store=SEEN), Motion(), "stopped"),
        (partition(an_input(committed=None), store=SEEN), Motion(), "stopped"),
        (partition(an_input(committed=11, readable=11), store=SEEN), Motion(), "caught_up"),
        (partition(an_input(stream_time=0), store=SEEN), Motion(), "caught_up"),
        (partition(store=replace(SEEN, applied_at=NOW - LATE_MS + 1)), Motion(), "caught_up"),
        (partition(store=replace(SEEN, follows=False)), Motion(), "restoring"),
        (partition(store=None), Motion(), "restoring"),
        (partition(store=replace(STORE, restoring=True)), Motion(), "restoring"),
        (partition(store=replace(STORE, follows=False)), Motion(), "restoring"),
        (partition(store=replace(STORE, behind=1)), Motion(), "caught_up"),
        (decided(Policies(2, 2), owner=replace(OWNER, policy=1)), Motion(), "refused"),
        (decided(Policies(2, 2), owner=replace(OWNER, policy=2)), Motion(), "caught_up"),
        (decided(Policies(2, 2)), Motion(), "caught_up"),
        (decided(Policies(2, 1, 40)), Motion(), "recomputing"),
        (decided(Policies(1, 1), owner=replace(OWNER, policy=2)), Motion(), "recomputing"),
        (decided(Policies(), owner=replace(OWNER, policy=2)), Motion(), "recomputing"),
        (decided(Policies(), owner=replace(OWNER, policy=2), documents=(7, 7)), Motion(), "caught_up"),
        (partition(an_input(high=12), opened=(OPENED,)), Motion(), "waiting_for_transaction"),
        (partition(an_input(high=12), opened=(replace(OPENED, began=NOW - OPEN_MS + 1),)), Motion(), "caught_up"),
        (partition(an_input(committed=9, high=12), opened=(OPENED,)), Motion(), "caught_up"),
    ],
)  # fmt: skip
def test_which_condition_it_is(facts: PartitionFacts, motion: Motion, name: str) -> None:
    assert verdict(facts, motion).condition.name == name


def test_while_the_group_gives_out_partitions_nobody_is_said_to_be_missing() -> None:
    facts = partition(owner=None)
    for state in ("PreparingRebalance", "CompletingRebalance"):
        assert verdict(facts, seen=survey(facts, group_state=state)).condition.name == "rebalancing"
    for state in ("Empty", "Dead", "Stable"):
        assert verdict(facts, seen=survey(facts, group_state=state)).condition.name == "owned_by_nobody"


def test_an_owner_that_is_not_told_is_not_missed() -> None:
    facts = partition(owner=None)
    assert verdict(facts, seen=survey(facts, group_state=None)).condition.name == "caught_up"


def test_of_a_store_that_does_not_answer_nothing_is_said() -> None:
    facts = partition(store=None)
    assert verdict(facts, seen=survey(facts, store_error="away")).condition.name == "caught_up"


def test_what_is_more_urgent_counts() -> None:
    everything = partition(
        an_input(committed=99, high=12, oldest=NOW - LATE_MS), owner=None, store=None, opened=(OPENED,)
    )
    steps = [
        (everything, "stopped"),
        (replace(everything, inputs=partition(waiting(5, LATE_MS)).inputs), "owned_by_nobody"),
        (replace(everything, inputs=partition(waiting(5, LATE_MS)).inputs, owner=OWNER), "restoring"),
        (partition(an_input(high=12), waiting(5, LATE_MS, TOPICS.ops), opened=(OPENED,)), "waiting_for_transaction"),
    ]
    assert [verdict(facts, STILL).condition.name for facts, _ in steps] == [name for _, name in steps]


@pytest.mark.parametrize(
    ("facts", "motion", "since", "cause", "command"),
    [
        (
            partition(an_input(low=50, readable=90)), Motion(), None,
            (
                f"{RUNS} is to be read on at 10, and holds 50 to 90: records were removed before they were read, or the"
                " topic was made anew. When all workers are stopped:"
            ),
            (
                "kafka-consumer-groups.sh --bootstrap-server kafka:9092 --group projector"
                f" --topic {RUNS}:0 --reset-offsets --to-earliest --execute"
            ),
        ),
        (
            partition(store=SEEN), Motion(), NOW - LATE_MS,
            (
                f"Kafka tells 10 as the committed offset of {RUNS}, and 11 was committed. Restart the broker that"
                " coordinates the group; its worker goes on by itself. Which one it is:"
            ),
            "kafka-consumer-groups.sh --bootstrap-server kafka:9092 --group projector --describe --state",
        ),
        (partition(owner=None), Motion(), None, "no worker runs, nothing waits", "restore-projector run"),
        (
            partition(waiting(1, 5_000), owner=None), Motion(), NOW - 5_000,
            "no worker runs, 1 record waits", "restore-projector run",
        ),
        (
            decided(Policies(2, 1, 40), owner=replace(OWNER, policy=1)), Motion(), None,
            (
                "a worker of policy 2 has decided in it, and its worker w-1 on 10.0.0.1 has only policy 1: an older"
                " version must not decide again what a newer one has decided. Stop that worker, so that one of the"
                " newer version takes it; if none runs:"
            ),
            "restore-projector run",
        ),
        (
            decided(Policies(2, 1, 40), documents=(10, 100)), Motion(), None,
            (
                "everything in it is decided again with policy 2, as rules or wording have changed; 30 of about 90"
                " records are done. New records are decided meanwhile"
            ),
            "restore-projector status --watch",
        ),
        (
            decided(Policies(1, 1, 40), owner=replace(OWNER, policy=2)), Motion(), None,
            (
                "everything in it is decided again with policy 2, as rules or wording have changed; 0 of about 100"
                " records are done. New records are decided meanwhile"
            ),
            "restore-projector status --watch",
        ),
        (
            partition(store=None), Motion(), None,
            "Redis holds nothing of it; its worker notices within 5 s and restores it",
            "restore-projector status --watch",
        ),
        (
            partition(store=replace(STORE, restoring=True, behind=12_000)), MOVING, STORE.status_since,
            "12,000 records to go, about 24 s", "restore-projector status --watch",
        ),
        (
            partition(an_input(high=13), opened=(OPENED,)), Motion(), NOW - 20_000,
            (
                f"the producer 'etl-7' has not ended its transaction in {RUNS}, behind which 3 records cannot be read;"
                " Kafka ends it 1 min after it began. To end it now:"
            ),
            f"kafka-transactions.sh --bootstrap-server kafka:9092 abort --topic {RUNS} --partition 0 --start-offset 10",
        ),
        (
            partition(an_input(high=13), opened=(replace(OPENED, transactional_id=None, timeout_ms=None),)), Motion(),
            NOW - 20_000,
            (
                f"a producer has not ended its transaction in {RUNS}, behind which 3 records cannot be read."
                " To end it now:"
            ),
            f"kafka-transactions.sh --bootstrap-server kafka:9092 abort --topic {RUNS} --partition 0 --start-offset 10",
        ),
        (
            partition(waiting(7, 45_000)), STILL, STORE.applied_at,
            (
                "7 records wait, the oldest for 45 s, and its worker w-1 on 10.0.0.1 takes none. Its log says why; to"
                " restart it is safe"
            ),
            None,
        ),
        (
            partition(waiting(8_000, 90_000)), MOVING, NOW - 90_000,
            "8,000 records wait, the oldest for 1 min 30 s; 100 a second are taken, 20 come in: about 1 min 40 s to go",
            "restore-projector status --watch",
        ),
        (
            partition(waiting(8_000, 90_000)), Motion(moved_at=NOW, taken=20.0, arrived=100.0), NOW - 90_000,
            "8,000 records wait, the oldest for 1 min 30 s; 20 a second are taken, 100 come in: it falls behind",
            "restore-projector status --watch",
        ),
    ],
)  # fmt: skip
def test_what_is_not_well_says_what_it_is_since_when_and_what_to_type(
    facts: PartitionFacts, motion: Motion, since: int | None, cause: str, command: str | None
) -> None:
    finding = verdict(facts, motion).finding
    assert (finding.since, finding.cause, finding.next) == (since, cause, command)


def test_more_workers_are_advised_where_they_would_help() -> None:
    late = partition(waiting(8_000, 90_000))
    falling_behind = Motion(moved_at=NOW, taken=20.0, arrived=100.0)
    seen = survey(late, partition(number=1))
    assert verdict(late, falling_behind, seen).finding.next == "restore-projector run"
    assert verdict(late, MOVING, seen).finding.next == "restore-projector status --watch"


def test_a_full_redis_is_named_as_the_cause() -> None:
    full = (64 << 20, 64 << 20)
    for facts, motion in ((partition(store=None), Motion()), (partition(waiting(7, 45_000)), STILL)):
        finding = verdict(facts, motion, survey(facts, store_full=full)).finding
        assert finding.cause.endswith("Redis is full: 64 MB used, maxmemory is 64 MB")
        assert finding.next == "redis-cli INFO memory"


def test_what_a_full_redis_does_not_take_is_stuck_also_where_nothing_waits() -> None:
    behind = partition(store=replace(STORE, behind=3, applied_at=NOW - LATE_MS))
    found = verdict(behind, seen=survey(behind, store_full=(64 << 20, 64 << 20)))
    assert found.condition.name == "stuck"
    assert found.finding.cause == (
        "3 records of what was decided are not in Redis. Redis is full: 64 MB used, maxmemory is 64 MB"
    )
    assert found.finding.since == NOW - LATE_MS
    assert verdict(behind).condition.name == "caught_up", "it is on its way, or only markers are missing"
    for well in (replace(STORE, behind=0, applied_at=NOW - LATE_MS), replace(STORE, behind=3, applied_at=NOW)):
        facts = partition(store=well)
        assert verdict(facts, seen=survey(facts, store_full=(1, 1))).condition.name == "caught_up"


def test_a_partition_that_moved_while_we_looked_is_stuck_since_then() -> None:
    facts = partition(waiting(7, 45_000))
    assert verdict(facts, replace(STILL, moved_at=NOW - 100)).finding.since == NOW - 100
