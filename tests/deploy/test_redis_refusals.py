"""Each command that the worker's user is given in Redis is needed: without it, it is named where it is missed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.deploy.guarded import REDIS_USERS, GuardedRedis
from tests.deploy.test_redis_rights import look, work
from worker.errors import Refused
from worker.fitness import check_redis
from worker.redis import RedisStore

UNUSED: Final = {"ping", "select", "cluster|slots"}
"""For looking whether it is there, for a database other than 0, for a cluster."""
CONNECTING: Final = {"hello"}
"""Sent by the client before anything else."""


def granted() -> list[str]:
    (line,) = (line for line in REDIS_USERS.template.splitlines() if line.startswith("user restore-worker"))
    return sorted(set(re.findall(r"\+(\S+)", line)) - UNUSED - CONNECTING)


@contextmanager
def without(redis: GuardedRedis, command: str) -> Iterator[None]:
    with redis.client("admin") as admin:
        admin.flushall()
        admin.script_flush()
        admin.execute_command("ACL", "SETUSER", "restore-worker", f"-{command}")
        try:
            yield
        finally:
            admin.execute_command("ACL", "SETUSER", "restore-worker", f"+{command}")


def complaints(redis: GuardedRedis) -> Iterator[str]:
    """All that a worker says at start, at work and for its metrics."""
    for finding in check_redis(redis.settings("worker")):
        yield str(finding)
    with redis.nodes("worker") as nodes:
        try:
            work(RedisStore(nodes, "restore", "redis"))
        except Refused as refusal:
            yield str(refusal)
    unseen = look(redis, "worker").error
    if unseen is not None:
        yield unseen


@pytest.mark.parametrize("command", granted())
def test_a_command_that_is_missing_is_named(guarded_redis: GuardedRedis, command: str) -> None:
    with without(guarded_redis, command):
        said = list(complaints(guarded_redis))

    assert said
    for complaint in said:
        assert f"'{command}'" in complaint
        assert "of-worker" not in complaint
