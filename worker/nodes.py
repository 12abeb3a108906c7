"""Which Redis has a partition's keys: the one that the URL names or, in a Redis Cluster, the master of their slot.

All keys of a partition are in one slot, and every call is about one partition. So whoever knows the slot's master needs
no cluster client: it asks that master as a Redis of its own, for the same price. Whether there is a cluster, the
server that the URL names says by itself, and in one it says which master has which slots.

Redirections are not followed, as nothing is retried: MOVED, ASK, TRYAGAIN and CLUSTERDOWN mean that what is known here
is no longer so, like a connection that is lost. The call fails, what is known is forgotten (`forget`), and the one way
to recover asks anew. To follow ASK would even be wrong: a slot on its way is on two nodes, and SCAN shows half of it.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, ClusterError, MovedError, TryAgainError
from redis.retry import Retry

from worker.errors import Refused

AWAY: Final = (redis.ConnectionError, redis.TimeoutError, AskError, TryAgainError, ClusterError)
"""What Redis raises when another try may find everything well: nothing was carried out, or it is not known."""
_REFUSED_IN_SCRIPT: Final = ("ACL failure in script", "The user executing the script can't")
"""So it begins when its user may not do what a script does, in 7.2 and in 7.0."""
_SCRIPT_LINE: Final = re.compile(r"@user_script:(\d+)")
_CALL: Final = re.compile(r"redis\.call\(['\"](\w+)")
LAST_SLOT: Final = 16_383
_REDIRECTIONS: Final[Mapping[type[Exception], str]] = {MovedError: "MOVED", AskError: "ASK", TryAgainError: "TRYAGAIN"}


def connect(url: str, timeout_ms: int) -> redis.Redis:
    """A client of one server that fails rather than retries; `url` as in the setting REDIS__URL."""
    return redis.Redis.from_url(url, **_options(timeout_ms))


def _options(timeout_ms: int) -> dict[str, Any]:
    return {
        "socket_timeout": timeout_ms / 1000,
        "socket_connect_timeout": timeout_ms / 1000,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
    }


def _node_options(url: str, timeout_ms: int) -> dict[str, Any]:
    """For any node of a cluster: what the URL says but for its place. Only one of them can be at a socket."""
    told: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    options = {**_options(timeout_ms), **told}
    if options.pop("path", None) is not None:
        options.pop("connection_class")
    return options


def reason(error: Exception) -> str:
    """What Redis raised, in words: a redirection's own are two numbers."""
    code = _REDIRECTIONS.get(type(error))
    return str(error) if code is None else f"a slot is or was moved to another node of the cluster ({code} {error})"


def refusal(address: str, error: redis.RedisError, script: str = "") -> Refused | None:
    """What Redis says when its user may not do something, and the command; None: it was not that.

    `script`: the text of the one that was called, of which Redis 7.0 names the line only.
    """
    said = str(error)
    if not isinstance(error, redis.exceptions.NoPermissionError) and not any(s in said for s in _REFUSED_IN_SCRIPT):
        return None
    line = _SCRIPT_LINE.search(said)
    call = _CALL.search(script.splitlines()[int(line[1]) - 1]) if line and script else None
    return Refused(f"Redis at {address} refuses us{f' {call[1].lower()!r}' if call else ''}: {error}")


@functools.cache
def slot_of(partition: int) -> int:
    """The slot of all keys of a partition: that of what is between their braces."""
    return int(key_slot(str(partition).encode()))


@dataclass(frozen=True, slots=True)
class _Shard:
    """A master and the slots that it has, from first to last, in one piece."""

    first: int
    last: int
    name: str
    client: redis.Redis


class Nodes:
    """The servers behind a URL. Nothing is asked before the first call; calls may come from several threads.

    Every method but `forget` and `close` may raise a RedisError, one of `AWAY` if another try may do better.
    """

    def __init__(self, url: str, timeout_ms: int) -> None:
        self.entry = connect(url, timeout_ms)
        """A client of the server that the URL names, whatever it has."""
        self._options = _node_options(url, timeout_ms)
        self._clients: dict[tuple[str, int], redis.Redis] = {}
        self._shards: Sequence[_Shard] | None = None
        self._learning = threading.Lock()

    def of(self, partition: int) -> redis.Redis:
        """Who has the keys of this partition."""
        slot = slot_of(partition)
        for shard in self._known():
            if shard.first <= slot <= shard.last:
                return shard.client
        self.forget()
        raise ClusterDownError(f"no node of the cluster has slot {slot}, which is that of partition {partition}")

    def grouped(self, partitions: Iterable[int]) -> Sequence[tuple[redis.Redis, list[int]]]:
        """Partitions by who has their keys."""
        groups: dict[int, tuple[redis.Redis, list[int]]] = {}
        for partition in partitions:
            client = self.of(partition)
            groups.setdefault(id(client), (client, []))[1].append(partition)
        return list(groups.values())

    def masters(self) -> Mapping[str, redis.Redis]:
        """All that have slots, by host:port; a Redis that is no cluster is alone, under the name ''."""
        return {shard.name: shard.client for shard in self._known()}

    def forget(self) -> None:
        """Ask anew next time, as something was not where it should be."""
        self._shards = None

    def _known(self) -> Sequence[_Shard]:
        shards = self._shards
        if shards is None:
            with self._learning:
                shards = self._shards
                if shards is None:
                    shards = self._shards = self._learn()
        return shards

    def _learn(self) -> Sequence[_Shard]:
        """From the server that the URL names; while that is away, from those that were heard of."""
        first_error: Exception | None = None
        for host, client in (("", self.entry), *((host, client) for (host, _), client in self._clients.items())):
            try:
                return self._ask(client, host or str(self._options.get("host", "localhost")))
            except AWAY as error:
                first_error = first_error or error
        assert first_error is not None, "at least one was asked"
        raise first_error

    def _ask(self, client: redis.Redis, host: str) -> Sequence[_Shard]:
        if not _in_cluster(client):
            return [_Shard(0, LAST_SLOT, "", client)]
        told: list[Any] = client.execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
        if not told:
            raise ClusterDownError("no node of the cluster has any slot")
        places = [(int(first), int(last), _address(master, host)) for first, last, master, *_ in told]
        self._clients = {address: self._client(*address) for _, _, address in places}
        return [
            _Shard(first, last, f"{address[0]}:{address[1]}", self._clients[address]) for first, last, address in places
        ]

    def _client(self, host: str, port: int) -> redis.Redis:
        known = self._clients.get((host, port))
        if known is not None:
            return known
        return redis.Redis(connection_pool=redis.ConnectionPool(**{**self._options, "host": host, "port": port}))

    def close(self) -> None:
        for client in (self.entry, *self._clients.values()):
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _in_cluster(client: redis.Redis) -> bool:
    """Asked by HELLO, which every client may call, as it begins with it."""
    try:
        told: Any = client.execute_command("HELLO")  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        if "unknown command" in str(error).lower():
            return False  # Something in between that does not know it, and so is no node.
        raise
    fields = told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
    return bool(fields.get(b"mode") == b"cluster")


def _address(node: Sequence[Any], asked: str) -> tuple[str, int]:
    """Host and port of a node in the answer; one without a host is reached as the one that was asked."""
    host, port = node[0], int(node[1])
    return (host.decode() if host else asked, port)
