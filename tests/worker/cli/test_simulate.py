from __future__ import annotations

import json
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from contracts.ids import partition_of
from contracts.topics import Topics
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer
from tests.worker.cli.conftest import Command


@pytest.fixture
def names(command: Command, kafka: KafkaServer, space: Space, monkeypatch: pytest.MonkeyPatch) -> Topics:
    _ = command  # forgets all settings first
    monkeypatch.setenv("RESTORE_PROJECTOR_KAFKA__BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("RESTORE_PROJECTOR_KAFKA__PARTITIONER", "crc32")
    monkeypatch.setenv("RESTORE_PROJECTOR_TOPICS__PREFIX", space.prefix)
    return Topics(space.prefix)


def test_what_the_summary_says_was_sent_is_in_the_topics(command: Command, names: Topics, kafka: KafkaServer) -> None:
    command("topics", "create", "--partitions", "3", "--replication-factor", "1")

    result = command("simulate", "--runs", "10", "--rate", "400", "--tenants", "3", "--json")

    summary = json.loads(result.out)
    assert (result.code, summary["restores"]) == (0, 10)
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, metrics_enabled=False)
    partitions = [TopicPartition(topic, number) for topic in names.inputs for number in range(3)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    read: list[Any] = []
    while len(read) < summary["records"]:
        read += [record for records in consumer.poll(1000).values() for record in records]
    consumer.close()
    assert {record.partition == partition_of(record.key.decode(), 3, "crc32") for record in read} == {True}
    assert sum(summary["topics"].values()) == summary["records"] == len(read)


@pytest.mark.usefixtures("names")
def test_without_topics_it_says_what_to_do(command: Command) -> None:
    result = command("simulate", "--runs", "1")

    assert result.code == 2
    assert "does not exist: `restore-projector topics create` makes it" in result.err
