"""Kafka and Redis as they should be set up: each user has the rights that deploy/acl gives, and no others."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from string import Template
from typing import Final

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import ResponseError

from tests.deploy.tools import DEPLOY, ROOT, go_without, run
from tests.processes import HEARTBEAT_MS, SESSION_MS
from tests.servers.local_cluster import LocalRedisCluster
from tests.servers.local_kafka import LocalKafka
from tests.servers.local_redis import LocalRedis
from tests.servers.waiting import wait_until
from worker.nodes import Nodes, connect
from worker.servers.errors import ServerUnavailable
from worker.servers.processes import LOOPBACK, free_port
from worker.settings import KafkaSettings, RedisSettings, Settings

# Redis

REDIS_USERS: Final = Template((DEPLOY / "acl" / "redis-users.acl").read_text())
_REDIS_PASSWORDS: Final = {"admin": "of-admin", "worker": "of-worker", "reader": "of-reader", "operator": "of-operator"}


class GuardedRedis:
    """A Redis that has loaded our file of users by itself."""

    def __init__(self, server: LocalRedis, file: Path) -> None:
        self._server = server
        self._file = file

    def load_users(self, text: str) -> None:
        """As a restart would; ResponseError when Redis refuses the file, and then the users are as before."""
        before = self._file.read_text()
        self._file.write_text(text)
        with Redis.from_url(self.url("admin") if before else self._server.url) as client:
            try:
                client.acl_load()
            except ResponseError:
                self._file.write_text(before)
                raise

    def url(self, user: str) -> str:
        return _as_user(self._server.url, user)

    def client(self, user: str) -> Redis:
        return connect(self.url(user), 2_000)

    def nodes(self, user: str) -> Nodes:
        return Nodes(self.url(user), 2_000)

    def settings(self, user: str) -> RedisSettings:
        return RedisSettings(url=SecretStr(self.url(user)))

    @property
    def nobodys_url(self) -> str:
        return self._server.url


@contextmanager
def start_redis(directory: Path) -> Iterator[GuardedRedis]:
    """A process of this machine, as it reads a file. Skips the test, or fails it in CI, where none can be had."""
    file = directory / "users.acl"
    file.touch()
    try:
        server = LocalRedis(directory, options={"aclfile": str(file)})
    except ServerUnavailable as error:
        go_without(str(error))
    try:
        server.start()
        guarded = GuardedRedis(server, file)
        guarded.load_users(REDIS_USERS.substitute(_hashes()))
        yield guarded
    finally:
        server.close()


class GuardedRedisCluster:
    """A Redis Cluster of which every node has loaded our file of users."""

    def __init__(self, cluster: LocalRedisCluster) -> None:
        self._cluster = cluster

    def settings(self, user: str) -> RedisSettings:
        return RedisSettings(url=SecretStr(_as_user(self._cluster.url, user)))

    @contextmanager
    def admins(self) -> Iterator[list[Redis]]:
        """A client of each node."""
        with ExitStack() as stack:
            yield [
                stack.enter_context(Redis.from_url(_as_user(node.url, "admin"), retry=None))
                for node in self._cluster.nodes
            ]


@contextmanager
def start_redis_cluster(directory: Path) -> Iterator[GuardedRedisCluster]:
    """Three masters of this machine. Skips the test, or fails it in CI, where they cannot be had."""
    file = directory / "users.acl"
    file.touch()
    try:
        cluster = LocalRedisCluster(directory, options={"aclfile": str(file)})
    except ServerUnavailable as error:
        go_without(str(error))
    try:
        cluster.start()
        file.write_text(REDIS_USERS.substitute(_hashes()))
        for node in cluster.nodes:
            cluster.ask(node, "ACL", "LOAD")
        yield GuardedRedisCluster(cluster)
    finally:
        cluster.close()


def _as_user(url: str, user: str) -> str:
    return url.replace("://", f"://restore-{user}:{_REDIS_PASSWORDS[user]}@")


def _hashes() -> dict[str, str]:
    return {
        f"{user.upper()}_PASSWORD_SHA256": hashlib.sha256(password.encode()).hexdigest()
        for user, password in _REDIS_PASSWORDS.items()
    }


# Kafka

APPLIED_WITHIN_S: Final = 10.0
KAFKA_USERS: Final = ("worker", "source", "reader", "operator", "topics")


class GuardedKafka:
    """A Kafka with two listeners: one for users with passwords, one for a super user without."""

    def __init__(self, server: LocalKafka, port: int) -> None:
        self._server = server
        self._port = port

    def settings(self, user: str, redis: RedisSettings | None = None) -> Settings:
        kafka = KafkaSettings(
            bootstrap_servers=f"{LOOPBACK}:{self._port}",
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_username=f"restore-{user}",
            sasl_password=SecretStr(_password(user)),
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
        )
        return Settings(kafka=kafka) if redis is None else Settings(kafka=kafka, redis=redis)

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        """Of the super user."""
        with closing(KafkaAdminClient(bootstrap_servers=self._server.bootstrap_servers)) as admin:
            yield admin

    @contextmanager
    def without(self, acl: ACL) -> Iterator[None]:
        """What is granted, less this."""
        pattern = acl.resource_pattern
        named = ResourcePatternFilter(pattern.resource_type, pattern.resource_name, pattern.pattern_type)
        with self.admin() as admin:
            admin.delete_acls([ACLFilter(acl.principal, acl.host, acl.operation, acl.permission_type, named)])
        try:
            wait_until(lambda: acl not in self.granted(acl.principal), APPLIED_WITHIN_S, f"{acl} is gone")
            yield
        finally:
            self.grant([acl])
            wait_until(lambda: acl in self.granted(acl.principal), APPLIED_WITHIN_S, f"{acl} is back")

    def granted(self, principal: str) -> list[ACL]:
        every = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        with self.admin() as admin:
            found, _ = admin.describe_acls(ACLFilter(principal, None, ACLOperation.ANY, ACLPermissionType.ANY, every))
        return list(found)

    def grant(self, acls: list[ACL]) -> None:
        with self.admin() as admin:
            answer = admin.create_acls(acls)
        assert not answer["failed"], answer


def _password(user: str) -> str:
    return f"of-{user}"


@contextmanager
def start_kafka(directory: Path) -> Iterator[GuardedKafka]:
    """A process of this machine. Skips the test, or fails it in CI, where none can be had."""
    users = " ".join(f'user_restore-{user}="{_password(user)}"' for user in KAFKA_USERS)
    security = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": (
            f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
        ),
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT",
    }
    try:
        server = LocalKafka(directory, settings=security)
    except ServerUnavailable as error:
        go_without(str(error))
    port = free_port()
    add_listener(server.nodes[0].properties, f"SASL://{LOOPBACK}:{port}")
    try:
        server.start()
        guarded = GuardedKafka(server, port)
        guarded.grant(granted_by_script(directory))
        yield guarded
    finally:
        server.close()


def add_listener(properties: Path, listener: str) -> None:
    """Beside those that are there, which have ports of their own."""
    lines = properties.read_text().splitlines()
    names = ("listeners=", "advertised.listeners=")
    properties.write_text("".join(f"{line},{listener}\n" if line.startswith(names) else f"{line}\n" for line in lines))


def granted_by_script(directory: Path) -> list[ACL]:
    """What kafka-acls.sh is told by our script: a program of that name writes down what it was given."""
    told = directory / "told"
    stand_in = directory / "bin" / "kafka-acls.sh"
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text(
        f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]), file=open({str(told)!r}, 'a'))\n"
    )
    stand_in.chmod(0o755)
    path = {"PATH": f"{stand_in.parent}:/usr/bin:/bin", "BOOTSTRAP": "kafka:9092", "COMMAND_CONFIG": "admin.properties"}
    run("sh", DEPLOY / "acl" / "kafka-acls.sh", cwd=ROOT, environment=path)
    return [acl for line in told.read_text().splitlines() for acl in _acls(json.loads(line))]


_TYPES: Final[Mapping[str, ResourceType]] = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional_id": ResourceType.TRANSACTIONAL_ID,
}


def _acls(words: list[str]) -> Iterator[ACL]:
    """As Kafka's AclCommand understands them: every operation on every resource that is named."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--bootstrap-server", required=True)
    parser.add_argument("--command-config", required=True)
    parser.add_argument("--add", action="store_true", required=True)
    parser.add_argument("--allow-principal", required=True)
    parser.add_argument("--operation", action="append", required=True)
    parser.add_argument("--resource-pattern-type", choices=["literal", "prefixed"], default="literal")
    for name in _TYPES:
        parser.add_argument(f"--{name.replace('_', '-')}", action="append", default=[])
    told = vars(parser.parse_args(words))
    pattern = ACLResourcePatternType[told["resource_pattern_type"].upper()]
    for name, type in _TYPES.items():
        for resource in told[name]:
            for operation in told["operation"]:
                yield ACL(
                    told["allow_principal"], "*", _operation(operation), ACLPermissionType.ALLOW,
                    ResourcePattern(type, resource, pattern),
                )  # fmt: skip


def _operation(name: str) -> ACLOperation:
    """DescribeConfigs → DESCRIBE_CONFIGS."""
    return ACLOperation["".join(f"_{c}" if c.isupper() and at else c for at, c in enumerate(name)).upper()]
