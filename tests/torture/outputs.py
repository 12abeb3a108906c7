"""When something came out of each partition, as a reader of committed records sees it, and when nothing did."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from worker.settings import Settings

POLL_MS: Final = 20
WORTH_S: Final = 0.3
"""Shorter silences are what the traffic itself has between its rounds."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Nothing came out of a partition from `begin` to `end` (monotonic seconds)."""

    partition: int
    begin: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.begin


class Outputs:
    """Reads the state topic from its end, in a thread, for the time of the context."""

    def __init__(self, settings: Settings, partitions: int) -> None:
        self.gaps: list[Gap] = []
        self._settings = settings
        self._last: dict[int, float] = defaultdict(time.monotonic)
        self._partitions = partitions
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, name="outputs", daemon=True)

    def longest(self, begin: float, end: float) -> Gap | None:
        """The longest gap that began in this time; one that lasts still is counted up to now."""
        return max(self._within(begin, end), key=lambda gap: gap.seconds, default=None)

    def _within(self, begin: float, end: float) -> Iterable[Gap]:
        now = time.monotonic()
        lasting = [Gap(number, last, now) for number, last in list(self._last.items()) if now - last > WORTH_S]
        # What came out last before a fault came out before it.
        return [gap for gap in [*self.gaps, *lasting] if begin - WORTH_S <= gap.begin < end - WORTH_S]

    def _read(self) -> None:
        consumer = KafkaConsumer(
            **self._settings.kafka.client_options(), isolation_level="read_committed", auto_offset_reset="latest",
            enable_auto_commit=False, fetch_max_wait_ms=POLL_MS, metrics_enabled=False, reconnect_backoff_max_ms=200,
        )  # fmt: skip
        topic = self._settings.topic_names.decision_state
        places = [TopicPartition(topic, number) for number in range(self._partitions)]
        consumer.assign(places)
        consumer.seek_to_end()
        try:
            while not self._over.is_set():
                try:
                    polled = consumer.poll(POLL_MS)
                except KafkaError:
                    continue  # It is down, as the torture wants it to be.
                self._heard({tp.partition for tp in polled})
        finally:
            consumer.close()

    def _heard(self, numbers: Iterable[int]) -> None:
        now = time.monotonic()
        for number in numbers:
            last, self._last[number] = self._last[number], now
            if now - last > WORTH_S:
                self.gaps.append(Gap(number, last, now))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
