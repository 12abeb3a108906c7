"""Topic definitions for Strimzi: the same topics that `topics create` makes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from contracts.topics import TOPICS, TopicRow, Topics
from tests.deploy.tools import DEPLOY
from worker.topics import TopicState, judge_topics, topic_configs

DEFINED: dict[str, dict[str, Any]] = {
    topic["metadata"]["name"]: topic
    for topic in yaml.safe_load_all((DEPLOY / "kafka" / "topics.yaml").read_text())
}  # fmt: skip
REPLICAS = 3


def configs(topic: dict[str, Any]) -> dict[str, str]:
    """As Kafka writes them."""
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in topic["spec"]["config"].items()}


def test_all_topics_are_defined_and_no_other() -> None:
    assert tuple(DEFINED) == Topics().all
    assert {(topic["apiVersion"], topic["kind"]) for topic in DEFINED.values()} == {
        ("kafka.strimzi.io/v1", "KafkaTopic")
    }


@pytest.mark.parametrize("row", TOPICS, ids=lambda row: row.role)
def test_a_topic_is_made_as_the_worker_would_make_it(row: TopicRow) -> None:
    topic = DEFINED[Topics().name(row)]

    made = configs(topic)
    assert {name: made[name] for name in made if name != "cleanup.policy"} == {
        name: value for name, value in topic_configs(row.role, REPLICAS).items() if name != "cleanup.policy"
    }
    assert made["cleanup.policy"] == row.cleanup
    assert topic["spec"]["replicas"] == REPLICAS


def test_the_worker_has_nothing_to_complain_of() -> None:
    seen = {
        name: TopicState(topic["spec"]["partitions"], topic["spec"]["replicas"], configs(topic))
        for name, topic in DEFINED.items()
    }

    assert list(judge_topics(Topics(), seen)) == []
