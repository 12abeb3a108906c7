"""`status` on real servers: every condition is brought about, and said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.structs import OffsetAndMetadata
from redis import Redis

from tests.installation import PARTITIONS, Live
from tests.processes import ThreadWorker, WorkerProcess, environment, install, running
from tests.servers.plugin import MakesRedis, Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from tests.traffic import Message, message, run, sender
from tests.trouble import commit, gate, hurry, running_partly
from tests.worker.cli.conftest import Command, Result
from tests.worker.cli.terminal import Shown, on_a_terminal, without_colours
from worker.kafka import KafkaLog
from worker.redis import RedisStore
from worker.settings import Settings

WAIT_S = 30.0
TENANT = "t-1"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def status(command: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    return lambda *options: command("status", *options)


def told(status: Callable[..., Result]) -> dict[str, Any]:
    result = status("--json")
    assert result.err == ""
    report: dict[str, Any] = json.loads(result.out)
    assert result.code == (0 if report["well"] else 1)
    return report


def states(status: Callable[..., Result]) -> list[str]:
    return [row["state"] for row in told(status)["partitions"]]


def wait_for_states(status: Callable[..., Result], *expected: str) -> dict[str, Any]:
    """The report in which the partitions, or all of them, are so."""
    wanted = list(expected) if len(expected) > 1 else list(expected) * PARTITIONS

    def found() -> dict[str, Any] | None:
        report = told(status)
        return report if [row["state"] for row in report["partitions"]] == wanted else None

    report = wait_until(found, WAIT_S, lambda: f"partitions are {wanted}, not {states(status)}")
    assert report is not None
    return report


def only_first(state: str, others: str = "idle") -> list[str]:
    return [state, *[others] * (PARTITIONS - 1)]


def test_an_installation_to_which_nothing_comes_is_idle(live: Live, status: Callable[..., Result]) -> None:
    _ = live
    result = status()
    assert (result.code, result.err) == (0, "")
    head, blank, columns, *rows = result.out.splitlines()
    assert head == f"All is well: {PARTITIONS} partitions on 1 worker, all idle."
    assert (blank, columns.split()) == ("", ["part", "owner", "state", "waiting", "oldest", "store", "letters"])
    assert [row.split()[2:5] for row in rows] == [["idle", "0", "-"]] * PARTITIONS


def test_a_partition_in_which_all_is_decided_has_caught_up(live: Live, status: Callable[..., Result]) -> None:
    live.send.events(run(TENANT, "rr-1", 1))
    live.wait_for_state(TENANT, "rr-1", "completed_proof_incomplete")
    number = live.send.partition(TENANT)
    expected = ["caught_up" if at == number else "idle" for at in range(PARTITIONS)]
    report = wait_for_states(status, *expected)
    row = report["partitions"][number]
    assert report["sentence"] == f"All is well: {PARTITIONS} partitions on 1 worker, 1 caught up, 3 idle."
    assert row["lag"] == {"records": 0, "seconds": 0}
    assert row["store"]["status"] == "ready"
    assert (row["store"]["state"], row["store"]["internal"], row["store"]["behind"]) == (1, 0, 0)
    assert row["owner"] == report["group"]["members"][0]["name"]
    assert str(os.getpid()) in row["owner"]


def test_what_nobody_works_on_is_owned_by_nobody_and_waits(settings: Settings, status: Callable[..., Result]) -> None:
    with sender(settings, PARTITIONS) as send:
        send.events(*(run(TENANT, f"rr-{n}", 1) for n in range(3)))
        number = send.partition(TENANT)
    report = wait_for_states(status, "owned_by_nobody")
    assert report["partitions"][number]["lag"]["records"] == 3
    assert report["partitions"][number]["next"] == "restore-projector run"
    assert report["sentence"] == f"Something is wrong with 4 of {PARTITIONS} partitions: all owned by nobody."
    text = status().out
    assert f"Partition {number} is owned by nobody since " in text
    assert "): no worker runs, 3 records wait.\n" in text


def test_a_worker_that_was_killed_leaves_its_partitions_to_nobody(
    settings: Settings, status: Callable[..., Result], tmp_path: Path
) -> None:  # fmt: skip
    worker = WorkerProcess(settings, tmp_path / "worker.log")
    worker.start()
    worker.wait_until_owning(PARTITIONS)
    wait_for_states(status, "idle")
    worker.kill()
    wait_for_states(status, "owned_by_nobody")


def test_a_worker_that_hangs_is_stuck_until_it_goes_on(
    settings: Settings, status: Callable[..., Result], tmp_path: Path
) -> None:  # fmt: skip
    worker = WorkerProcess(settings, tmp_path / "worker.log", RESTORE_PROJECTOR_KAFKA__SESSION_TIMEOUT_MS="60000",
                           RESTORE_PROJECTOR_KAFKA__INSTANCE="w-1")  # fmt: skip
    worker.start()
    worker.wait_until_owning(PARTITIONS)
    try:
        with sender(settings, PARTITIONS) as send:
            worker.signal(signal.SIGSTOP)
            send.events(run(TENANT, "rr-1", 1))
            number = send.partition(TENANT)
        expected = ["stuck" if at == number else "idle" for at in range(PARTITIONS)]
        row = wait_for_states(status, *expected)["partitions"][number]
        assert "1 record waits, the oldest for " in row["cause"]
        assert row["cause"].endswith(
            "and its worker w-1 on 127.0.0.1 takes none. Its log says why; to restart it is safe"
        )
        worker.signal(signal.SIGCONT)
        wait_for_states(status, *["caught_up" if at == number else "idle" for at in range(PARTITIONS)])
    finally:
        worker.kill()


def test_a_full_redis_is_why_it_is_stuck(
    real_kafka: KafkaServer, private_redis: MakesRedis, space: Space, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = private_redis(maxmemory_policy="noeviction")
    settings = install(real_kafka, redis, space.prefix, PARTITIONS)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)

    def status(*options: str) -> Result:
        return command("status", *options)

    with running(settings) as worker, Redis.from_url(redis.url) as client, sender(settings, PARTITIONS) as send:
        client.config_set("maxmemory", "1")
        send.events(run(TENANT, "rr-1", 1))
        wait_until(lambda: worker.metrics.recoveries._value.get() > 0, WAIT_S, "the worker recovers")
        send.events(run(TENANT, "rr-1", 2))
        number = send.partition(TENANT)
        row = wait_for_states(status, *["stuck" if at == number else "idle" for at in range(PARTITIONS)])
        assert "Redis is full: " in row["partitions"][number]["cause"]
        assert row["partitions"][number]["next"] == "redis-cli INFO memory"
        client.config_set("maxmemory", "0")
        wait_for_states(status, *["caught_up" if at == number else "idle" for at in range(PARTITIONS)])


def test_a_partition_that_takes_less_than_waits_is_slow(
    settings: Settings, status: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    limits = settings.limits.model_copy(update={"batch_records": 1})
    with (
        gate(monkeypatch, KafkaLog, "publish", closed_for=lambda *_: True) as publishing,
        running(settings.model_copy(update={"limits": limits})),
        sender(settings, PARTITIONS) as send,
    ):
        number = send.partition(TENANT)
        send.events(*(run(TENANT, f"rr-{n}", 1) for n in range(400)))
        with publishing.trickling(0.05):
            row = wait_for_states(status, *["slow" if at == number else "idle" for at in range(PARTITIONS)])
            assert " a second are taken, 0 come in: about " in row["partitions"][number]["cause"]
        publishing.open()
        wait_for_states(status, *["caught_up" if at == number else "idle" for at in range(PARTITIONS)])


def test_a_partition_that_is_restored_says_how_much_is_to_go(
    settings: Settings, status: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    with running(settings), sender(settings, PARTITIONS) as send:
        send.events(*(run(TENANT, f"rr-{n}", 1) for n in range(50)))
        number = send.partition(TENANT)
        wait_for_states(status, *["caught_up" if at == number else "idle" for at in range(PARTITIONS)])
    with Redis.from_url(settings.redis.url.get_secret_value()) as client:
        client.delete(f"{settings.redis.namespace}:{{{number}}}:position")

    def of_this_partition(partition: int, *_: object, **__: object) -> bool:
        return partition == number

    with gate(monkeypatch, RedisStore, "apply", closed_for=of_this_partition) as applying:
        worker = ThreadWorker(settings)
        worker.start()
        try:
            assert applying.waiting.wait(WAIT_S)
            row = wait_for_states(status, *["restoring" if at == number else "idle" for at in range(PARTITIONS)])
            to_go = int(row["partitions"][number]["cause"].partition(" records to go")[0])
            assert to_go >= 50  # markers of transactions are counted
            assert row["partitions"][number]["since"] is not None
            applying.open()
            wait_for_states(status, *["caught_up" if at == number else "idle" for at in range(PARTITIONS)])
        finally:
            applying.open()
            worker.stop()


def test_an_open_transaction_is_named_with_who_has_it_and_how_to_end_it(
    live: Live, status: Callable[..., Result]
) -> None:  # fmt: skip
    id = f"{live.settings.topics.prefix}-etl"
    producer = KafkaProducer(**live.settings.kafka.client_options(), transactional_id=id, metrics_enabled=False)
    number = live.send.partition(TENANT)
    try:
        producer.init_transactions()
        producer.begin_transaction()
        sent = message(run(TENANT, "rr-1", 1), live.send.topics)
        producer.send(sent.topic, sent.value, sent.key, list(sent.headers), number).get(WAIT_S)
        live.send.events(run(TENANT, "rr-2", 1))

        expected = ["waiting_for_transaction" if at == number else "idle" for at in range(PARTITIONS)]
        row = wait_for_states(status, *expected)["partitions"][number]
        assert row["cause"].startswith(
            f"the producer '{id}' has not ended its transaction in {sent.topic}, behind which 2 "
        )
        assert row["next"].endswith(f"abort --topic {sent.topic} --partition {number} --start-offset 0")
        producer.commit_transaction()
        live.wait_for_state(TENANT, "rr-2", "completed_proof_incomplete")
        wait_for_states(status, *["caught_up" if at == number else "idle" for at in range(PARTITIONS)])
        assert told(status)["partitions"][number]["lag"]["records"] == 0
    finally:
        producer.close(timeout=1)


def test_a_group_that_gives_out_its_partitions_says_so(
    settings: Settings, status: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    with (
        gate(monkeypatch, KafkaLog, "publish", closed_for=lambda *_: True) as publishing,
        running(settings),
        sender(settings, PARTITIONS) as send,
    ):
        send.events(run(TENANT, "rr-1", 1))
        assert publishing.waiting.wait(WAIT_S)
        other = KafkaConsumer(
            *settings.topic_names.inputs,
            group_id=settings.kafka.group_id,
            partition_assignment_strategy=[RangePartitionAssignor],
            metrics_enabled=False,
            **settings.kafka.client_options(),
        )
        over = threading.Event()

        def join() -> None:
            while not over.is_set():
                other.poll(100)

        thread = threading.Thread(target=join)
        thread.start()
        try:
            report = wait_for_states(status, "rebalancing")
            assert report["group"]["state"] == "PreparingRebalance"
        finally:
            publishing.open()
            over.set()
            thread.join()
            other.close()


def test_a_partition_whose_records_were_removed_unread_is_stopped(
    settings: Settings, status: Callable[..., Result]
) -> None:  # fmt: skip
    topic = settings.topic_names.restore_runs
    with sender(settings, PARTITIONS) as send:
        number = send.partition(TENANT)
        with running(settings):
            send.events(run(TENANT, "rr-1", 1))
            wait_for_states(status, *["caught_up" if at == number else "idle" for at in range(PARTITIONS)])
        send.events(run(TENANT, "rr-1", 2), run(TENANT, "rr-1", 3))
    admin = KafkaAdminClient(**settings.kafka.client_options())
    try:
        admin.delete_records({TopicPartition(topic, number): 2})
    finally:
        admin.close()
    with running_partly(settings):
        expected = ["stopped" if at == number else "idle" for at in range(PARTITIONS)]
        row = wait_for_states(status, *expected)["partitions"][number]
        assert row["cause"].startswith(f"{topic} is to be read on at 1, and holds 2 to 3: ")
        assert row["next"].endswith(f"--topic {topic}:{number} --reset-offsets --to-earliest --execute")


def test_a_partition_of_which_kafka_tells_an_older_offset_is_stopped_until_it_tells_the_right_one(
    settings: Settings, status: Callable[..., Result]
) -> None:  # fmt: skip
    topic = settings.topic_names.restore_runs
    with sender(settings, PARTITIONS) as send:
        number = send.partition(TENANT)
        well = ["caught_up" if at == number else "idle" for at in range(PARTITIONS)]
        with running(settings):
            send.events(run(TENANT, "rr-1", 1), run(TENANT, "rr-1", 2))
            wait_for_states(status, *well)
    place = TopicPartition(topic, number)
    right = commit(settings, place, OffsetAndMetadata(1, "1793527200123", -1))
    with running_partly(settings):
        row = wait_for_states(status, *["stopped" if at == number else "idle" for at in range(PARTITIONS)])
        assert row["partitions"][number]["cause"].startswith(
            f"Kafka tells 1 as the committed offset of {topic}, and {right.offset} was committed."
        )
    commit(settings, place, right)
    with running(settings):
        wait_for_states(status, *well)


def test_dead_letters_are_counted_until_they_are_handled_or_deleted(
    live: Live, command: Command, status: Callable[..., Result]
) -> None:
    number = live.send.partition(TENANT)
    broken = [Message(live.send.topics.restore_runs, TENANT.encode(), b"{", []) for _ in range(3)]
    live.send.messages(broken)
    wait_until(lambda: told(status)["partitions"][number]["dead_letters"]["open"] == 3, WAIT_S, "3 dead letters")
    result = status()
    assert result.code == 1
    assert result.out.startswith("All partitions are well, and 3 dead letters are to be seen to.\n")
    assert result.out.splitlines()[-1] == "  restore-projector deadletters list"

    first = live.read(live.send.topics.dead_letters)[0]
    dismissed = command("deadletters", "dismiss", f"{number}:{first.offset}", "--why", "of no use", "--yes")
    assert dismissed.code == 0
    assert status().out.startswith("All partitions are well, and 2 dead letters are to be seen to.\n")

    admin = KafkaAdminClient(**live.settings.kafka.client_options())
    try:
        admin.delete_records({TopicPartition(live.send.topics.dead_letters, number): -1})
    finally:
        admin.close()
    assert status().code == 0


def test_restores_that_are_unfinished_for_too_long_are_counted_and_listed(
    live: Live, status: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    live.send.events(run(TENANT, "rr-1", 1, "running"), run(TENANT, "rr-2", 1), run(TENANT, "rr-3", 1, "failed"))
    live.wait_for_state(TENANT, "rr-3", "failed")
    none = status("--overdue")
    assert (none.code, none.out) == (0, "No restore is overdue.\n")
    assert status().code == 0

    tomorrow = time.time_ns() + 25 * 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: tomorrow)
    listed = status("--overdue")
    assert listed.code == 1
    head, *rows = listed.out.splitlines()
    assert head.split() == ["for", "status", "tenant", "restore", "run"]
    assert [row.split()[-2:] for row in rows] == [[TENANT, "rr-1"], [TENANT, "rr-2"]]
    assert all(row.startswith("1 d 1 h ") for row in rows)
    overdue = json.loads(status("--overdue", "--json").out)
    assert [(row["restore_run_id"], row["state"]) for row in overdue] == [
        ("rr-1", "in_progress"), ("rr-2", "completed_proof_incomplete"),
    ]  # fmt: skip
    assert len(json.loads(status("--overdue", "--json", "--max", "1").out)) == 1

    report = status()
    assert report.code == 0, "the projection is well: it is the platform that has not gone on"
    assert "2 restores are overdue, unfinished for too long:\n  restore-projector status --overdue\n" in report.out
    assert json.loads(status("--json").out)["overdue"] == {
        "not_executed": 0, "in_progress": 1, "completed_proof_incomplete": 1,
    }  # fmt: skip


def test_without_redis_it_says_what_kafka_says(
    real_kafka: KafkaServer, private_redis: MakesRedis, space: Space, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis: RedisServer = private_redis()
    for name, value in environment(install(real_kafka, redis, space.prefix, PARTITIONS)).items():
        monkeypatch.setenv(name, value)
    redis.stop()
    result = command("status")
    assert result.code == 3
    assert result.out.startswith("Something is wrong: Redis at redis://")
    assert result.out.count("not told") == PARTITIONS


def test_without_kafka_it_ends_with_a_sentence(status: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_PROJECTOR_KAFKA__BOOTSTRAP_SERVERS", "localhost:1")
    result = status()
    assert (result.code, result.out) == (3, "")
    assert "Kafka at localhost:1 cannot be reached" in result.err


def test_without_topics_it_says_how_they_are_made(
    status: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORE_PROJECTOR_TOPICS__PREFIX", "nobodys")
    result = status()
    assert (result.code, result.out) == (2, "")
    assert "`restore-projector topics create` makes them" in result.err


def test_watching_in_a_file_says_each_change_once(settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("wb") as file:
        watching = subprocess.Popen(
            [sys.executable, "-c", "from worker.cli import main; main()", "status", "--watch", "--every", "0.5"],
            env={**os.environ, **environment(settings)}, stdout=file,
        )  # fmt: skip
    try:
        wait_until(lambda: "all owned by nobody" in out.read_text(), WAIT_S, "nobody is there")
        with running(settings):
            wait_until(lambda: "All is well" in out.read_text(), WAIT_S, "a worker is there")
        wait_until(lambda: out.read_text().count("all owned by nobody") == 2, WAIT_S, "nobody is there again")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(WAIT_S) == 0
    finally:
        watching.kill()
        watching.wait()
    assert out.read_text().count("All is well: 4 partitions on 1 worker, all idle.") == 1


def test_watching_as_json_is_a_line_for_each_look(settings: Settings) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "from worker.cli import main; main()", "status", "--watch", "--every", "0.5", "--json"],
        env={**os.environ, **environment(settings)}, stdout=subprocess.PIPE, text=True,
    ) as watching:  # fmt: skip
        assert watching.stdout is not None
        reports = [json.loads(watching.stdout.readline()) for _ in range(2)]
        watching.send_signal(signal.SIGINT)
    assert watching.returncode == 0
    assert [report["well"] for report in reports] == [False, False]
    assert reports[0]["at"] < reports[1]["at"]


def test_on_a_terminal_of_80_columns_only_commands_are_longer(settings: Settings) -> None:
    with sender(settings, PARTITIONS) as send, running(settings):
        send.messages([Message(send.topics.restore_runs, TENANT.encode(), b"{", [])])
        shown = wait_until(lambda: with_a_letter(settings), WAIT_S, "a dead letter is shown")
    assert shown is not None
    assert shown.code == 1
    assert any("\x1b[1;31m" in line for line in shown.lines)
    *others, command = [without_colours(line) for line in shown.lines]
    assert max(map(len, others)) <= 80
    assert command == "  restore-projector deadletters list"


def with_a_letter(settings: Settings) -> Shown | None:
    shown = on_a_terminal(80, environment(settings), "status")
    return shown if "1 dead letter " in without_colours(shown.lines[0]) else None
