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
from worker.redis import connect as client_for
from worker.settings import RedisSettings

Severity = Literal["error", "warning"]

MIN_REDIS: Final = (7, 0)
"""The scripts use commands up to 7.0; Valkey names the version of Redis that it is compatible with."""


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
        with connect(settings) as client:
            info = {**client.info("server"), **client.info("memory"), **client.info("replication")}
    except redis.exceptions.NoPermissionError as error:
        return [Finding("warning", "Redis", "INFO", "the right to call it", str(error), "Nothing can be checked.")]
    except redis.exceptions.RedisError as error:
        raise RedisUnreachable(settings.address, str(error)) from error
    return list(judge_redis(info))


def connect(settings: RedisSettings) -> redis.Redis:
    """A client for a command's few questions: no retries, so that a person need not wait."""
    return client_for(settings.url.get_secret_value(), settings.timeout_ms)


def judge_redis(info: Mapping[str, Any]) -> Iterator[Finding]:
    """What does not hold, from what INFO says (server, memory, replication)."""
    version = str(info.get("redis_version", "not told"))
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    if numbers < MIN_REDIS:
        yield Finding("error", "Redis", "version", "7.0 or newer", version, "The scripts need commands of 7.0.")
    policy = str(info.get("maxmemory_policy", "not told"))
    if policy != "noeviction":
        yield Finding(
            "warning" if policy == "not told" else "error", "Redis", "maxmemory-policy", "noeviction", policy,
            "A store that drops keys by itself shows runs as not there.",
        )  # fmt: skip
    role = str(info.get("role", "not told"))
    if role != "master":
        yield Finding(
            "warning" if role == "not told" else "error", "Redis", "role", "master", role,
            "A replica takes no writes.",
        )  # fmt: skip
