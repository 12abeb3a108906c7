"""The eight topics as Kafka has them: made with the right settings, and checked against what the promises need.

`REQUIREMENTS` is the table: what each kind of topic is made with, what is checked later, how bad it is if it does not
hold, and why. Topics that exist are never changed: they may be somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError

from contracts.topics import TOPICS, Role, Topics
from worker.errors import Unfit
from worker.fitness import Finding, Severity
from worker.kafka_clients import make_client
from worker.refusals import unreachable
from worker.restore import TAIL_MAX_AGE_MS
from worker.settings import KafkaSettings, Settings

DAY_MS: Final = 24 * 3600 * 1000
KAFKA_MAX_MESSAGE_BYTES: Final = 1_048_588
"""Kafka's default of `max.message.bytes`, which inputs are made with."""
LETTER_ROOM_BYTES: Final = 64 * 1024
"""What dead letters must take above the inputs, for six headers more (interfaces, section 2)."""
ORDER_ROOM_BYTES: Final = 64 * 1024
"""What the ops topic should take above the other inputs, for the headers of an order to take a record again."""
MIN_DOCUMENT_BYTES: Final = 256 * 1024
"""What the compacted topics must take: an operation with 1,000 links of 128 characters and 20 snapshots has 145 KB."""
MIN_TOMBSTONE_MS: Final = 2 * TAIL_MAX_AGE_MS
"""How long deletions must stay in the compacted topics: a store is followed from a position of half that age."""
BOOTSTRAP_TIMEOUT_MS: Final = 5_000
"""A person waits for these commands; a broker that is there answers within a second."""
REQUEST_TIMEOUT_MS: Final = 15_000
"""Making topics takes a loaded cluster some seconds."""

TOPIC_EXISTS: Final = 36
"""Kafka's error code for a topic that exists."""
NOT_TOLD: Final = "not told"
UNLIMITED: Final = -1
"""What Kafka has for a topic that is kept for ever, or however large it is."""

SOURCES: Final[tuple[Role, ...]] = ("restore_runs", "operation_runs", "evidence_snapshots")
INPUTS: Final[tuple[Role, ...]] = (*SOURCES, "ops")
OUTPUTS: Final[tuple[Role, ...]] = ("decision_state", "decision_changes", "dead_letters")
COMPACTED: Final[tuple[Role, ...]] = ("decision_state", "internal")
KEPT: Final[tuple[Role, ...]] = (*INPUTS, "decision_changes", "dead_letters")
ALL: Final = tuple(row.role for row in TOPICS)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A topic setting: for whom, what it is made with, what must hold (that, or `at_least` this much), and why.

    `severity` None: it is only made so, whoever wants it otherwise may have it.
    """

    setting: str
    roles: tuple[Role, ...]
    made_with: str
    severity: Severity | None = None
    why: str = ""
    at_least: int | None = None


REQUIREMENTS: Final = (
    Requirement(
        "cleanup.policy", COMPACTED, "compact", "error",
        "The store is restored from this topic, so every key's last record must stay.",
    ),
    Requirement(
        "cleanup.policy", INPUTS, "delete", "error",
        "Compaction would keep one event of each tenant.",
    ),
    Requirement(
        "cleanup.policy", ("decision_changes", "dead_letters"), "delete", "error",
        "Compaction would remove all but the last record of a key.",
    ),
    Requirement(
        "message.timestamp.type", OUTPUTS, "LogAppendTime", "error",
        "Readers are promised the time at which a record was appended.",
    ),
    Requirement(
        "message.timestamp.type", INPUTS, "LogAppendTime", "warning",
        "With producers' clocks, a record that is over a second late may follow an expiry that it should precede.",
    ),
    Requirement("message.timestamp.type", ("internal",), "LogAppendTime"),
    Requirement(
        "delete.retention.ms", COMPACTED, str(7 * DAY_MS), "error",
        "A store that was away for less would miss deletions.",
        at_least=MIN_TOMBSTONE_MS,
    ),
    Requirement(
        "max.message.bytes", COMPACTED, str(KAFKA_MAX_MESSAGE_BYTES), "warning",
        "The largest documents would not fit, and what causes them would become dead letters.",
        at_least=MIN_DOCUMENT_BYTES,
    ),
    Requirement("max.message.bytes", SOURCES, str(KAFKA_MAX_MESSAGE_BYTES)),
    # Of existing topics compared with the inputs as they are: see `_order_size` and `_letter_size`.
    Requirement("max.message.bytes", ("ops",), str(KAFKA_MAX_MESSAGE_BYTES + ORDER_ROOM_BYTES)),
    Requirement(
        "max.message.bytes", ("dead_letters",), str(KAFKA_MAX_MESSAGE_BYTES + ORDER_ROOM_BYTES + LETTER_ROOM_BYTES)
    ),
    Requirement(
        "unclean.leader.election.enable", ALL, "false", "warning",
        "Committed records can be lost with a broker.",
    ),
    # Kept for a month, as long as deletions are remembered: what is fed again then finds all that it needs.
    Requirement("retention.ms", KEPT, str(30 * DAY_MS)),
    # Compacted early and in pieces, so that a full restore reads little more than there is.
    Requirement("min.cleanable.dirty.ratio", COMPACTED, "0.1"),
    Requirement("segment.bytes", COMPACTED, str(128 * 1024 * 1024)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as Kafka describes it. `configs` lacks what the broker does not tell."""

    partitions: int
    replicas: int
    configs: Mapping[str, str]


@contextmanager
def kafka_admin(settings: KafkaSettings) -> Iterator[KafkaAdminClient]:
    """An admin client; what Kafka does not answer within it is KafkaUnreachable, what it refuses Refused."""
    client = None
    try:
        client = make_client(
            KafkaAdminClient,
            **settings.client_options(),
            client_id="restore-projector",
            bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        yield client
    except KafkaError as error:
        raise unreachable(settings, error) from error
    finally:
        if client is not None:
            client.close()


def topic_configs(role: Role, replication_factor: int) -> dict[str, str]:
    """What a topic of this role is made with."""
    configs = {row.setting: row.made_with for row in REQUIREMENTS if role in row.roles}
    if replication_factor > 2:
        # One broker may be away without stopping the work, and none that goes takes acknowledged records with it.
        configs["min.insync.replicas"] = "2"
    return configs


def create_topics(settings: Settings, partitions: int, replication_factor: int) -> dict[str, bool]:
    """Make those of the eight topics that are missing; name → whether it was made now. Existing ones stay as they are.

    Raises KafkaUnreachable, and Unfit when one exists with other partitions (then nothing is made), or, with Kafka's
    words, when Kafka refuses one.
    """
    others = {name: topic.partitions for name, topic in read_topics(settings).items() if topic.partitions != partitions}
    if others:
        raise Unfit([f"{name} exists with {count} partitions, not {partitions}" for name, count in others.items()])
    names = settings.topic_names
    wanted = {
        names.name(row): {
            "num_partitions": partitions,
            "replication_factor": replication_factor,
            "configs": topic_configs(row.role, replication_factor),
        }
        for row in TOPICS
    }
    with kafka_admin(settings.kafka) as admin:
        answers = admin.create_topics(wanted, raise_errors=False)["topics"]
        refused = [a for a in answers if a["error_code"] not in {0, TOPIC_EXISTS}]
        if refused:
            raise Unfit([f"{a['name']}: Kafka refuses to make it: {a['error_message']}" for a in refused])
        admin.wait_for_topics(list(wanted))
    return {answer["name"]: answer["error_code"] == 0 for answer in answers}


def check_topics(settings: Settings) -> list[Finding]:
    """What does not hold of the eight topics, errors first. Raises KafkaUnreachable."""
    findings = judge_topics(settings.topic_names, read_topics(settings))
    return sorted(findings, key=lambda finding: finding.severity)


def read_topics(settings: Settings) -> dict[str, TopicState]:
    """Those of the eight topics that exist and that we may see, by name. Raises KafkaUnreachable."""
    names = settings.topic_names.all
    with kafka_admin(settings.kafka) as admin:
        described = [t for t in admin.describe_topics(list(names)) if t["error_code"] == 0]
        found = [t["name"] for t in described]
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in found]
        configs = admin.describe_configs(resources, config_filter="all").get("topic", {}) if found else {}
    return {t["name"]: _state(t, configs.get(t["name"], {})) for t in described}


def _state(topic: Mapping[str, Any], configs: Mapping[str, Any]) -> TopicState:
    partitions = topic["partitions"]
    return TopicState(
        partitions=len(partitions),
        replicas=min((len(p["replica_nodes"]) for p in partitions), default=0),
        configs={name: str(config["value"]) for name, config in configs.items() if config["value"] is not None},
    )


def judge_topics(names: Topics, topics: Mapping[str, TopicState]) -> Iterator[Finding]:
    """What does not hold, from the topics as they are."""
    for row in TOPICS:
        name = names.name(row)
        if name not in topics:
            yield Finding(
                "error", name, "topic", "to exist and to be visible to us", "nothing",
                "`restore-projector topics create` makes what is missing.",
            )  # fmt: skip
        else:
            yield from _judge_configs(row.role, name, topics[name])
    yield from _judge_partitions(names.all, topics)
    yield from _order_size(names, topics)
    yield from _letter_size(names, topics)
    yield from _trail_of_letters(names, topics)
    yield from _untold(names.all, topics)


def _judge_configs(role: Role, name: str, topic: TopicState) -> Iterator[Finding]:
    for row in REQUIREMENTS:
        got = topic.configs.get(row.setting)
        if role not in row.roles or row.severity is None or got is None:
            continue
        if row.at_least is None and got != row.made_with:
            yield Finding(row.severity, name, row.setting, row.made_with, got, row.why)
        if row.at_least is not None and int(got) < row.at_least:
            yield Finding(row.severity, name, row.setting, f"at least {row.at_least}", got, row.why)
    replicas_in_sync = int(topic.configs.get("min.insync.replicas", "2"))
    if topic.replicas > 2 and replicas_in_sync < 2:
        yield Finding(
            "warning", name, "min.insync.replicas", "at least 2", str(replicas_in_sync),
            "A record that one broker has acknowledged can be lost with it.",
        )  # fmt: skip


def _judge_partitions(names: Sequence[str], topics: Mapping[str, TopicState]) -> Iterator[Finding]:
    existing = [name for name in names if name in topics]
    for name in existing[1:]:
        first, got = existing[0], topics[name].partitions
        if got != topics[first].partitions:
            yield Finding(
                "error", name, "partitions", f"{topics[first].partitions}, as {first} has", str(got),
                "What comes from partition p of an input is written to partition p of the outputs.",
            )  # fmt: skip


def _order_size(names: Topics, topics: Mapping[str, TopicState]) -> Iterator[Finding]:
    setting = "max.message.bytes"
    sources = [topics[name] for name in names.entities if name in topics]
    largest = max((int(t.configs.get(setting, KAFKA_MAX_MESSAGE_BYTES)) for t in sources), default=0)
    ops = topics.get(names.ops)
    if ops is None or not ops.configs:
        return  # which is told by others
    got = int(ops.configs.get(setting, KAFKA_MAX_MESSAGE_BYTES))
    if got < largest + ORDER_ROOM_BYTES:
        yield Finding(
            "warning", names.ops, setting, f"at least {largest + ORDER_ROOM_BYTES}", str(got),
            f"A record of {largest} bytes, which an input takes, could not be replayed or redriven.",
        )  # fmt: skip


def _letter_size(names: Topics, topics: Mapping[str, TopicState]) -> Iterator[Finding]:
    setting = "max.message.bytes"
    sizes = {name: int(topic.configs.get(setting, KAFKA_MAX_MESSAGE_BYTES)) for name, topic in topics.items()}
    largest = max((sizes[name] for name in names.inputs if name in sizes), default=0)
    letters = topics.get(names.dead_letters)
    got = sizes[names.dead_letters] if letters is not None and letters.configs else None
    if got is not None and got < largest + LETTER_ROOM_BYTES:
        yield Finding(
            "error", names.dead_letters, setting, f"at least {largest + LETTER_ROOM_BYTES}", str(got),
            f"A record of {largest} bytes, which an input takes, could not be set aside.",
        )  # fmt: skip


def _trail_of_letters(names: Topics, topics: Mapping[str, TopicState]) -> Iterator[Finding]:
    """The ops topic says what was done about dead letters, so it must not forget before they are gone."""
    trail, letters = (topics[name].configs if name in topics else {} for name in (names.ops, names.dead_letters))
    if not trail or not letters:
        return  # which is told by others
    for setting in ("retention.ms", "retention.bytes"):
        kept, needed = (int(configs.get(setting, UNLIMITED)) for configs in (trail, letters))
        if setting == "retention.bytes":
            needed = UNLIMITED  # the sizes of the two have nothing to do with each other
        if kept != UNLIMITED and (needed == UNLIMITED or kept < needed):
            expected = (
                f"{UNLIMITED}, for no limit"
                if needed == UNLIMITED
                else f"at least {needed}, as {names.dead_letters} has"
            )
            yield Finding(
                "warning", names.ops, setting, expected, str(kept),
                "It holds what was done about dead letters: those that outlive it would be open again.",
            )  # fmt: skip


def _untold(names: Sequence[str], topics: Mapping[str, TopicState]) -> Iterator[Finding]:
    """A broker that describes no settings, or not to us: one warning for all, as it is one cause."""
    untold = [name for name in names if name in topics and not topics[name].configs]
    if untold:
        yield Finding(
            "warning", ", ".join(untold), "settings", "the right to describe them (DescribeConfigs)", NOT_TOLD,
            "They could not be checked.",
        )  # fmt: skip


def largest_input_bytes(names: Topics, topics: Mapping[str, TopicState]) -> int:
    """The largest record that an input takes, in bytes; the producer must be able to send it on as a dead letter."""
    sizes = [int(topics[name].configs.get("max.message.bytes", KAFKA_MAX_MESSAGE_BYTES)) for name in names.inputs]
    return max(sizes)


def smallest_output_batch_bytes(names: Topics, topics: Mapping[str, TopicState]) -> int:
    """How large a batch every output takes, in bytes: a larger one would be split on its way."""
    return min(int(topics[name].configs.get("max.message.bytes", KAFKA_MAX_MESSAGE_BYTES)) for name in names.outputs)
