"""One look at an installation, from outside: a worker that hangs, or is not there, need not answer for it."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from kafka import TopicPartition

from worker.settings import Settings
from worker.status.facts import PartitionFacts, Survey
from worker.status.kafka import KafkaView
from worker.status.store import StoreView


class Surveyor:
    """Looks, again and again if wanted, over the same connections. For one thread."""

    def __init__(self, settings: Settings) -> None:
        self._topics = settings.topic_names
        self._kafka = KafkaView(settings.kafka, self._topics)
        self._store = StoreView(settings.redis, settings.overdue)

    def look(self) -> Survey:
        """Raises KafkaUnreachable, and Unfit if topics are not there. A store that is away is in the survey."""
        kafka = self._kafka.look()
        now = time.time_ns() // 1_000_000
        store = self._store.look(kafka.log_id, kafka.ends, now)
        owners = {number: member for member in kafka.members for number in member.partitions}
        partitions = tuple(
            PartitionFacts(
                number,
                owners.get(number),
                tuple(kafka.inputs[TopicPartition(topic, number)] for topic in self._topics.inputs),
                tuple(opened for at, opened in kafka.transactions if at == number),
                store.copies.get(number),
                None if kafka.letters is None else kafka.letters[number],
                (kafka.begins[number], kafka.ends[number][0]),
            )
            for number in range(kafka.partitions)
        )
        return Survey(now, kafka.group_state, kafka.members, partitions, store.overdue, store.error, store.full)

    def close(self) -> None:
        self._kafka.close()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
