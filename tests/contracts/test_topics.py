"""The eight topics' names and roles, as interfaces, section 2, has them."""

from __future__ import annotations

import pytest

from contracts.facts import ENTITIES
from contracts.topics import MAX_PREFIX_LENGTH, TOPICS, Topics

MAX_KAFKA_NAME = 249


def test_the_default_names_are_those_of_the_interfaces() -> None:
    assert Topics().all == (
        "restore.restore-runs.v1",
        "restore.operation-runs.v1",
        "restore.evidence-snapshots.v1",
        "restore.projection.ops.v1",
        "restore.decision-state.v1",
        "restore.decision-changes.v1",
        "restore.projection.dead-letters.v1",
        "restore.projection.internal.v1",
    )


def test_each_role_is_a_property() -> None:
    topics = Topics("platform.eu")
    assert [getattr(topics, row.role) for row in TOPICS] == list(topics.all)
    assert all(name.startswith("platform.eu.") for name in topics.all)


def test_inputs_stand_in_the_order_in_which_they_are_merged() -> None:
    topics = Topics()
    assert topics.inputs == (topics.restore_runs, topics.operation_runs, topics.evidence_snapshots, topics.ops)
    assert topics.outputs == (topics.decision_state, topics.decision_changes, topics.dead_letters)


def test_the_two_topics_that_the_store_is_restored_from_are_compacted() -> None:
    assert [row.role for row in TOPICS if row.cleanup == "compact"] == ["decision_state", "internal"]


def test_each_entity_has_its_own_topic() -> None:
    topics = Topics()
    assert topics.entities == {
        topics.restore_runs: "restore_run",
        topics.operation_runs: "operation_run",
        topics.evidence_snapshots: "evidence_snapshot",
    }
    assert tuple(topics.entities.values()) == ENTITIES


@pytest.mark.parametrize("prefix", ["", ".", ".a", "a b", "a/b", "ä", "a" * (MAX_PREFIX_LENGTH + 1), "a\n"])
def test_a_prefix_that_kafka_would_not_take_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="expected a topic prefix"):
        Topics(prefix)


def test_the_longest_prefix_makes_names_that_kafka_takes() -> None:
    assert max(map(len, Topics("a" * MAX_PREFIX_LENGTH).all)) <= MAX_KAFKA_NAME
