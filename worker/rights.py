"""What Kafka must let us do, by table, and asking it beforehand: a right that is missing is named at start.

Later it would be a topic that seems not to exist, a poll that returns nothing for ever, or an error that names no
operation. Kafka says of each topic what its asker may do with it; of a group and of a transactional id only whether we
may see it, which any right to it implies. What it does not say, as the embedded one does not, is taken for granted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kafka.admin import KafkaAdminClient
from kafka.errors import AuthorizationError, KafkaConnectionError, KafkaError, KafkaTimeoutError

from contracts.topics import Role, Topics
from worker.errors import Refused
from worker.fitness import Finding
from worker.refusals import Operation, refusal_of
from worker.settings import KafkaSettings, Settings
from worker.topics import COMPACTED, INPUTS, kafka_admin

TOPIC_REFUSED: Final = 29
"""Kafka's error code for a topic of which the asker may not even know whether it is there."""


@dataclass(frozen=True, slots=True)
class Need:
    """An operation on topics; `without`: what goes on without it, if work does."""

    operation: Operation
    roles: tuple[Role, ...]
    without: str | None = None


Needs = Sequence[Need]

OF_WORKER: Final[Needs] = (
    Need("Read", INPUTS),
    Need("Read", COMPACTED),
    Need("Write", (*COMPACTED, "decision_changes", "dead_letters")),
    Need("Read", ("dead_letters",), "Open dead letters are not counted."),
)
OF_STATUS: Final[Needs] = (
    Need("Read", INPUTS),
    Need("Describe", (*COMPACTED, "decision_changes", "dead_letters")),
)
OF_WATCH: Final[Needs] = (Need("Read", ("decision_changes",)),)
OF_EXPLAIN: Final[Needs] = (Need("Describe", ("decision_state",)),)


def check_worker_rights(settings: Settings, transactional_id: str) -> list[Finding]:
    """What the worker may not do but can do without. Raises Refused for the rest, and KafkaUnreachable."""
    with kafka_admin(settings.kafka) as admin:
        missing, findings = _topic_rights(admin, settings.topic_names, OF_WORKER)
        missing += _group_rights(admin, settings.kafka.group_id, "Read")
        if _may_not(lambda: admin.describe_transactions([transactional_id])):
            missing.append(refusal_of("Write", "transactional id", transactional_id))
    _raise(missing)
    return findings


def check_rights(admin: KafkaAdminClient, topics: Topics, needs: Needs, group: str | None = None) -> None:
    """For a command: its rights to topics, and to see a group. Raises Refused, and what the client raises."""
    missing, _ = _topic_rights(admin, topics, needs)
    if group is not None:
        missing += _group_rights(admin, group, "Describe")
    _raise(missing)


def check_topic(settings: KafkaSettings, topic: str, operation: Operation) -> None:
    """For who follows one topic. Raises Refused, and KafkaUnreachable."""
    with kafka_admin(settings) as admin:
        _raise(_refusals(_told(admin, [topic]), operation, [topic]))


def _topic_rights(admin: KafkaAdminClient, topics: Topics, needs: Needs) -> tuple[list[str], list[Finding]]:
    """What is missing, in words: what nothing goes without, and the rest."""
    told = _told(admin, topics.all)
    missing: list[str] = []
    findings: list[Finding] = []
    for need in needs:
        refused = _refusals(told, need.operation, [getattr(topics, role) for role in need.roles])
        if need.without is None:
            missing += refused
        else:
            findings += (
                Finding(
                    "warning", "Kafka", "rights", f"{need.operation} on {', '.join(need.roles)}", words, need.without
                )
                for words in refused
            )
    return missing, findings


def _told(admin: KafkaAdminClient, topics: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """What we may do with those topics of which Kafka says it. One that is not there is missing, and told elsewhere."""
    told: dict[str, Sequence[str]] = {}
    for topic in admin.describe_topics(list(topics)):
        if topic["error_code"] == TOPIC_REFUSED:
            told[topic["name"]] = ()
        elif topic["error_code"] == 0 and topic["authorized_operations"] is not None:
            told[topic["name"]] = topic["authorized_operations"]
    return told


def _refusals(told: Mapping[str, Sequence[str]], operation: Operation, topics: Sequence[str]) -> list[str]:
    name = operation.upper()
    return [refusal_of(operation, "topic", topic) for topic in topics if name not in told.get(topic, (name,))]


def _group_rights(admin: KafkaAdminClient, group: str, operation: Operation) -> list[str]:
    return [refusal_of(operation, "group", group)] if _may_not(lambda: admin.describe_groups([group])) else []


def _may_not(ask: Callable[[], object]) -> bool:
    """Whether an answer is refused; that there is none yet, or that it cannot be read, is none."""
    try:
        ask()
    except AuthorizationError:
        return True
    except (KafkaConnectionError, KafkaTimeoutError):
        raise
    except (KafkaError, ValueError):
        return False
    return False


def _raise(missing: Sequence[str]) -> None:
    if missing:
        raise Refused("\n".join(missing))
