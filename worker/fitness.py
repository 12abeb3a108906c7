"""Whether the servers are set up so that the promises can be kept: what to look at, and what to say.

A finding is an error when a promise would be broken: the worker then does not start. A warning names what would
weaken one, or what the server does not tell. Topics are looked at in `worker.topics`, Redis here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import redis

from worker.errors import RedisUnreachable
from worker.nodes import Nodes, reason
from worker.nodes import connect as client_for
from worker.settings import RedisSettings

Severity = Literal["error", "warning"]

MIN_REDIS: Final = (7, 0)
"""The scripts use commands up to 7.0; Valkey names the version of Redis that it is compatible with."""

NO_DATABASE: Final = ("DB index is out of range", "SELECT is not allowed in cluster mode")
"""What Redis says when the URL names a database that it does not have; in a cluster Valkey 9 may have some."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    `subject`: a topic's name, or Redis. `got` is `not told` where the server does not say. `why`: what it is bad for.
    """

    severity: Severity
    subject: str
    setting: str
    expected: str
    got: str
    why: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.setting}: expected {self.expected}, got {self.got}. {self.why}"


def check_redis(settings: RedisSettings) -> list[Finding]:
    """What does not hold of the store. Raises RedisUnreachable."""
    try:
        with nodes_of(settings) as nodes:
            masters = _masters(nodes)
            if isinstance(masters, Finding):
                return [masters]
            told = {name: _info(client) for name, client in masters.items()}
    except redis.exceptions.NoPermissionError as error:
        return [Finding("warning", "Redis", "INFO", "the right to call it", str(error), "Nothing can be checked.")]
    except redis.exceptions.RedisError as error:
        raise RedisUnreachable(settings.address, reason(error)) from error
    return [found for name, info in told.items() for found in judge_redis(info, f"Redis {name}".rstrip())]


def connect(settings: RedisSettings) -> redis.Redis:
    """A client of the server that the URL names, for a few questions: no retries, so that a person need not wait."""
    return client_for(settings.url.get_secret_value(), settings.timeout_ms)


def nodes_of(settings: RedisSettings) -> Nodes:
    """The store's servers, one Redis or the masters of a cluster: for whoever works with its keys."""
    return Nodes(settings.url.get_secret_value(), settings.timeout_ms)


def _masters(nodes: Nodes) -> Mapping[str, redis.Redis] | Finding:
    """Who has the keys, or what keeps us from learning it. Raises RedisError."""
    try:
        return nodes.masters()
    except redis.exceptions.NoPermissionError as error:
        why = "Nothing else says which node of a cluster has a partition."
        return Finding("error", "Redis", "CLUSTER SLOTS", "the right to call it", str(error), why)
    except redis.exceptions.ResponseError as error:
        if not any(words in str(error) for words in NO_DATABASE):
            raise
        return Finding(
            "error", "Redis", "database", "one that is there", str(error), "A cluster has only 0 by default."
        )


def _info(client: redis.Redis) -> Mapping[str, Any]:
    return {**client.info("server"), **client.info("memory"), **client.info("replication")}


def judge_redis(info: Mapping[str, Any], subject: str = "Redis") -> Iterator[Finding]:
    """What does not hold, from what INFO says (server, memory, replication)."""
    version = str(info.get("redis_version", "not told"))
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    if numbers < MIN_REDIS:
        yield Finding("error", subject, "version", "7.0 or newer", version, "The scripts need commands of 7.0.")
    policy = str(info.get("maxmemory_policy", "not told"))
    if policy != "noeviction":
        yield Finding(
            "warning" if policy == "not told" else "error", subject, "maxmemory-policy", "noeviction", policy,
            "A store that drops keys by itself shows runs as not there.",
        )  # fmt: skip
    role = str(info.get("role", "not told"))
    if role != "master":
        yield Finding(
            "warning" if role == "not told" else "error", subject, "role", "master", role,
            "A replica takes no writes.",
        )  # fmt: skip
