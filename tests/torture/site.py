"""Servers, workers, traffic and readers, each of which can be treated badly on its own.

Workers reach Kafka and Redis through proxies. The traffic, the readers and the checker do not: what happens to the
workers' connections does not happen to theirs.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, Self

import psutil
from pydantic import SecretStr
from redis import Redis

from tests.consistency import Summary, Watched, check, wait_for_rest, watching
from tests.processes import WorkerProcess
from tests.servers.clients import redis_client
from tests.servers.hanging import pause, resume
from tests.servers.local_cluster import LocalRedisCluster
from tests.servers.local_kafka import TEST_SETTINGS, LocalKafkaNode
from tests.servers.local_redis import LocalRedis
from tests.servers.waiting import wait_until
from tests.stories import Traffic
from tests.torture.outputs import Outputs
from tests.torture.proxy import KafkaMessages, Point, Proxy, RedisMessages
from tests.traffic import Sender, run, sender
from worker.servers.embedded import redis_options
from worker.servers.local_kafka import format_storage, wait_until_serving
from worker.servers.local_redis import redis_binary
from worker.servers.processes import LOOPBACK, ChildProcess, free_port, wait_until_listening
from worker.settings import KafkaSettings, RedisSettings, Settings, TopicsSettings
from worker.topics import create_topics

PARTITIONS: Final = 4
NAME: Final = "torture"
REDIS_START_S: Final = 10.0
POINT_WITHIN_S: Final = 10.0
"""Each point of a transaction is passed many times a second."""
START_WITHIN_S: Final = 60.0
STORED_AT_ONCE: Final = 5_000
STORED_TENANTS: Final = 100
STORED_WITHIN_S: Final = 300.0
SETTLED_WITHIN_S: Final = 60.0
"""Invariant 9: after healing, lag is 0 within so long."""


class ProxiedNode(LocalKafkaNode):
    """A broker with a listener more, which is advertised as its proxy's address."""

    def __init__(self, number: int, voters: Mapping[int, int], directory: Path) -> None:
        super().__init__(number, voters, directory, TEST_SETTINGS)
        port = free_port()
        self.proxy = Proxy(port, KafkaMessages)
        lines = {
            "listeners": f"PLAINTEXT://{self.address},PROXIED://{LOOPBACK}:{port},"
            f"CONTROLLER://{LOOPBACK}:{voters[number]}",
            "advertised.listeners": f"PLAINTEXT://{self.address},PROXIED://{LOOPBACK}:{self.proxy.port}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }
        # Of a property that is given twice, the later one counts.
        with self.properties.open("a") as properties:
            properties.writelines(f"{name}={value}\n" for name, value in lines.items())


class RedisPair:
    """A Redis that writes down what it is told, and a replica; `proxy` leads workers to it, `direct` the others."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made = 0
        self.primary = self._server()
        self.replica = self._server()
        self.proxy = Proxy(self.primary.port, RedisMessages)
        self.direct = Proxy(self.primary.port, RedisMessages)
        self.proxies = [self.proxy]
        self.url = f"redis://{LOOPBACK}:{self.direct.port}/0"
        self.url_of_workers = f"redis://{LOOPBACK}:{self.proxy.port}/0"

    @property
    def servers(self) -> Sequence[RedisServer]:
        """Those that take writes."""
        return [self.primary]

    def _server(self) -> RedisServer:
        self._made += 1
        folder = self._directory / f"redis-{self._made}"
        folder.mkdir()
        return RedisServer(folder)

    def start(self) -> None:
        for server in (self.primary, self.replica):
            server.start()
        self._follow()

    def _follow(self) -> None:
        with self.replica.client() as client:
            client.replicaof(LOOPBACK, self.primary.port)
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", REDIS_START_S, "it replicates")

    def fail_over(self, cut_off_for_s: float) -> None:
        """To the replica, which has not heard of anything for so long; the old primary comes back as a new replica."""
        with self.replica.client() as client:
            client.replicaof(LOOPBACK, free_port())  # nobody is there: it keeps what it has
            _pause(cut_off_for_s)
            self.primary.process.kill()
            client.replicaof("NO", "ONE")
        self.primary = self.replica
        for proxy in (self.proxy, self.direct):
            proxy.target = self.primary.port
            proxy.cut()
        self.replica = self._server()
        self.replica.start()
        self._follow()

    def close(self) -> None:
        for server in (self.primary, self.replica):
            server.process.kill()
        for proxy in (self.proxy, self.direct):
            proxy.close()


class RedisMasters:
    """A Redis Cluster of three masters. Its nodes name each other, so there is no proxy before them."""

    def __init__(self, directory: Path) -> None:
        self._cluster = LocalRedisCluster(directory, appendonly=True, options={"maxmemory-policy": "noeviction"})
        self.proxies: list[Proxy] = []
        self.servers = [Master(node) for node in self._cluster.masters]
        self.url = self.url_of_workers = self._cluster.url

    def start(self) -> None:
        self._cluster.start()

    def close(self) -> None:
        self._cluster.close()


class Master:
    """One master."""

    def __init__(self, node: LocalRedis) -> None:
        self._node = node
        self.process = node.process

    def start(self) -> None:
        self._node.start()

    @contextmanager
    def client(self) -> Iterator[Redis]:
        with Redis.from_url(self._node.url, socket_timeout=5.0) as client:
            yield client


class RedisServer:
    """One process."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        options = [*redis_options(self.port, folder), "--appendonly", "yes", "--appendfsync", "everysec",
                   "--maxmemory-policy", "noeviction"]  # fmt: skip
        self.process = ChildProcess([redis_binary(), *options], folder / "log")

    def start(self) -> None:
        self.process.start()
        wait_until_listening(self.process, self.port, "Redis", REDIS_START_S)

    @contextmanager
    def client(self) -> Iterator[Redis]:
        with Redis(host=LOOPBACK, port=self.port, socket_timeout=5.0) as client:
            yield client


class Site:
    """All of it, for the time of the context. `choose` is what a seed decides by.

    `stored`: so many restores are there before anything else. A reader looks at all documents all the time, which Redis
    would be busy with if they were many: then there is none.
    """

    def __init__(
        self,
        directory: Path,
        choose: random.Random,
        brokers: int,
        workers: int,
        stored: int = 0,
        *,
        cluster: bool = False,
    ) -> None:
        self.choose = choose
        self.directory = directory
        self._stack = ExitStack()
        voters = {number: free_port() for number in range(1, brokers + 1)}
        self.nodes = [ProxiedNode(number, voters, directory) for number in voters]
        self.redis: RedisPair | RedisMasters = RedisMasters(directory) if cluster else RedisPair(directory)
        self.settings = self._settings(",".join(node.address for node in self.nodes), self.redis.url)
        proxies = ",".join(f"{LOOPBACK}:{node.proxy.port}" for node in self.nodes)
        self._of_workers = self._settings(proxies, self.redis.url_of_workers)
        self.workers: list[WorkerProcess] = []
        self._wanted = workers
        self._turns = 0
        self._stored = stored
        self.records_lost = 0
        self.traffic: Traffic
        self.send: Sender
        self.outputs: Outputs
        self.watched: Watched | None = None

    @staticmethod
    def _settings(bootstrap_servers: str, redis_url: str) -> Settings:
        return Settings(
            kafka=KafkaSettings(bootstrap_servers=bootstrap_servers, group_id=NAME),
            topics=TopicsSettings(prefix=NAME),
            redis=RedisSettings(url=SecretStr(redis_url), namespace=NAME),
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.callback(node.proxy.close)
                stack.callback(node.close)
            stack.callback(self.redis.close)
            format_storage(self.nodes)
            for node in self.nodes:
                node.launch()
            wait_until_serving(self.nodes)
            self.redis.start()
            create_topics(self.settings, PARTITIONS, replication_factor=len(self.nodes))
            for number in range(1, self._wanted + 1):
                self.workers.append(self._worker(stack, number))
            for worker in self.workers:
                worker.start()
            wait_until(
                lambda: all(worker.owns() for worker in self.workers), START_WITHIN_S, "each worker has partitions"
            )
            self.send = stack.enter_context(sender(self.settings, PARTITIONS))
            if self._stored:
                self._store()
            else:
                self.watched = stack.enter_context(watching(self.settings, PARTITIONS))
            self.outputs = stack.enter_context(Outputs(self.settings, PARTITIONS))
            self.traffic = stack.enter_context(Traffic(self.send, seed=self.choose.randrange(2**32)))
            self.traffic.wait_for(200)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _store(self) -> None:
        """Have so many restores decided and stored."""
        for begin in range(0, self._stored, STORED_AT_ONCE):
            numbers = range(begin, min(begin + STORED_AT_ONCE, self._stored))
            self.send.events(*(run(f"stored-{n % STORED_TENANTS}", f"rr-{n}", 1) for n in numbers))
        wait_for_rest(self.settings, STORED_WITHIN_S)

    def _worker(self, stack: ExitStack, number: int) -> WorkerProcess:
        name = f"worker-{number}"
        worker = WorkerProcess(self._of_workers, self.directory / f"{name}.log", RESTORE_PROJECTOR_KAFKA__INSTANCE=name)
        stack.callback(worker.kill)
        return worker

    # What faults need

    def wait(self, seconds: float) -> None:
        """Let it go on for so long."""
        _pause(seconds)

    @property
    def some_worker(self) -> WorkerProcess:
        return self.choose.choice(self.workers)

    @property
    def some_node(self) -> ProxiedNode:
        return self.choose.choice(self.nodes)

    @property
    def some_redis(self) -> RedisServer | Master:
        """One that takes writes."""
        servers: Sequence[RedisServer | Master] = self.redis.servers
        return self.choose.choice(servers)

    @contextmanager
    def all_of_redis(self) -> Iterator[Redis]:
        """A client of the whole."""
        with redis_client(self.redis.url) as client:
            yield client

    @property
    def kafka_proxies(self) -> list[Proxy]:
        return [node.proxy for node in self.nodes]

    def at(self, point: Point, act: Callable[[int], None] | None) -> bool:
        """Strike once at a point, wherever it is passed first; whether it was passed."""
        proxies = self.redis.proxies if point[0].endswith(".lua") else self.kafka_proxies
        if not proxies:
            return False
        strikes = [(proxy, proxy.strike(point, act)) for proxy in proxies]

        def happened() -> bool:
            return any(strike.happened.is_set() for _, strike in strikes)

        with suppress(AssertionError):
            wait_until(happened, POINT_WITHIN_S, "the point is passed")
        for proxy, strike in strikes:
            proxy.forget(strike)
        return happened()

    def next_of(self, points: list[Point]) -> Point:
        """These one after the other, again and again."""
        self._turns += 1
        return points[(self._turns - 1) % len(points)]

    def owner_of(self, port: int) -> WorkerProcess | None:
        """The worker whose connection comes from this port."""
        for worker in self.workers:
            with suppress(psutil.Error, AssertionError):
                if any(c.laddr.port == port for c in psutil.Process(worker.pid).net_connections("tcp")):
                    return worker
        return None

    def revive(self) -> None:
        """Start every worker that is not there."""
        for worker in self.workers:
            if not worker.alive:
                worker.start()

    def check(self) -> Summary:
        """End the traffic and check every invariant."""
        self.traffic.end()
        if self.records_lost:
            self._restore()
        return check(self.settings, self.watched, SETTLED_WITHIN_S)

    def _restore(self) -> None:
        """What an operator does who knows that keys were deleted."""
        wait_for_rest(self.settings, SETTLED_WITHIN_S)
        with self.all_of_redis() as client:
            for number in range(PARTITIONS):
                client.delete(f"{NAME}:{{{number}}}:position")


def _pause(seconds: float) -> None:
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, seconds + 1, "the time comes")


def ended_in_order(worker: WorkerProcess, timeout_s: float) -> float:
    """Tell a worker to end; returns after how many seconds it had."""
    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    code = worker.wait(timeout_s)
    assert code == 0, f"{worker.log.stem} ended with {code}\n{worker.last_words()}"
    return time.monotonic() - began


@contextmanager
def stopped(process: ChildProcess | WorkerProcess) -> Iterator[None]:
    """It hangs for the time of the context."""
    if isinstance(process, WorkerProcess):
        process.signal(signal.SIGSTOP)
    else:
        pause(process)
    try:
        yield
    finally:
        if isinstance(process, WorkerProcess):
            with suppress(ProcessLookupError):
                process.signal(signal.SIGCONT)
        else:
            resume(process)
