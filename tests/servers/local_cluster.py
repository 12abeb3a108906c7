"""A Redis Cluster of processes on this machine: three masters, with a replica each if asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from tests.servers.local_redis import LocalRedis
from tests.servers.waiting import wait_until
from worker.servers.local_redis import redis_binary
from worker.servers.processes import LOOPBACK, free_port

MASTERS: Final = 3
SLOTS: Final = 16_384
NODE_TIMEOUT_MS: Final = 5_000
"""After so long without an answer a node has failed, and its replica is elected; 15 s by default. A busy machine may
well stand still for a second, so only a test of a failover sets less."""
FORM_TIMEOUT_S: Final = 20.0
"""It takes 2 to 3 s: a master that has just begun does not take writes for 2 s."""


class LocalRedisCluster:
    """Three masters that have the slots by thirds, and as many replicas each as asked for; a `RedisServer` as a whole.

    Nothing survives the restart of a node unless `appendonly`. Raises ServerUnavailable.
    """

    def __init__(
        self,
        directory: Path,
        *,
        replicas: int = 0,
        appendonly: bool = False,
        options: Mapping[str, str] | None = None,
        binary: str | None = None,
    ) -> None:
        server = binary or redis_binary()
        self._formed = False
        self._buses: dict[int, int] = {}
        self.nodes = [
            self._node(directory, server, options or {}, appendonly=appendonly) for _ in range(MASTERS * (1 + replicas))
        ]
        self.name = f"a cluster of {MASTERS} masters, {self.nodes[0].name}"

    def _node(self, directory: Path, server: str, options: Mapping[str, str], *, appendonly: bool) -> LocalRedis:
        bus = free_port()
        settings = {
            "cluster-enabled": "yes",
            "cluster-port": str(bus),
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
            **options,
        }
        node = LocalRedis(directory, appendonly=appendonly, options=settings, binary=server)
        self._buses[node.port] = bus
        return node

    @property
    def url(self) -> str:
        """Of one node, which is all that a client is told."""
        return self.nodes[0].url

    @property
    def masters(self) -> Sequence[LocalRedis]:
        """Those that began as masters, the one that `url` names first."""
        return self.nodes[:MASTERS]

    def start(self) -> None:
        """Start the nodes, make them one cluster unless they are, wait until it takes writes."""
        for node in self.nodes:
            node.start()
        if not self._formed:
            self._form()
            self._formed = True
        self.wait_until_whole()

    def _form(self) -> None:
        for at, node in enumerate(self.masters):
            first, last = SLOTS * at // MASTERS, SLOTS * (at + 1) // MASTERS - 1
            self.ask(node, "CLUSTER", "ADDSLOTSRANGE", first, last)
            self.ask(node, "CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        for node in self.nodes[1:]:
            self.ask(node, "CLUSTER", "MEET", LOOPBACK, self.nodes[0].port, self._buses[self.nodes[0].port])
        wait_until(lambda: all(map(self._knows_all, self.nodes)), FORM_TIMEOUT_S, "all nodes know each other")
        for at, replica in enumerate(self.nodes[MASTERS:]):
            self.ask(replica, "CLUSTER", "REPLICATE", self.id(self.masters[at % MASTERS]))

    def wait_until_whole(self) -> None:
        """Until every node that runs finds all slots served, and every replica follows."""
        running = [node for node in self.nodes if node.process.alive]
        wait_until(lambda: all(map(self._is_whole, running)), FORM_TIMEOUT_S, "the cluster is whole")

    def _knows_all(self, node: LocalRedis) -> bool:
        return int(self._state(node)["cluster_known_nodes"]) == len(self.nodes)

    def _is_whole(self, node: LocalRedis) -> bool:
        try:
            role: Any = self.ask(node, "ROLE")
            follows = role[0] == b"master" or role[3] == b"connected"
            return follows and self._state(node)["cluster_state"] == "ok"
        except RedisError:
            return False  # as one that has just begun

    def _state(self, node: LocalRedis) -> dict[str, str]:
        told: Any = self.ask(node, "CLUSTER", "INFO")
        text = told.decode() if isinstance(told, bytes) else str(told)
        return dict(line.split(":", 1) for line in text.splitlines())

    def id(self, node: LocalRedis) -> str:
        """What the cluster calls this node."""
        told: Any = self.ask(node, "CLUSTER", "MYID")
        return told.decode() if isinstance(told, bytes) else str(told)

    def ask(self, node: LocalRedis, *command: str | int) -> object:
        """What this node answers, without any cluster client."""
        with Redis.from_url(node.url, retry=None, socket_timeout=5.0) as client:
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def master_of(self, slot: int) -> LocalRedis:
        """Who has a slot by now."""
        told: Any = self.ask(next(node for node in self.nodes if node.process.alive), "CLUSTER", "SLOTS")
        (port,) = (int(master[1]) for first, last, master, *_ in told if first <= slot <= last)
        return next(node for node in self.nodes if node.port == port)

    @contextmanager
    def moving(self, slot: int) -> Iterator[Move]:
        """A slot on its way from its master to another, as `redis-cli --cluster reshard` does it; then back."""
        source = self.master_of(slot)
        target = next(node for node in self.masters if node is not source)
        move = Move(self, slot, source, target)
        try:
            yield move
        finally:
            move.rest()
            Move(self, slot, target, source).rest()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        for node in self.nodes:
            node.resume()

    def close(self) -> None:
        for node in self.nodes:
            node.close()


class Move:
    """A slot that is on its way. `keys`: what it held when that began."""

    def __init__(self, cluster: LocalRedisCluster, slot: int, source: LocalRedis, target: LocalRedis) -> None:
        self._cluster, self._slot, self._source, self._target = cluster, slot, source, target
        cluster.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.id(source))
        cluster.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.id(target))
        self._arrived = False
        self.keys = self._left()

    def _left(self) -> Sequence[str]:
        keys: Any = self._cluster.ask(self._source, "CLUSTER", "GETKEYSINSLOT", self._slot, 100_000)
        return [key.decode() for key in keys]

    def some(self, keys: Sequence[str]) -> None:
        """These keys have arrived."""
        if keys:
            self._cluster.ask(self._source, "MIGRATE", LOOPBACK, self._target.port, "", 0, 5_000, "KEYS", *keys)

    def rest(self) -> None:
        """All has arrived, and every master knows it."""
        if self._arrived:
            return
        self._arrived = True
        self.some(self._left())
        for node in (self._target, *(node for node in self._cluster.masters if node is not self._target)):
            self._cluster.ask(node, "CLUSTER", "SETSLOT", self._slot, "NODE", self._cluster.id(self._target))
