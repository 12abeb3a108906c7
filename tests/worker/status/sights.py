"""Surveys as they might be: one partition that is well, and what a test changes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from contracts.decision import State
from contracts.topics import Topics
from worker.settings import KafkaSettings, Settings
from worker.status.condition import Verdict, View, judge
from worker.status.facts import Input, Letters, Member, OpenTransaction, PartitionFacts, StoreCopy, Survey
from worker.status.motion import Motion
from worker.status.report import Report, report

NOW = 1_793_527_200_000
"""2026-11-01T10:00:00Z."""
TOPICS = Topics()
RUNS = TOPICS.restore_runs
NO_LETTERS = Letters(0)
UNKNOWN = Motion()
OWNER = Member("w-1", "10.0.0.1", frozenset({0}))
STORE = StoreCopy(False, "g1", 40, 30, 0, True, NOW - 500, NOW - 3_600_000)
SETTINGS = Settings.model_construct(kafka=KafkaSettings(bootstrap_servers="kafka:9092", group_id="projector"))


def an_input(topic: str = RUNS, committed: int | None = 10, readable: int = 10, high: int | None = None, *,
             low: int = 0, oldest: int | None = None, stream_time: int = NOW - 1_000) -> Input:  # fmt: skip
    return Input(topic, low, committed, readable, readable if high is None else high, oldest, stream_time)


def waiting(count: int, age_ms: int, topic: str = RUNS) -> Input:
    """An input in which so many records wait, the oldest for so long."""
    return an_input(topic, readable=10 + count, oldest=NOW - age_ms)


def partition(
    *inputs: Input,
    number: int = 0,
    owner: Member | None = OWNER,
    store: StoreCopy | None = STORE,
    opened: tuple[OpenTransaction, ...] = (),
    letters: Letters | None = NO_LETTERS,
) -> PartitionFacts:
    """A partition that is well, but for what is given; inputs that are not given have nothing waiting."""
    given: Mapping[str, Input] = {row.topic: row for row in inputs}
    rows = tuple(given.get(topic, an_input(topic)) for topic in TOPICS.inputs)
    return PartitionFacts(number, owner, rows, opened, store, letters)


def survey(
    *partitions: PartitionFacts,
    group_state: str | None = "Stable",
    overdue: Mapping[State, int] | None = None,
    store_error: str | None = None,
    store_full: tuple[int, int] | None = None,
    at: int = NOW,
) -> Survey:
    owners = {facts.owner for facts in partitions if facts.owner is not None}
    members = tuple(sorted(owners, key=lambda owner: owner.name))
    return Survey(at, group_state, members, partitions, overdue, store_error, store_full)


def verdict(facts: PartitionFacts, motion: Motion = UNKNOWN, seen: Survey | None = None) -> Verdict:
    """How a partition is, the only one of a survey if none is given."""
    return judge(View(facts, motion, seen or survey(facts), "projector", "kafka:9092"))


def reported(seen: Survey, motion: Motion = UNKNOWN) -> Report:
    return report(seen, {facts.number: motion for facts in seen.partitions}, SETTINGS)


def idle(facts: PartitionFacts, for_ms: int) -> PartitionFacts:
    """The same when nothing has come for so long."""
    return replace(facts, inputs=tuple(replace(row, stream_time=NOW - for_ms) for row in facts.inputs))
