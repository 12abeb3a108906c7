"""What is done to the site, one after the other, by seed.

Each returns when it is healed; what then still has to recover recovers beside what comes next.

A row says how often it is drawn and where it is possible. `promised_s`: the longest time without output that README
promises for it; None where nothing is.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

from tests.servers.clients import REDIS_ERRORS
from tests.torture.proxy import TRANSACTION_APIS, Point
from tests.torture.site import NAME, PARTITIONS, RedisPair, Site, ended_in_order, stopped

SESSION_S: Final = 10.0
"""The default of RESTORE_PROJECTOR_KAFKA__SESSION_TIMEOUT_MS."""
KILL_POINTS: Final[tuple[Point, ...]] = (
    *((api, when) for api in TRANSACTION_APIS.values() for when in ("request", "response", "delivered")),
    ("read.lua", "delivered"), ("apply.lua", "request"), ("apply.lua", "response"), ("apply.lua", "delivered"),
)  # fmt: skip
"""Where a worker is killed: before a step, while it is carried out, and when it has been told."""
RESTORE_POINTS: Final[tuple[Point, ...]] = (
    ("wipe.lua", "request"), ("wipe.lua", "response"), ("sweep.lua", "delivered"), ("apply.lua", "response"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """A row. `least_brokers`: where the others go on meanwhile. `in_a_cluster`: also where Redis is one."""

    name: str
    weight: int
    act: Callable[[Site], None]
    promised_s: float | None = None
    least_brokers: int = 1
    in_a_cluster: bool = True


def _kill_and_restart(site: Site) -> None:
    worker = site.some_worker
    worker.kill()
    worker.start()


def _kill_for_good(site: Site) -> None:
    """The others take over, if there are any; it comes back much later."""
    worker = site.some_worker
    worker.kill()
    site.wait(SESSION_S + 8)
    worker.start()


def _kill_at_a_point(site: Site) -> None:
    _kill_at(site, site.choose.choice(KILL_POINTS))


def _kill_while_restoring(site: Site) -> None:
    """The store is emptied, and whoever restores it is killed on the way."""
    point = site.choose.choice(RESTORE_POINTS)
    with site.some_redis.client() as client:
        client.flushall()
    _kill_at(site, point)


def _kill_at(site: Site, point: Point) -> None:
    def kill(port: int) -> None:
        worker = site.owner_of(port)
        if worker is not None:
            os.kill(worker.pid, signal.SIGKILL)

    site.at(point, kill)
    site.wait(0.1)
    site.revive()


def _hang(site: Site) -> None:
    """Longer than its session, so that others have its partitions when it wakes up."""
    with stopped(site.some_worker):
        site.wait(SESSION_S + site.choose.uniform(1, 6))


def _hang_shortly(site: Site) -> None:
    with stopped(site.some_worker):
        site.wait(site.choose.uniform(0.5, 4))


def _stop_and_start(site: Site) -> None:
    worker = site.some_worker
    ended_in_order(worker, 10)
    worker.start()


def _stop_for_a_while(site: Site) -> None:
    """The group shrinks and grows."""
    worker = site.some_worker
    ended_in_order(worker, 10)
    site.wait(site.choose.uniform(3, 8))
    worker.start()


def _broker_killed(site: Site) -> None:
    node = site.some_node
    node.kill()
    site.wait(site.choose.uniform(0, 3))
    node.start()


def _broker_hangs(site: Site) -> None:
    with stopped(site.some_node.process):
        site.wait(20)


def _rolling_restart(site: Site) -> None:
    for node in site.nodes:
        node.stop()
        node.start()
        site.wait(3)


def _redis_killed(site: Site) -> None:
    """It comes back with what it had written down: up to a second is missing."""
    server = site.some_redis
    server.process.kill()
    site.wait(site.choose.uniform(0, 2))
    server.start()


def _redis_emptied(site: Site) -> None:
    with site.some_redis.client() as client:
        client.flushall()


def _fail_over(site: Site) -> None:
    assert isinstance(site.redis, RedisPair), "a cluster fails over by itself, and the choice of faults knows it"
    site.redis.fail_over(cut_off_for_s=site.choose.uniform(0.5, 3))


def _redis_full(site: Site) -> None:
    with site.some_redis.client() as client:
        client.config_set("maxmemory", "1")
        site.wait(site.choose.uniform(1, 4))
        client.config_set("maxmemory", "0")


def _position_lost(site: Site) -> None:
    with site.all_of_redis() as client:
        client.delete(f"{NAME}:{{{site.choose.randrange(PARTITIONS)}}}:position")


def _record_lost(site: Site) -> None:
    """A record is deleted by hand. It is missed when it is asked for; in the end a person has everything restored."""
    with suppress(*REDIS_ERRORS), site.all_of_redis() as client:
        names = [name for name in client.scan_iter(match=f"{NAME}:*/*", count=1000) if b":unfinished:" not in name]
        if names:
            client.delete(site.choose.choice(sorted(names)))
            site.records_lost += 1


def _connections_cut(site: Site) -> None:
    for proxy in [*site.kafka_proxies, *site.redis.proxies]:
        proxy.cut()


def _held_up(site: Site) -> None:
    """Nothing passes between workers and one of the servers, and no connection ends."""
    proxies = site.choose.choice([site.kafka_proxies, site.redis.proxies])
    with ExitStack() as stack:
        for proxy in proxies:
            stack.enter_context(proxy.held_up())
        site.wait(2)


def _slowed(site: Site) -> None:
    with ExitStack() as stack:
        for proxy in [*site.kafka_proxies, *site.redis.proxies]:
            stack.enter_context(proxy.slowed(0.05))
        site.wait(5)


_PROTOCOL: Final[list[Point]] = [
    (api, when) for api in TRANSACTION_APIS.values() for when in ("request", "response")
]  # fmt: skip


def _protocol_dropped(site: Site) -> None:
    """The connection is dropped at the next request or answer of the transaction protocol, in turn."""
    point = site.next_of(_PROTOCOL)
    if point[0] == "InitProducerId":
        worker = site.some_worker
        worker.kill()
        worker.start()
    site.at(point, None)


def _transaction_left_open(site: Site) -> None:
    """A source's transaction, aborted at last; what is behind it waits that long."""
    from kafka import KafkaProducer

    producer = KafkaProducer(**site.settings.kafka.client_options(), transactional_id=f"source-{secrets.token_hex(4)}",
                             metrics_enabled=False)  # fmt: skip
    try:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(site.settings.topic_names.restore_runs, b"never committed", b"t-1", partition=0).get(10)
        site.wait(site.choose.uniform(1, 4))
        producer.abort_transaction()
    finally:
        producer.close(timeout=2)


FAULTS: Final = (
    Fault("worker killed, back at once", 12, _kill_and_restart, promised_s=5),
    Fault("worker killed for good", 4, _kill_for_good, promised_s=SESSION_S + 12),
    Fault("worker killed at a named point", 16, _kill_at_a_point),
    Fault("worker killed while it restores", 6, _kill_while_restoring, in_a_cluster=False),
    Fault("worker hangs past its session", 5, _hang),
    Fault("worker hangs shortly", 5, _hang_shortly),
    Fault("worker stopped in order and started", 6, _stop_and_start),
    Fault("worker stopped in order for a while", 4, _stop_for_a_while, promised_s=2),
    Fault("broker killed and restarted", 4, _broker_killed),
    Fault("broker hangs for 20 s", 2, _broker_hangs),
    Fault("rolling restart of the brokers", 2, _rolling_restart, least_brokers=3),
    Fault("Redis killed and restarted", 6, _redis_killed),
    Fault("Redis emptied", 6, _redis_emptied, promised_s=20),
    Fault("Redis failed over to a replica that was cut off", 5, _fail_over, in_a_cluster=False),
    Fault("Redis full", 5, _redis_full),
    Fault("a position deleted", 4, _position_lost),
    Fault("a record deleted", 4, _record_lost),
    Fault("all connections cut", 6, _connections_cut),
    Fault("a server does not answer for 2 s", 5, _held_up),
    Fault("everything takes 50 ms", 3, _slowed),
    Fault("a message of the transaction protocol lost", 12, _protocol_dropped),
    Fault("a source leaves a transaction open", 4, _transaction_left_open),
)
