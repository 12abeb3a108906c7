"""Orders on a real Kafka: written once each, told from those of others, and waited for until they are taken."""

from __future__ import annotations

import random
from typing import Any, Final

import pytest

from contracts.events import Record
from contracts.orders import Trail, headers_of_order, recompute_order, replay_order
from tests.installation import PARTITIONS, Live
from tests.processes import running
from tests.servers.waiting import wait_until
from tests.traffic import Sender, run, sender
from worker.errors import KafkaUnreachable, RecordTooLarge, Unfit
from worker.operators.orders import OrderWriter, Waiting, new_trail, wait_until_taken, whoami
from worker.settings import Settings
from worker.topics import KAFKA_MAX_MESSAGE_BYTES

EMPTY: Final[Any] = ("empty", None)
"""A header without a value, which Kafka takes."""


def ignore(waiting: Waiting) -> None:
    """For who does not want to hear it."""


def test_an_order_is_taken_and_what_came_of_it_is_there(shared: Live, tenant: str) -> None:
    shared.send.events(run(tenant, "rr-1", 1))
    before = shared.wait_for_state(tenant, "rr-1", "completed_proof_incomplete")
    source = _source(shared, tenant)
    stale, ignored = _ended(shared, "stale"), _ended(shared, "ignored")
    with OrderWriter(shared.settings, new_trail("test")) as orders:
        orders.send(replay_order(source))
        orders.send(recompute_order(source.partition, tenant, "rr-1"))
        orders.flush()
    assert orders.written == {source.partition: 2}
    wait_until_taken(shared.settings, orders.ends, ignore)
    assert _ended(shared, "stale") > stale
    assert _ended(shared, "ignored") > ignored
    assert shared.document(tenant, "rr-1") == before


def test_all_orders_of_an_invocation_have_its_request(shared: Live, tenant: str) -> None:
    trail = new_trail("why", "ada@pc")
    partition = shared.send.partition(tenant)
    with OrderWriter(shared.settings, trail) as orders:
        for number in range(500):
            orders.send(recompute_order(partition, tenant, f"rr-{number}"))
        orders.flush()
    found = [headers_of_order(record) for record in shared.read(shared.send.topics.ops)]
    ours = [headers for headers in found if headers["request"].decode() == trail.request]
    assert len(ours) == 500 == orders.written[partition]
    assert {headers["actor"] for headers in ours} == {b"ada@pc"}


def test_a_record_without_key_and_value_and_headers_without_value_can_be_replayed(shared: Live, tenant: str) -> None:
    """They can only be dead letters, and those can be redriven."""
    shared.send.events(run(tenant, "rr-1", 1))
    bare = _source(shared, tenant)._replace(key=None, value=None, headers=(EMPTY,))
    trail = new_trail()
    with OrderWriter(shared.settings, trail) as orders:
        orders.send(replay_order(bare))
        orders.flush()
    record = _orders(shared, trail)[0]
    assert (record.key, record.value, record.headers[0]) == (None, None, EMPTY)


def test_an_order_that_the_topic_does_not_take_is_refused_and_the_others_are_written(shared: Live, tenant: str) -> None:
    shared.send.events(run(tenant, "rr-1", 1))
    source = _source(shared, tenant)
    trail = new_trail()
    with OrderWriter(shared.settings, trail) as orders:
        orders.send(replay_order(source))
        with pytest.raises(RecordTooLarge, match=f"{shared.send.topics.ops} does not take a record of"):
            orders.send(replay_order(source._replace(value=b"x" * 2 * KAFKA_MAX_MESSAGE_BYTES)))
        orders.send(replay_order(source))
        orders.flush()
    assert len(_orders(shared, trail)) == 2


def test_the_largest_order_that_is_sent_is_one_that_kafka_takes(shared: Live, tenant: str) -> None:
    """Its size is computed beforehand, as a refusal by Kafka would take its neighbours along."""
    shared.send.events(run(tenant, "rr-1", 1))
    source = _source(shared, tenant)._replace(headers=(EMPTY, ("name", b"value")))
    trail = new_trail()
    with OrderWriter(shared.settings, trail) as orders:
        empty = replay_order(source._replace(value=b""))
        room = orders._max_bytes - orders._size(empty, (*empty.headers, *trail.headers))
        orders.send(replay_order(source._replace(value=random.Random(1).randbytes(room))))
        orders.flush()
    assert len(_orders(shared, trail)) == 1


def test_it_is_told_what_is_waited_for_until_a_worker_comes(settings: Settings) -> None:
    with sender(settings, PARTITIONS) as send:
        partition = _send_run(send)
    with OrderWriter(settings, new_trail()) as orders:
        orders.send(recompute_order(partition, "t-1", "rr-1"))
        orders.flush()
    told: list[Waiting] = []

    def tell(waiting: Waiting) -> None:
        told.append(waiting)
        if len(told) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        wait_until_taken(settings, orders.ends, tell)
    assert told[0] == Waiting(1, (partition,), 0)
    assert "no worker is running" in told[0].reason
    with running(settings):
        wait_until_taken(settings, orders.ends, told.append)
    assert wait_until(lambda: told[-1].orders, 1, "it was told") == 1


def test_a_kafka_that_is_away_while_workers_are_waited_for_is_outlasted_and_in_the_end_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    monkeypatch.setattr("worker.operators.orders.OUTLAST_S", 0.0)
    with pytest.raises(KafkaUnreachable) as error:
        wait_until_taken(settings.model_copy(update={"kafka": away}), {0: 3}, ignore)
    assert "all orders are written" in error.value.__notes__[0]
    monkeypatch.undo()
    told: list[Waiting] = []

    def tell(waiting: Waiting) -> None:
        told.append(waiting)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        wait_until_taken(settings.model_copy(update={"kafka": away}), {0: 3}, tell)
    assert (told[0].orders, told[0].partitions) == (3, (0,))
    assert "until Kafka is back" in told[0].reason


def test_where_there_is_no_topic_for_orders_nothing_is_begun(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"topics": settings.topics.model_copy(update={"prefix": "nowhere"})})
    with pytest.raises(Unfit, match="topics create"):
        OrderWriter(elsewhere, new_trail())


def test_a_kafka_that_is_away_is_said_to_be(settings: Settings) -> None:
    away = settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(KafkaUnreachable):
        OrderWriter(settings.model_copy(update={"kafka": away}), new_trail())


def test_who_asks_is_the_user_at_this_machine_unless_told() -> None:
    assert "@" in whoami()
    assert new_trail(actor="ada").actor == "ada"
    assert new_trail().request != new_trail().request


def _send_run(send: Sender) -> int:
    ((_, partition, _),) = send.events(run("t-1", "rr-1", 1))
    return partition


def _ended(live: Live, outcome: str) -> int:
    return live.worker.count("records_total", topic_role="ops", outcome=outcome)


def _source(live: Live, tenant: str) -> Record:
    topic = live.send.topics.restore_runs
    return next(record for record in live.read(topic) if record.key == tenant.encode())


def _orders(live: Live, trail: Trail) -> list[Record]:
    request = trail.request.encode()
    records = live.read(live.send.topics.ops)
    return [record for record in records if headers_of_order(record).get("request") == request]
