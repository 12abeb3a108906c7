"""A pipeline that only reads, writes and stores: what the clients cost, and so the limit of what can be had with them.

It takes the same batches in the same kind of transaction, publishes as many records of the same sizes as the worker did
and stores as many keys, without looking at a single value. Arguments: per input record, how many documents, internal
records and changes, and how many bytes each of them has.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

import redis
from kafka import KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.structs import OffsetAndMetadata

from contracts.topics import Topics
from worker.kafka import CONSUMER_OPTIONS, MAX_BATCH_BYTES, PRODUCER_OPTIONS, BoundedProducer
from worker.settings import load_settings

MAX_BATCH = 5000


class NullPipeline:
    """One topic's share of what the worker writes, by counting only."""

    def __init__(self, shape: dict[str, list[float]]) -> None:
        settings = load_settings()
        self._topics = Topics(settings.topics.prefix)
        options = settings.kafka.client_options()
        self._consumer = KafkaConsumer(
            *self._topics.inputs,
            group_id=settings.kafka.group_id,
            partition_assignment_strategy=[RangePartitionAssignor],
            fetch_max_wait_ms=50,
            **{**CONSUMER_OPTIONS, "auto_offset_reset": "earliest"},
            **options,
        )
        self._producer = BoundedProducer(
            transactional_id=f"{settings.kafka.group_id}-null",
            batch_size=MAX_BATCH_BYTES,
            **PRODUCER_OPTIONS,
            **options,
        )
        self._producer.init_transactions()
        self._redis = redis.Redis.from_url(settings.redis.url.get_secret_value())
        self._namespace = settings.redis.namespace
        self._shape = {
            topic: (ratio, os.urandom(int(size) // 2).hex().encode()) for topic, (ratio, size) in shape.items()
        }
        self._owed = dict.fromkeys(self._shape, 0.0)

    def turn(self) -> None:
        polled = self._consumer.poll(500)
        records = [record for batch in polled.values() for record in batch]
        for at in range(0, len(records), MAX_BATCH):
            self._transact(records[at : at + MAX_BATCH])

    def _transact(self, records: list[Any]) -> None:
        self._producer.begin_transaction()
        pipe = self._redis.pipeline(transaction=False)
        futures = []
        for record in records:
            for topic, (ratio, value) in self._shape.items():
                self._owed[topic] += ratio
                while self._owed[topic] >= 1:
                    self._owed[topic] -= 1
                    key = f"{topic}:{record.topic}/{record.offset}"
                    futures.append(
                        self._producer.send(topic, value=value, key=key.encode(), partition=record.partition)
                    )
                    if topic != self._topics.decision_changes:
                        pipe.set(f"{self._namespace}:{{{record.partition}}}:{key}", value)
        self._producer.flush(12)
        for future in futures:
            future.get(0)
        offsets = {TopicPartition(r.topic, r.partition): OffsetAndMetadata(r.offset + 1, "", -1) for r in records}
        self._producer.send_offsets_to_transaction(offsets, self._consumer.group_metadata())
        self._producer.commit_transaction()
        pipe.execute()


def main() -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    pipeline = NullPipeline(json.loads(sys.argv[1]))
    while not stop.is_set():
        pipeline.turn()


if __name__ == "__main__":
    main()
