"""deploy/runbook.md on real servers: what each section is about is brought about, and what it says is typed.

Sections share an installation where one leads to the next. `Transactions fail` and `Old survey` are typed where all is
well, as what they are about takes a broken Kafka and minutes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.structs import OffsetAndMetadata
from redis import Redis

from contracts.ids import partition_of
from tests.deploy.pods import Pods, Process, Thread
from tests.deploy.runbook import SECTIONS
from tests.deploy.typist import WAIT_S, Typist
from tests.installation import PARTITIONS, Live, live_worker
from tests.processes import environment, install
from tests.servers.plugin import MakesRedis, Space
from tests.servers.ports import KafkaServer
from tests.traffic import message, run, sender
from tests.trouble import commit, gate, hurry
from tests.versions import decided_by
from tests.worker.cli.conftest import Command
from worker import loop
from worker.errors import Unfit
from worker.kafka import KafkaLog
from worker.redis import RedisStore
from worker.settings import Settings

TENANT = "acme"
PARTITION = partition_of(TENANT, PARTITIONS, "murmur2")
POD = "restore-projector-0"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def typist(command: Command, monkeypatch: pytest.MonkeyPatch) -> Callable[[Settings, Pods], Typist]:
    def typist(settings: Settings, pods: Pods) -> Typist:
        for name, value in environment(settings).items():
            monkeypatch.setenv(name, value)
        names = {"PARTITION": PARTITION, "TOPIC": settings.topic_names.restore_runs, "POD": POD, "WORKERS": 2,
                 "TENANT": TENANT, "RUN": "rr-1"}  # fmt: skip
        return Typist(command, pods, settings, names)

    return typist


Types = Callable[[Settings, Pods], Typist]


@contextmanager
def pods_of(settings: Settings, undo: Callable[[], None] = lambda: None) -> Iterator[Pods]:
    """Workers in this process."""
    pods = Pods(lambda _: Thread(settings), undo)
    try:
        yield pods
    finally:
        pods.scale(0)


@contextmanager
def admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(**settings.kafka.client_options())
    try:
        yield client
    finally:
        client.close()


RUNS = tuple(f"rr-{number}" for number in range(1, 4))


def send(settings: Settings, sequence: int = 1, status: str = "completed") -> None:
    """Three events of the tenant, which wait for whoever has its partition."""
    with sender(settings, PARTITIONS) as sending:
        sending.events(*(run(TENANT, id, sequence, status) for id in RUNS))


def decide(settings: Settings) -> None:
    """Three restores are there, and no worker is any more."""
    with live_worker(settings) as live:
        live.send.events(*(run(TENANT, id, 1) for id in RUNS))
        for id in RUNS:
            live.wait_for_state(TENANT, id, "completed_proof_incomplete")


# Workers


def test_nobody_works(settings: Settings, typist: Types) -> None:
    """At first nobody ever has; then those who have leave."""
    with pods_of(settings) as pods:
        night = typist(settings, pods)
        night.takes("No worker")
        pods.scale(0)
        send(settings)
        night.takes("Owned by nobody")


def test_a_worker_hangs(settings: Settings, typist: Types, tmp_path: Path) -> None:
    with ExitStack() as stack:
        processes: dict[str, Process] = {}

        def process(name: str) -> Process:
            made = Process(settings, tmp_path / f"{name}.log", name)
            stack.callback(made.worker.kill)
            return processes.setdefault(name, made)

        pods = Pods(process)
        night = typist(settings, pods)
        pods.scale(1)
        night.is_well()

        processes[POD].hang()
        send(settings)
        night.takes("Stuck", "The worker takes none")
        processes[POD].hang()
        night.takes("Hanging worker")
        processes[POD].hang()
        pods.scale(2)
        night.takes("Rebalancing")
        night.takes("Transactions fail")


def test_a_worker_ends_again_and_again(settings: Settings, typist: Types, tmp_path: Path) -> None:
    """As a topic is not what it must be, which somebody has changed."""
    topic = ConfigResource(ConfigResourceType.TOPIC, settings.topic_names.decision_state, {"cleanup.policy": "delete"})
    with admin(settings) as client:
        client.alter_configs([topic])
    pod = Process(settings, tmp_path / "log", POD)
    pods = Pods(lambda _: pod)
    night = typist(settings, pods)
    pods.scale(1)
    assert pod.worker.wait(WAIT_S) == Unfit.exit_code
    night.takes("Restarts")


# Partitions


def test_records_were_removed_unread(settings: Settings, typist: Types) -> None:
    decide(settings)
    send(settings, 2)
    with admin(settings) as client, pods_of(settings) as pods:
        client.delete_records({TopicPartition(settings.topic_names.restore_runs, PARTITION): 5})
        pods.scale(1)
        night = typist(settings, pods)
        night.takes("Stopped", "Records were removed")


def test_kafka_tells_an_older_offset(settings: Settings, typist: Types) -> None:
    """The broker is not restarted here: what it tells is set right, which Kafka allows while no worker runs."""
    decide(settings)
    place = TopicPartition(settings.topic_names.restore_runs, PARTITION)
    right = commit(settings, place, OffsetAndMetadata(1, "1793527200123", -1))
    with pods_of(settings) as pods:
        night = typist(settings, pods)
        case = night.case("Stopped", "Kafka tells an older offset")
        pods.scale(1)
        night.sees(case)
        which, well = case.steps
        night.types(which)
        pods.scale(0)
        commit(settings, place, right)
        pods.scale(1)
        night.types(well)


def test_a_source_has_not_ended_its_transaction(settings: Settings, typist: Types) -> None:
    """For so long that order is not kept, which here is a second."""
    limits = settings.limits.model_copy(update={"merge_wait_ms": 1_000})
    settings = settings.model_copy(update={"limits": limits})
    etl = KafkaProducer(**settings.kafka.client_options(), transactional_id="etl", metrics_enabled=False)
    with pods_of(settings) as pods, closing(etl):
        pods.scale(1)
        etl.init_transactions()
        etl.begin_transaction()
        sent = message(run(TENANT, "rr-1", 1), settings.topic_names)
        metadata = etl.send(sent.topic, sent.value, sent.key, list(sent.headers), PARTITION).get(WAIT_S)
        send(settings)
        night = typist(settings, pods)
        night.names["OFFSET"] = metadata.offset
        night.takes("Open transaction")
        night.takes("Order not kept")


def test_more_comes_in_than_is_taken(settings: Settings, typist: Types, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = settings.limits.model_copy(update={"batch_records": 1})
    settings = settings.model_copy(update={"limits": limits})
    with (
        gate(monkeypatch, KafkaLog, "publish", closed_for=lambda *_: True) as publishing,
        pods_of(settings) as pods,
        sender(settings, PARTITIONS) as sending,
    ):
        night = typist(settings, pods)
        pods.scale(1)
        sending.events(*(run(TENANT, f"rr-{n}", 1) for n in range(120)))
        case = night.case("Slow")
        with publishing.trickling(0.15):
            night.sees(case)
        publishing.open()
        for step in case.steps:
            night.types(step)


def test_redis_is_read_from_kafka(settings: Settings, typist: Types, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its position was lost; then as somebody has changed a document."""
    monkeypatch.setattr(loop, "LOOK_S", 0.3)  # how soon an order is found where nothing comes in
    decide(settings)
    slot = f"{settings.redis.namespace}:{{{PARTITION}}}"
    url = settings.redis.url.get_secret_value()

    def of_this_partition(partition: int, *_: object, **__: object) -> bool:
        return partition == PARTITION

    with (
        gate(monkeypatch, RedisStore, "apply", closed_for=of_this_partition) as applying,
        Redis.from_url(url) as redis,
        pods_of(settings) as pods,
    ):
        night = typist(settings, pods)
        redis.delete(f"{slot}:position")
        pods.scale(1)
        case = night.case("Restoring")
        night.sees(case)
        look, done, again = case.steps
        night.types(look)
        applying.open()
        night.types(done)
        night.types(again)
        redis.set(f"{slot}:run:{TENANT}/rr-1", "{}")
        night.takes("Recovering")


def test_a_newer_version_decides_again_and_an_older_one_refuses(
    settings: Settings, typist: Types, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide(settings)
    with ExitStack() as newer, gate(monkeypatch, KafkaLog, "publish", closed_for=lambda *_: True) as publishing:
        newer.enter_context(decided_by(2))

        def back_to_the_newer() -> None:
            newer.enter_context(decided_by(2))

        with pods_of(settings, undo=back_to_the_newer) as pods:
            night = typist(settings, pods)
            pods.scale(1)
            case = night.case("Recomputing")
            night.sees(case)
            publishing.open()
            for step in case.steps:
                night.types(step)
            pods.scale(0)
            newer.close()
            pods.scale(1)
            night.takes("Refused")


# Servers


def test_redis_is_away_and_then_full(
    real_kafka: KafkaServer, private_redis: MakesRedis, space: Space, typist: Types
) -> None:
    server = private_redis(maxmemory_policy="noeviction")
    settings = install(real_kafka, server, space.prefix, PARTITIONS)
    with pods_of(settings) as pods:
        night = typist(settings, pods)
        pods.scale(1)
        night.takes("Old survey")
        case = night.case("Server away")
        server.stop()
        night.sees(case)
        night.takes("Nothing runs")
        server.start()
        for step in case.steps:
            night.types(step)
        with Redis.from_url(server.url) as redis:
            redis.config_set("maxmemory", "1")
        send(settings)
        night.takes("Stuck", "Redis is full")


# Records


def test_records_cannot_be_read(live: Live, typist: Types) -> None:
    """Events with a status that there is not."""
    with pods_of(live.settings) as pods:
        night = typist(live.settings, pods)
        live.send.events(run(TENANT, "rr-1", 1, "finished"), run(TENANT, "rr-2", 1, "finished"))
        night.names["LETTER"] = f"{PARTITION}:0"
        night.takes("Dead letters")


def test_a_source_counts_anew_and_a_restore_hangs(live: Live, typist: Types, monkeypatch: pytest.MonkeyPatch) -> None:
    live.send.events(run(TENANT, "rr-1", 7, "running"))
    live.wait_for_state(TENANT, "rr-1", "in_progress")
    with pods_of(live.settings) as pods:
        night = typist(live.settings, pods)
        night.takes("Stale records")
        tomorrow = time.time_ns() + 25 * 3600 * 10**9
        monkeypatch.setattr(time, "time_ns", lambda: tomorrow)
        night.takes("Overdue")


def test_every_section_and_every_case_is_typed() -> None:
    typed = set(re.findall(r'night\.(?:takes|case)\("(.+?)"(?:, "(.+?)")?\)', Path(__file__).read_text()))

    assert typed == {
        (title, "" if case.title == title else case.title)
        for title, section in SECTIONS.items()
        for case in section.cases
    }
