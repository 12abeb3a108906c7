from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from contracts.topics import TOPICS, Role, Topics
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer, RedisServer
from worker.errors import KafkaUnreachable, RedisUnreachable, Unfit
from worker.fitness import Finding, check_redis, judge_redis
from worker.restore import TAIL_MAX_AGE_MS
from worker.settings import KafkaSettings, RedisSettings, Settings, TopicsSettings
from worker.topics import (
    DAY_MS,
    TopicState,
    check_topics,
    create_topics,
    judge_topics,
    kafka_admin,
    largest_input_bytes,
    read_topics,
    topic_configs,
)

NAMES = Topics("test")


def made(replicas: int = 1) -> dict[str, TopicState]:
    """The topics as `topics create` makes them."""
    return {NAMES.name(row): TopicState(4, replicas, topic_configs(row.role, replicas)) for row in TOPICS}


def changed(role: Role, **configs: str) -> dict[str, TopicState]:
    """The same, one topic with other settings (`_` for `.`)."""
    topics = made()
    name = getattr(NAMES, role)
    others = {setting.replace("_", "."): value for setting, value in configs.items()}
    topics[name] = replace(topics[name], configs={**topics[name].configs, **others})
    return topics


def found(topics: Mapping[str, TopicState]) -> list[tuple[str, str, str, str, str]]:
    return [(f.severity, f.subject, f.setting, f.expected, f.got) for f in judge_topics(NAMES, topics)]


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_topics_as_they_are_made_have_nothing_wrong(replicas: int) -> None:
    assert found(made(replicas)) == []


def test_a_topic_that_is_not_there_is_an_error() -> None:
    topics = made()
    del topics["test.projection.internal.v1"]

    assert found(topics) == [
        ("error", "test.projection.internal.v1", "topic", "to exist and to be visible to us", "nothing")
    ]


def test_all_topics_have_the_same_number_of_partitions() -> None:
    topics = made()
    topics[NAMES.dead_letters] = replace(topics[NAMES.dead_letters], partitions=3)

    assert found(topics) == [
        ("error", NAMES.dead_letters, "partitions", "4, as test.restore-runs.v1 has", "3"),
    ]


@pytest.mark.parametrize(
    ("role", "policy"),
    [
        ("restore_runs", "compact"),
        ("ops", "compact,delete"),
        ("decision_state", "delete"),
        ("decision_state", "compact,delete"),
        ("decision_changes", "compact"),
        ("dead_letters", "compact"),
        ("internal", "delete"),
    ],
)
def test_another_clean_up_policy_would_lose_records(role: Role, policy: str) -> None:
    ((severity, subject, setting, _, got),) = found(changed(role, cleanup_policy=policy))

    assert (severity, subject, setting, got) == ("error", getattr(NAMES, role), "cleanup.policy", policy)


@pytest.mark.parametrize(
    ("role", "severities"),
    [
        ("evidence_snapshots", ["warning"]),
        ("ops", ["warning"]),
        ("decision_state", ["error"]),
        ("decision_changes", ["error"]),
        ("dead_letters", ["error"]),
        ("internal", []),
    ],
)
def test_outputs_must_and_inputs_should_be_stamped_by_the_broker(role: Role, severities: list[str]) -> None:
    assert [f[0] for f in found(changed(role, message_timestamp_type="CreateTime"))] == severities


def test_dead_letters_must_take_64_kib_more_than_the_largest_input() -> None:
    assert found(changed("operation_runs", max_message_bytes="2000000"))[1:] == [
        ("error", NAMES.dead_letters, "max.message.bytes", f"at least {2_000_000 + 65_536}", str(1_048_588 + 131_072)),
    ]


def test_orders_should_take_64_kib_more_than_the_records_that_they_may_take_again() -> None:
    """And dead letters as much more again, as an order may become one."""
    assert found(changed("operation_runs", max_message_bytes="2000000"))[:1] == [
        ("warning", NAMES.ops, "max.message.bytes", f"at least {2_000_000 + 65_536}", str(1_048_588 + 65_536)),
    ]
    assert found(changed("ops", max_message_bytes="1048588")) == [
        ("warning", NAMES.ops, "max.message.bytes", f"at least {1_048_588 + 65_536}", "1048588"),
    ]


@pytest.mark.parametrize(
    ("role", "setting", "value", "expected"),
    [
        ("ops", "retention_ms", "86400000", f"at least {30 * DAY_MS}, as {NAMES.dead_letters} has"),
        ("dead_letters", "retention_ms", "-1", "-1, for no limit"),
        ("ops", "retention_bytes", "1000000", "-1, for no limit"),
        ("ops", "retention_ms", "-1", None),
        ("dead_letters", "retention_ms", "86400000", None),
        ("dead_letters", "retention_bytes", "1000000", None),
    ],
)
def test_what_was_done_about_dead_letters_must_be_kept_as_long_as_they_are(
    role: Role, setting: str, value: str, expected: str | None
) -> None:
    findings = [row[:4] for row in found(changed(role, **{setting: value}))]
    name = setting.replace("_", ".")
    assert findings == ([] if expected is None else [("warning", NAMES.ops, name, expected)])


def test_deletions_must_stay_as_long_as_a_store_may_be_followed_from() -> None:
    enough, too_short = str(2 * TAIL_MAX_AGE_MS), str(2 * TAIL_MAX_AGE_MS - 1)

    assert found(changed("internal", delete_retention_ms=enough)) == []
    assert [f[:3] for f in found(changed("internal", delete_retention_ms=too_short))] == [
        ("error", NAMES.internal, "delete.retention.ms")
    ]


def test_three_replicas_of_which_one_is_enough_are_a_warning() -> None:
    topics = made(replicas=3)
    name = NAMES.decision_state
    topics[name] = replace(topics[name], configs={**topics[name].configs, "min.insync.replicas": "1"})

    assert [f[:3] for f in found(topics)] == [("warning", name, "min.insync.replicas")]


def test_a_broker_that_tells_no_settings_is_one_warning() -> None:
    topics = {name: replace(topic, configs={}) for name, topic in made().items()}

    ((severity, subject, _, _, got),) = [f for f in found(topics) if f[2] == "settings"]
    assert (severity, subject, got) == ("warning", ", ".join(NAMES.all), "not told")


def test_a_finding_is_one_line_with_all_that_is_needed() -> None:
    finding = Finding("error", "in", "cleanup.policy", "delete", "compact", "It would lose events.")

    assert str(finding) == "in: cleanup.policy: expected delete, got compact. It would lose events."


def test_the_largest_input_decides_what_the_producer_must_be_able_to_send() -> None:
    assert largest_input_bytes(NAMES, changed("ops", max_message_bytes="3000000")) == 3_000_000


# On servers


def at(kafka: KafkaServer, space: Space) -> Settings:
    return Settings(
        kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap_servers), topics=TopicsSettings(prefix=space.prefix)
    )


def test_topics_are_made_once_and_then_fit(kafka: KafkaServer, space: Space) -> None:
    settings = at(kafka, space)

    first, second = create_topics(settings, 3, 1), create_topics(settings, 3, 1)

    assert set(first) == set(settings.topic_names.all)
    assert set(first.values()) == {True}
    assert set(second.values()) == {False}
    assert check_topics(settings) == []
    assert {topic.partitions for topic in read_topics(settings).values()} == {3}


def test_what_is_missing_is_made_beside_what_exists(kafka: KafkaServer, space: Space) -> None:
    settings = at(kafka, space)
    name = settings.topic_names.restore_runs
    with kafka_admin(settings.kafka) as admin:
        admin.create_topics({name: {"num_partitions": 2, "replication_factor": 1}})
        admin.wait_for_topics([name])

    created = create_topics(settings, 2, 1)

    assert [topic for topic, made in created.items() if not made] == [name]


def test_nothing_is_made_beside_a_topic_with_other_partitions(kafka: KafkaServer, space: Space) -> None:
    settings = at(kafka, space)
    name = settings.topic_names.restore_runs
    with kafka_admin(settings.kafka) as admin:
        admin.create_topics({name: {"num_partitions": 2, "replication_factor": 1}})
        admin.wait_for_topics([name])

    with pytest.raises(Unfit, match="exists with 2 partitions, not 3"):
        create_topics(settings, 3, 1)

    assert list(read_topics(settings)) == [name]


def test_a_topic_that_was_made_otherwise_is_found_out(real_kafka: KafkaServer, space: Space) -> None:
    settings = at(real_kafka, space)
    create_topics(settings, 2, 1)
    name = settings.topic_names.decision_state
    with kafka_admin(settings.kafka) as admin:
        admin.delete_topics([name])
    while name in read_topics(settings):
        pass
    with kafka_admin(settings.kafka) as admin:
        admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}})
        admin.wait_for_topics([name])

    findings = check_topics(settings)

    assert {(f.subject, f.setting, f.got) for f in findings} == {
        (name, "cleanup.policy", "delete"),
        (name, "message.timestamp.type", "CreateTime"),
        (name, "partitions", "1"),
    }


def test_kafka_that_refuses_a_topic_is_quoted(real_kafka: KafkaServer, space: Space) -> None:
    with pytest.raises(Unfit, match=r"Kafka refuses to make it: .*replication"):
        create_topics(at(real_kafka, space), 1, 30)


def test_no_kafka_at_the_address_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.topics.BOOTSTRAP_TIMEOUT_MS", 200)

    with pytest.raises(KafkaUnreachable, match=r"Kafka at 127\.0\.0\.1:1 cannot be reached"):
        check_topics(Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1")))


# Redis

FIT = {"redis_version": "7.0.0", "maxmemory_policy": "noeviction", "role": "master"}


@pytest.mark.parametrize("version", ["7.0.0", "7.4.2", "8.0.1", "10.0.0"])
def test_redis_from_version_7_that_keeps_its_keys_fits(version: str) -> None:
    assert list(judge_redis({**FIT, "redis_version": version})) == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [("redis_version", "6.2.14"), ("maxmemory_policy", "allkeys-lru"), ("role", "slave")],
)
def test_an_old_an_evicting_and_a_replica_redis_do_not_fit(setting: str, value: str) -> None:
    (finding,) = judge_redis({**FIT, setting: value})

    assert (finding.severity, finding.got) == ("error", value)


def test_what_redis_does_not_tell_is_a_warning() -> None:
    assert [f.severity for f in judge_redis({"redis_version": "7.2.4"})] == ["warning", "warning"]


def test_the_redis_that_tests_run_on_fits(redis_server: RedisServer) -> None:
    assert check_redis(RedisSettings(url=redis_server.url)) == []


def test_no_redis_at_the_address_is_unreachable_and_its_password_is_not_told() -> None:
    with pytest.raises(RedisUnreachable) as caught:
        check_redis(RedisSettings(url="redis://:geheim@127.0.0.1:1"))

    assert "geheim" not in str(caught.value)
