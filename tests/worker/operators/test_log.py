"""Reading parts of topics: how long a reader waits for what does not come, and what it says of topics that differ."""

from __future__ import annotations

import itertools

import pytest

from tests.installation import PARTITIONS
from worker.errors import KafkaUnreachable, Unfit
from worker.operators.log import LogReader, Part
from worker.settings import Settings


def test_time_that_whoever_reads_takes_between_polls_is_not_held_against_kafka(settings: Settings) -> None:
    now = 0.0
    with LogReader(settings.kafka, monotonic=lambda: now) as reader:
        reader.begin({(settings.topic_names.ops, 0): Part(0, 1)})
        for _ in range(3):
            assert reader.poll() == []
            now += 1_000.0


def test_what_gives_nothing_for_too_long_is_given_up(settings: Settings) -> None:
    ticks = itertools.count(0.0, 25.0)
    with LogReader(settings.kafka, monotonic=lambda: next(ticks)) as reader:
        silent = reader.read({(settings.topic_names.ops, 0): Part(0, 1)})
        with pytest.raises(KafkaUnreachable, match="for 60 s it gave nothing of"):
            list(itertools.islice(silent, 4))


def test_a_topic_with_fewer_partitions_than_the_others_is_named(settings: Settings) -> None:
    ops = settings.topic_names.ops
    with LogReader(settings.kafka) as reader, pytest.raises(Unfit) as told:
        reader.ends([(ops, number) for number in range(PARTITIONS + 2)])
    assert str(told.value).startswith(f"{ops} has {PARTITIONS} partitions, expected at least {PARTITIONS + 2}")
