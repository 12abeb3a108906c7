"""The users of Kafka: each works with its rights, on a real Kafka that grants nothing else, and has no others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ACL, KafkaAdminClient
from kafka.errors import (
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    for_code,
)
from kafka.structs import OffsetAndMetadata

from contracts.decision import decode
from contracts.events import Record
from contracts.ids import partition_of
from contracts.topics import Topics
from tests.deploy.guarded import GuardedKafka, GuardedRedis
from tests.processes import ThreadWorker, environment, running
from tests.servers.waiting import wait_until
from tests.traffic import Message, operation, run, sender, snapshot
from worker.errors import Refused
from worker.reading import Follower, StoreReader, tenant_partition
from worker.rights import check_worker_rights
from worker.settings import Settings
from worker.status.survey import Surveyor
from worker.topics import check_topics, create_topics

PARTITIONS: Final = 2
TOPICS: Final = Topics()
SEEN_WITHIN_S: Final = 20.0
STARTED_WITHIN_S: Final = 20.0


@pytest.fixture(scope="module")
def kafka(guarded_kafka: GuardedKafka) -> GuardedKafka:
    """The topics are there, made by the user who may."""
    made = create_topics(guarded_kafka.settings("topics"), PARTITIONS, replication_factor=1)
    assert all(made.values())
    return guarded_kafka


@pytest.fixture(scope="module")
def worked(kafka: GuardedKafka, guarded_redis: GuardedRedis) -> ThreadWorker:
    """A worker that has worked, and restored its store after that was lost; a source has sent, an operator ordered.

    Under the key t-1 are a run with evidence, a record that is no event, and an order that is none.
    """
    settings = kafka.settings("worker", guarded_redis.settings("worker"))
    with sender(kafka.settings("source"), PARTITIONS) as send, running(settings):
        send.steps(
            run("t-1", "rr-1", 1, operation="op-1"),
            operation("t-1", "op-1", 1),
            snapshot("t-1", "es-1", 1, "op-1"),
        )
        send.messages([Message(TOPICS.restore_runs, b"t-1", b"no event", [])])
        _write(kafka.settings("operator"), TOPICS.ops, partition=send.partition("t-1"), value=b"no order")
        assert len(read(kafka.settings("operator"), TOPICS.dead_letters, 2)) == 2
    with guarded_redis.client("admin") as redis:
        redis.flushall()
    with running(settings) as worker:
        return worker


def read(settings: Settings, topic: str, enough: int) -> list[Record]:
    """The first records of a topic, as `watch` reads them."""
    with Follower(settings.kafka, topic).from_offsets(dict.fromkeys(range(PARTITIONS), 0)) as follower:
        found: list[Record] = []

        def read_on() -> bool:
            found.extend(follower.poll(100))
            return len(found) >= enough

        wait_until(read_on, SEEN_WITHIN_S, lambda: f"{enough} records in {topic}: {found}")
        return found


@pytest.mark.usefixtures("worked")
def test_a_reader_reads_the_decisions_that_a_worker_publishes_of_what_a_source_sends(kafka: GuardedKafka) -> None:
    changes = read(kafka.settings("reader"), TOPICS.decision_changes, 2)
    states = read(kafka.settings("reader"), TOPICS.decision_state, 1)

    assert decode(changes[-1].value or b"")["to_state"] == "completed_with_evidence"
    assert decode(states[-1].value or b"")["restore_run_id"] == "rr-1"


@pytest.mark.usefixtures("worked")
def test_an_operator_reads_what_was_set_aside_and_gives_orders(kafka: GuardedKafka) -> None:
    letters = read(kafka.settings("operator"), TOPICS.dead_letters, 2)

    assert {letter.value for letter in letters} == {b"no event", b"no order"}


@pytest.mark.usefixtures("worked")
def test_an_operator_has_runs_decided_again_and_records_fed_again(
    kafka: GuardedKafka, guarded_redis: GuardedRedis
) -> None:
    settings = kafka.settings("operator", guarded_redis.settings("operator"))
    ask = ["--since", "1h", "--tenant", "t-1", "--run", "rr-1"]
    with running(kafka.settings("worker", guarded_redis.settings("worker"))):
        assert told_by(settings, "recompute", "--all", "--yes")["decided_again"] == 1
        assert told_by(settings, "replay", *ask, "--dry-run")["outcomes"] == {"stale": 3}
        assert told_by(settings, "replay", *ask, "--yes")["replayed"] == 3


def told_by(settings: Settings, *command: str) -> dict[str, Any]:
    """What a command tells as JSON, as a process with these settings."""
    program = [sys.executable, "-c", "from worker.cli import main; main()", *command, "--json"]
    ended = subprocess.run(
        program, env={**os.environ, **environment(settings)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.mark.usefixtures("worked")
def test_an_operator_sees_how_far_the_group_is(kafka: GuardedKafka) -> None:
    settings = kafka.settings("operator")
    with closing(_admin(settings)) as admin:
        assert admin.list_group_offsets(settings.kafka.group_id)


def test_a_worker_restores_its_store_from_kafka(guarded_redis: GuardedRedis, worked: ThreadWorker) -> None:
    assert worked.count("restores_total", kind="full") == PARTITIONS
    with StoreReader(guarded_redis.settings("reader")) as reader:
        assert reader.see(partition_of("t-1", PARTITIONS, "murmur2"), "t-1", "rr-1").document


@pytest.mark.usefixtures("worked")
@pytest.mark.parametrize(("user", "of_redis"), [("worker", "worker"), ("operator", "reader")])
def test_whoever_looks_at_an_installation_is_told_everything(
    kafka: GuardedKafka, guarded_redis: GuardedRedis, user: str, of_redis: str
) -> None:
    with Surveyor(kafka.settings(user, guarded_redis.settings(of_redis))) as surveyor:
        seen = surveyor.look()

    assert (seen.group_state, seen.store_error, seen.overdue is None) == ("Empty", None, False)
    assert sum(facts.letters.open for facts in seen.partitions if facts.letters is not None) == 2
    assert all(facts.store is not None and facts.store.follows for facts in seen.partitions)


@pytest.mark.parametrize("user", ["worker", "operator", "topics"])
def test_whoever_has_to_do_with_topics_may_see_whether_they_fit(kafka: GuardedKafka, user: str) -> None:
    assert check_topics(kafka.settings(user)) == []


def test_a_reader_may_have_a_group_of_its_own(kafka: GuardedKafka) -> None:
    _join(kafka.settings("reader"), "restore-reader-alerts", TOPICS.decision_changes)


# Each right of the worker, and of who looks, is needed: without it a start, or the command, names it.


def _granted(kafka: GuardedKafka, user: str) -> dict[str, ACL]:
    """By their names here: `Read topic restore.restore-runs.v1`."""
    return {
        f"{acl.operation.name.title().replace('_', '')} {acl.resource_pattern.resource_type.name.lower()}"
        f" {acl.resource_pattern.resource_name}": acl
        for acl in kafka.granted(f"User:restore-{user}")
    }


def _each(operations: str, *topics: str) -> list[tuple[str, str]]:
    """What is taken away, and what is then said."""
    return [(f"{o} topic {t}", f"Kafka refuses {o} on topic {t}") for o in operations.split() for t in topics]


OF_WORKER: Final = [
    *_each("Read", *TOPICS.inputs, TOPICS.decision_state, TOPICS.internal),
    *_each("Write", TOPICS.decision_state, TOPICS.internal, TOPICS.decision_changes, TOPICS.dead_letters),
    ("Read group restore-projector", "Kafka refuses Read on group restore-projector"),
    (
        "Write transactional_id restore-projector-",
        "Kafka refuses Write on transactional id restore-projector-",
    ),
]
WARNED: Final = [
    (f"Read topic {TOPICS.dead_letters}", f"Kafka refuses Read on topic {TOPICS.dead_letters}"),
    *((f"DescribeConfigs topic {t}", f"{t}: settings: expected the right to describe them") for t in TOPICS.all),
]
"""A worker works without; it says so."""


def test_these_are_all_the_rights_that_the_worker_is_given(kafka: GuardedKafka) -> None:
    assert set(_granted(kafka, "worker")) == {right for right, _ in [*OF_WORKER, *WARNED]}


@pytest.mark.parametrize(("right", "said"), OF_WORKER, ids=[right for right, _ in OF_WORKER])
def test_a_worker_without_a_right_does_not_start_and_names_it(
    kafka: GuardedKafka, guarded_redis: GuardedRedis, right: str, said: str
) -> None:
    worker = ThreadWorker(kafka.settings("worker", guarded_redis.settings("worker")))
    with kafka.without(_granted(kafka, "worker")[right]):
        worker.start()
        wait_until(lambda: worker.error, STARTED_WITHIN_S, "the worker has ended")

    assert isinstance(worker.error, Refused)
    assert str(worker.error).startswith(said)
    assert len(str(worker.error).splitlines()) == 1
    assert worker.error.exit_code == 2


@pytest.mark.parametrize(("right", "said"), WARNED, ids=[right for right, _ in WARNED])
def test_a_worker_says_what_it_goes_without(kafka: GuardedKafka, right: str, said: str) -> None:
    settings = kafka.settings("worker")
    with kafka.without(_granted(kafka, "worker")[right]):
        findings = [*check_worker_rights(settings, "restore-projector-1"), *check_topics(settings)]

    assert [finding.severity for finding in findings] == ["warning"]
    assert said in str(findings[0])


@pytest.mark.usefixtures("worked")
@pytest.mark.parametrize(
    ("right", "said"),
    [
        (f"Read topic {TOPICS.prefix}.", f"Kafka refuses Read on topic {TOPICS.restore_runs}"),
        ("Describe group restore-projector", "Kafka refuses Describe on group restore-projector"),
    ],
)
def test_status_names_the_right_that_it_lacks(
    kafka: GuardedKafka, guarded_redis: GuardedRedis, right: str, said: str
) -> None:
    settings = kafka.settings("operator", guarded_redis.settings("reader"))
    with (
        kafka.without(_granted(kafka, "operator")[right]),
        Surveyor(settings) as surveyor,
        pytest.raises(Refused) as refusal,
    ):
        surveyor.look()

    assert said in str(refusal.value).splitlines()


def test_explain_names_the_right_that_it_lacks(kafka: GuardedKafka) -> None:
    """Of a topic that we may not see, Kafka does not say that it is there."""
    right = _granted(kafka, "reader")[f"Read topic {TOPICS.decision_state}"]
    with (
        kafka.without(right),
        pytest.raises(Refused, match=f"^Kafka refuses Describe on topic {re.escape(TOPICS.decision_state)}$"),
    ):
        tenant_partition(kafka.settings("reader"), "t-1")


@pytest.mark.usefixtures("worked")
def test_watch_names_the_right_that_it_lacks_also_when_it_is_taken_away_meanwhile(kafka: GuardedKafka) -> None:
    """It would wait for changes for ever otherwise."""
    settings = kafka.settings("reader").kafka
    said = f"Kafka refuses Read on topic {TOPICS.decision_changes}"
    right = _granted(kafka, "reader")[f"Read topic {TOPICS.decision_changes}"]
    with Follower(settings, TOPICS.decision_changes).from_now() as follower, kafka.without(right):
        with pytest.raises(Refused, match=re.escape(said)):
            wait_until(lambda: follower.poll(100), SEEN_WITHIN_S, "it is refused")
        with pytest.raises(Refused, match=re.escape(said)):
            Follower(settings, TOPICS.decision_changes).from_now()


# What each may not do. Kafka answers with the name of the right that is missing.


def _producer(settings: Settings, transactional_id: str | None = None) -> KafkaProducer:
    """Not idempotent unless transactional: for the number that it needs, who may write nothing is refused otherwise."""
    return KafkaProducer(
        **settings.kafka.client_options(), transactional_id=transactional_id, metrics_enabled=False,
        enable_idempotence=transactional_id is not None,
    )  # fmt: skip


def _admin(settings: Settings) -> KafkaAdminClient:
    return KafkaAdminClient(**settings.kafka.client_options())


def _consumer(settings: Settings, group: str | None = None) -> KafkaConsumer:
    return KafkaConsumer(
        **settings.kafka.client_options(), group_id=group, enable_auto_commit=False, auto_offset_reset="earliest",
        metrics_enabled=False,
    )  # fmt: skip


def _write(settings: Settings, topic: str, partition: int = 0, value: bytes = b"{}") -> None:
    with closing(_producer(settings)) as producer:
        producer.send(topic, value, b"t-1", partition=partition).get(10)


def _read(settings: Settings, topic: str) -> None:
    """Who may not even see a topic is told so by an admin client; a consumer goes on asking."""
    with closing(_admin(settings)) as admin:
        _raise_for(admin.describe_topics([topic])[0]["error_code"])
    with closing(_consumer(settings)) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.poll(2_000)


def _join(settings: Settings, group: str, topic: str = TOPICS.decision_state) -> None:
    with closing(_consumer(settings, group)) as consumer:
        consumer.subscribe([topic])
        wait_until(lambda: consumer.poll(300) or consumer.assignment(), SEEN_WITHIN_S, f"{group} has a member")


def _commit(settings: Settings, topic: str) -> None:
    with closing(_consumer(settings, settings.kafka.group_id)) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(0, "", -1)})


def _transact(settings: Settings, transactional_id: str) -> None:
    with closing(_producer(settings, transactional_id)) as producer:
        producer.init_transactions()


def _create(settings: Settings, topic: str) -> None:
    with closing(_admin(settings)) as admin:
        admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})


def _delete(settings: Settings, topic: str) -> None:
    with closing(_admin(settings)) as admin:
        admin.delete_topics([topic])


def _raise_for(error_code: int) -> None:
    if error_code:
        raise for_code(error_code)


Act = Callable[[Settings, str], None]
FORBIDDEN: Final[list[tuple[str, Act, str, type[Exception]]]] = [
    ("worker", _write, TOPICS.restore_runs, TopicAuthorizationFailedError),
    ("worker", _write, TOPICS.ops, TopicAuthorizationFailedError),
    ("worker", _read, TOPICS.decision_changes, TopicAuthorizationFailedError),
    ("worker", _create, "restore.something-else", TopicAuthorizationFailedError),
    ("worker", _delete, TOPICS.decision_state, TopicAuthorizationFailedError),
    ("worker", _join, "restore-reader-alerts", GroupAuthorizationFailedError),
    ("worker", _transact, "somebody-else-1", TransactionalIdAuthorizationFailedError),
    ("source", _write, TOPICS.decision_state, TopicAuthorizationFailedError),
    ("source", _write, TOPICS.ops, TopicAuthorizationFailedError),
    ("source", _read, TOPICS.restore_runs, TopicAuthorizationFailedError),
    ("reader", _write, TOPICS.decision_state, TopicAuthorizationFailedError),
    ("reader", _write, TOPICS.decision_changes, TopicAuthorizationFailedError),
    ("reader", _read, TOPICS.internal, TopicAuthorizationFailedError),
    ("reader", _read, TOPICS.restore_runs, TopicAuthorizationFailedError),
    ("reader", _join, "restore-projector", GroupAuthorizationFailedError),
    ("reader", _commit, TOPICS.decision_changes, GroupAuthorizationFailedError),
    ("operator", _write, TOPICS.decision_state, TopicAuthorizationFailedError),
    ("operator", _write, TOPICS.restore_runs, TopicAuthorizationFailedError),
    ("operator", _commit, TOPICS.restore_runs, GroupAuthorizationFailedError),
    ("operator", _transact, "restore-projector-1", TransactionalIdAuthorizationFailedError),
    ("operator", _delete, TOPICS.ops, TopicAuthorizationFailedError),
    ("topics", _read, TOPICS.decision_state, TopicAuthorizationFailedError),
    ("topics", _write, TOPICS.decision_state, TopicAuthorizationFailedError),
    ("topics", _delete, TOPICS.decision_state, TopicAuthorizationFailedError),
    ("topics", _create, "others.topic", TopicAuthorizationFailedError),
]


@pytest.mark.parametrize(
    ("user", "act", "what", "refusal"), FORBIDDEN, ids=[f"{u}{a.__name__} {w}" for u, a, w, _ in FORBIDDEN]
)
def test_what_a_user_does_not_need_is_refused(
    kafka: GuardedKafka, user: str, act: Act, what: str, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        act(kafka.settings(user), what)
