"""A client that cannot be made leaves nothing behind: a worker that waits for Kafka makes one every few seconds."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaConnectionError, KafkaError
from kafka.future import Future

from contracts.topics import Topics
from tests.servers.ports import KafkaServer
from tests.servers.waiting import wait_until
from worker.errors import KafkaUnreachable
from worker.kafka import BoundedProducer, KafkaLog
from worker.kafka_clients import all_or_none, make_client
from worker.settings import KafkaSettings, Settings
from worker.status.survey import Surveyor
from worker.topics import read_topics

NOWHERE = "localhost:1"
CLOSED_WITHIN_S = 5.0
SEEN_WITHIN_S = 10.0


def threads_of_kafka() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "kafka" in thread.name]


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Any:
    before = threads_of_kafka()
    yield
    wait_until(
        lambda: set(threads_of_kafka()) <= set(before), CLOSED_WITHIN_S, lambda: f"threads: {threads_of_kafka()}"
    )


@pytest.mark.parametrize("kind", [KafkaAdminClient, KafkaConsumer, KafkaProducer, BoundedProducer])
def test_of_a_client_that_cannot_be_made(kind: Any) -> None:
    with pytest.raises(KafkaError):
        make_client(kind, bootstrap_servers=NOWHERE, bootstrap_timeout_ms=100)


def test_of_those_that_were_made_before_one_that_cannot_be(real_kafka: KafkaServer) -> None:
    def both() -> None:
        with all_or_none() as make:
            make(KafkaConsumer, bootstrap_servers=real_kafka.bootstrap_servers)
            make(KafkaAdminClient, bootstrap_servers=NOWHERE, bootstrap_timeout_ms=100)

    with pytest.raises(KafkaError):
        both()


def test_a_refresh_that_fails_for_somebody_else_does_not_end_all_others(real_kafka: KafkaServer) -> None:
    """The loop waits for a refresh that it has not begun itself, and that one's connection breaks."""
    consumer = make_client(KafkaConsumer, bootstrap_servers=real_kafka.bootstrap_servers)
    try:
        consumer.topics()
        cluster, others = consumer._cluster, Future()
        cluster._refresh_future = others
        cluster._wakeup.notify()
        wait_until(lambda: others._callbacks, SEEN_WITHIN_S, "the loop waits for it")
        consumer._net.call_soon_threadsafe(lambda: others.failure(KafkaConnectionError("broken")))
        asking = threading.Thread(target=consumer.topics, daemon=True)
        asking.start()
        asking.join(SEEN_WITHIN_S)
        assert not asking.is_alive()
    finally:
        consumer.close()


def test_of_whatever_looks_for_a_kafka_that_is_away() -> None:
    settings = Settings.model_construct(kafka=KafkaSettings(bootstrap_servers=NOWHERE))
    with pytest.raises(KafkaUnreachable):
        read_topics(settings)
    with pytest.raises(KafkaUnreachable), Surveyor(settings) as surveyor:
        surveyor.look()
    with pytest.raises(KafkaUnreachable):
        KafkaLog(settings.kafka, Topics(), "a-worker")
