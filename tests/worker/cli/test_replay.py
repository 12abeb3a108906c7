"""`replay`: what was lost is made good, what is known changes nothing, an interrupted one goes on without doubling."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.structs import OffsetAndMetadata

from contracts.events import Record
from contracts.orders import headers_of_order
from tests.consistency import check
from tests.consistency.observation import consumer, read_log, read_store
from tests.installation import PARTITIONS, Live, live_worker
from tests.processes import environment, running
from tests.servers.waiting import wait_until
from tests.stories import Traffic
from tests.traffic import Message, Place, Sender, encode, operation, run, sender, snapshot
from tests.worker.cli.conftest import Command, Result
from worker.settings import Settings

Replays = Callable[..., Result]
WAIT_S = 30.0


@pytest.fixture
def replay(command: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Replays:
    """The command on the test's own installation."""
    return _replay_on(settings, command, monkeypatch)


@pytest.fixture
def replay_shared(command: Command, shared: Live, monkeypatch: pytest.MonkeyPatch) -> Replays:
    """The command on the installation that the module's tests share."""
    return _replay_on(shared.settings, command, monkeypatch)


def _replay_on(settings: Settings, command: Command, monkeypatch: pytest.MonkeyPatch) -> Replays:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> Result:
        return command("replay", "--since", "1h", "--yes", *arguments)

    return call


def told(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.code == code, (result.out, result.err)
    found: dict[str, Any] = json.loads(result.out)
    return found


# What was lost


def test_a_record_that_was_lost_is_made_good_and_only_that(
    replay: Replays, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody sets the group's offset behind a record that nobody has read; it came twice.

    The rehearsal decides one record at a time here, so that what one has changed must be kept for the next.
    """
    monkeypatch.setattr("worker.operators.rehearsal.SLICE", 1)
    with sender(settings, PARTITIONS) as send:
        lost = _lose_evidence(settings, send, "t-1")
        with live_worker(settings) as live:
            assert _state(live) == "completed_proof_incomplete"
            rehearsed = told(replay("--dry-run", "--json"))
            assert rehearsed["outcomes"] == {"stale": 4, "applied": 1}
            assert (rehearsed["runs"], rehearsed["decisions"]) == (1, 1)
            assert _state(live) == "completed_proof_incomplete"

            other = told(replay("--tenant", "t-1", "--run", "rr-2", "--json"))
            assert (other["records"], other["replayed"], other["documents_changed"]) == (5, 1, 0)

            summary = told(replay("--tenant", "t-1", "--run", "rr-1", "--json"))

            assert (summary["records"], summary["replayed"]) == (5, 4), "all that bears on it"
            assert summary["changes_of_state"] == rehearsed["changes_of_state"]
            assert summary["changes_of_state"] == [
                {"from": "completed_proof_incomplete", "to": "completed_with_evidence", "count": 1}
            ]
            assert summary["documents_changed"] == 1
            document = live.wait_for_state("t-1", "rr-1", "completed_with_evidence")
            (evidence,) = document["diagnostics"]["inputs"]["evidence_snapshots"]
            assert (evidence["source"]["topic"], evidence["source"]["offset"]) == (lost[0], lost[2])
            origins = [dict(change.headers)["ce_origin"] for change in live.changes("t-1", "rr-1")]
            assert origins == [b"live", b"replay"]


def _lose_evidence(settings: Settings, send: Sender, tenant: str) -> Place:
    """rr-1 is completed by op-1, and its evidence, twice, is never read. Returns where that lies."""
    send.steps(operation(tenant, "op-1", 1), run(tenant, "rr-1", 1, "completed", "op-1"), run(tenant, "rr-2", 1))
    with live_worker(settings) as live:
        live.wait_for(tenant, "rr-2", lambda document: document["revision"] == 1)
    lost = send.events(snapshot(tenant, "es-1", 1, "op-1"), snapshot(tenant, "es-1", 1, "op-1"))
    topic, number, offset = lost[-1]
    with consumer(settings) as member:
        member.commit({TopicPartition(topic, number): OffsetAndMetadata(offset + 1, "", -1)})
    return lost[0]


def _state(live: Live) -> str:
    document = live.document("t-1", "rr-1")
    assert document is not None
    return str(document["state"])


# What is known


def test_a_replay_of_everything_changes_nothing_beside_two_workers_and_traffic(
    replay: Replays, settings: Settings
) -> None:
    with sender(settings, PARTITIONS) as send, running(settings), running(settings):
        with Traffic(send, seed=random.randrange(2**32)) as traffic:
            traffic.wait_for(300)
            found = replay("--json")
            assert found.code in {0, 1}, "the traffic feeds what cannot be read again as well, and that is counted in"
            summary = told(found, code=found.code)
            rehearsed = told(replay("--dry-run", "--json"))
            traffic.end()
        check(settings)
        stored = _documents(settings)
        again = told(replay("--json"))
        assert _documents(settings) == stored
        check(settings)
    assert summary["replayed"] > 200
    assert summary["changes_of_state"] == again["changes_of_state"] == []
    assert again["documents_changed"] == 0
    assert again["dead_letters_already"] > 0, "letters were not doubled"
    assert set(rehearsed["outcomes"]) <= {"stale", "ignored", "applied"}


def _documents(settings: Settings) -> dict[str, Any]:
    return {key: value for key, value in read_store(settings).items() if ":run:" in key}


# Dead letters


def test_what_is_a_dead_letter_and_cannot_be_read_yet_is_left_out(
    replay_shared: Replays, shared: Live, tenant: str
) -> None:
    shared.send.events(run(tenant, "rr-1", 1), run(tenant, "rr-2", 1, "no such status"))
    wait_until(lambda: _letters(shared, tenant), WAIT_S, "it is set aside")
    summary = told(replay_shared("--tenant", tenant, "--json"))
    assert (summary["replayed"], summary["dead_letters_already"], summary["dead_letters"]) == (1, 1, {})
    assert len(_letters(shared, tenant)) == 1


def test_what_is_a_dead_letter_and_can_be_read_now_is_fed_again_as_that_letter(
    replay: Replays, settings: Settings
) -> None:
    small = settings.model_copy(update={"limits": settings.limits.model_copy(update={"value_bytes": 1_500})})
    with sender(settings, PARTITIONS) as send:
        with running(small):
            send.messages([_padded(send, "t-1", 2_000)])
            check(small)
        with live_worker(settings) as live:
            (letter,) = live.read(send.topics.dead_letters)
            summary = told(replay("--json"))
            assert (summary["replayed"], summary["redriven"]) == (1, 1)
            live.wait_for_state("t-1", "rr-1", "completed_proof_incomplete")
            (order,) = live.read(send.topics.ops)
            assert headers_of_order(order)["letter"] == b"%d" % letter.offset
            assert told(replay("--json"))["documents_changed"] == 0


def test_what_becomes_a_dead_letter_again_is_counted_and_named(replay: Replays, settings: Settings) -> None:
    """A record that was lost and could not have been read either: it is accounted for now."""
    with sender(settings, PARTITIONS) as send:
        ((topic, number, offset),) = send.events(run("t-1", "rr-1", 1, "no such status"))
        with consumer(settings) as member:
            member.commit({TopicPartition(topic, number): OffsetAndMetadata(offset + 1, "", -1)})
        with live_worker(settings):
            summary = told(replay("--json"), code=1)
    assert summary["dead_letters"] == {"schema_violation": 1}
    (named,) = summary["dead_letters_named"]
    assert named["letter"] == f"{number}:0"
    assert named["detail"].startswith("$.status: expected")


def _letters(live: Live, tenant: str) -> list[Record]:
    return [record for record in live.read(live.send.topics.dead_letters) if record.key == tenant.encode()]


def _padded(send: Sender, tenant: str, size: int) -> Message:
    """A run's event of so many bytes."""
    event = run(tenant, "rr-1", 1)
    headers = [
        ("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"urn:test"), ("content-type", b"application/json"),
        ("ce_type", b"restore.restore_run.changed"), ("ce_sequence", b"1"),
    ]  # fmt: skip
    value = encode({**event.data, "note": "x" * (size - len(encode({**event.data, "note": ""})))})
    return Message(send.topics.restore_runs, tenant.encode(), value, headers)


# What cannot be fed


def test_a_record_that_the_topic_of_orders_does_not_take_is_named_and_the_others_are_fed(
    replay: Replays, settings: Settings
) -> None:
    with sender(settings, PARTITIONS) as send, running(settings):
        send.messages([_padded(send, "t-1", 1_900)])
        send.events(run("t-1", "rr-2", 1))
        check(settings)
        with _admin(settings) as admin:
            limit = {"max.message.bytes": "2000"}
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, send.topics.ops, limit)])
        summary = told(replay("--json"), code=1)
    assert (summary["replayed"], summary["too_large"]) == (1, 1)
    (named,) = summary["not_fed"]
    assert named.startswith(f"{send.topics.restore_runs} partition ")
    assert "does not take a record of" in named


def test_what_retention_has_removed_is_said_to_be_missing(replay: Replays, settings: Settings) -> None:
    with sender(settings, PARTITIONS) as send, running(settings):
        topic, number, _ = send.events(*(run("t-1", f"rr-{n}", 1) for n in range(3)))[0]
        check(settings)
        with _admin(settings) as admin:
            admin.delete_records({TopicPartition(topic, number): 2})
        result = replay("--json")
    summary = told(result, code=1)
    assert summary["replayed"] == 1
    assert summary["not_fed"] == [
        f"{topic} partition {number} begins at offset 2: what was before that was removed, and may have been then"
    ]
    assert summary["not_fed"][0] in result.err


@contextmanager
def _admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(**settings.kafka.client_options())
    try:
        yield admin
    finally:
        admin.close()


# Ctrl-C


def test_after_ctrl_c_it_goes_on_with_the_command_that_was_said_and_feeds_nothing_twice(
    command: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    with sender(settings, PARTITIONS) as send, running(settings):
        tenants = [f"t-{number}" for number in range(12)]
        send.events(*(event for t in tenants for n in range(5) for event in _restore(t, n)))
        code, err = _interrupted_replay(settings, send, orders=20)
        assert code == 130, err
        assert "Traceback" not in err
        before = len(_orders(settings, send))
        assert 20 <= before < 180
        assert f"ended after {before} orders" in err
        shown = _shown_command(err)
        assert shown[-8:-2] == ["--reason", "it was lost", "--actor", "ada", "--rate", "40.0"]
        summary = told(command(*shown, "--json"))
        check(settings)
        fed = Counter(
            (h["rp_topic"], h["rp_partition"], h["rp_offset"]) for h in map(headers_of_order, _orders(settings, send))
        )
    assert (summary["replayed_before"], summary["replayed"]) == (before, 180 - before)
    assert len(fed) == 180
    assert set(fed.values()) == {1}
    assert len({headers_of_order(order)["request"] for order in _orders(settings, send)}) == 1


def _restore(tenant: str, number: int) -> list[Any]:
    return [
        operation(tenant, f"op-{number}", 1),
        run(tenant, f"rr-{number}", 1, "completed", f"op-{number}"),
        snapshot(tenant, f"es-{number}", 1, f"op-{number}"),
    ]


def _interrupted_replay(settings: Settings, send: Sender, orders: int) -> tuple[int, str]:
    """A process of the command that is interrupted after so many orders: its exit code, and what it said."""
    program = [sys.executable, "-c", "from worker.cli import main; main()"]
    process = subprocess.Popen(
        [*program, "replay", "--since", "1h", "--yes", "--rate", "40", "--reason", "it was lost", "--actor", "ada"],
        env={**os.environ, **environment(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: len(_orders(settings, send)) >= orders, WAIT_S, "some orders are written")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
        process.wait()
    return process.returncode, err


def _orders(settings: Settings, send: Sender) -> list[Record]:
    with consumer(settings) as reader:
        return [record for records in read_log(reader, settings, [send.topics.ops]).values() for record in records]


def _shown_command(err: str) -> list[str]:
    at_first, line = [line for line in err.splitlines() if "--resume" in line]
    assert at_first == line, "it was said before the first order as well"
    words = shlex.split(line.removeprefix("restore-projector: "))
    assert words[:2] == ["restore-projector", "replay"]
    return words[1:]


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--run", "rr-1"), "expected --tenant with it"),
        (("--topic", "ops"), "expected restore-runs, operation-runs, evidence-snapshots"),
        (("--until", "2h"), "expected a time after --since"),
        (("--since", "yesterday"), "expected a duration like 90s"),
        (("--resume", "123"), "expected a request, 32 digits"),
        (("--tenant", "."), "expected an identifier"),
    ],
)
def test_wrong_use_is_told_exactly(command: Command, arguments: tuple[str, ...], complaint: str) -> None:
    result = command("replay", "--since", "1h", *arguments)
    assert result.code == 2
    assert complaint in " ".join(result.err.replace("│", " ").split())
