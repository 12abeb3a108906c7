"""Kafka and Redis behind every door that the settings know: TLS, SASL, both, certificates of clients, users of Redis.

One Kafka with a listener for each. Its doors for mistakes have a certificate that has expired or that names another
host. What opens a door is `Settings` alone, as a user would give them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from kafka.admin import KafkaAdminClient, ScramMechanism, UserScramCredentialUpsertion
from pydantic import SecretStr

from tests.deploy.guarded import REDIS_USERS, add_listener
from tests.deploy.tools import go_without
from tests.processes import HEARTBEAT_MS, SESSION_MS
from tests.security.certificates import EXPIRED, Authority, Certificate
from tests.servers.local_kafka import LocalKafka
from tests.servers.local_redis import START_TIMEOUT_S, LocalRedis
from tests.servers.waiting import wait_until
from worker.servers.errors import ServerFailed, ServerUnavailable
from worker.servers.processes import LOOPBACK, free_port, listening
from worker.settings import KafkaSettings, RedisSettings

Door = Literal["SASL", "TLS", "SASL_TLS", "MUTUAL", "EXPIRED", "ELSEWHERE"]
PROTOCOLS: Final[Mapping[Door, str]] = {
    "SASL": "SASL_PLAINTEXT",
    "TLS": "SSL",
    "SASL_TLS": "SASL_SSL",
    "MUTUAL": "SSL",
    "EXPIRED": "SSL",
    "ELSEWHERE": "SSL",
}
USER: Final = "restore-worker"
READER: Final = "restore-reader"
"""Of Redis; it has the same password."""
STARTS: Final = 3
ELSEWHERE: Final = "127.0.0.2"
"""The address that a certificate names which is shown at another one."""


class Doors:
    """Where the doors are, and what opens them. `password`: of the user, for every mechanism."""

    def __init__(self, kafka: LocalKafka, ports: Mapping[Door, int], authority: Authority, client: Certificate) -> None:
        self.plain_servers = kafka.bootstrap_servers
        self._ports = ports
        self.authority = authority
        self.client = client

    def address(self, door: Door) -> str:
        return f"{LOOPBACK}:{self._ports[door]}"

    def kafka(self, door: Door, *, password: str, **others: Any) -> KafkaSettings:
        """What opens the door; `others` replace it, None takes it away."""
        protocol = PROTOCOLS[door]
        given: dict[str, Any] = {"bootstrap_servers": self.address(door), "security_protocol": protocol}
        if "SSL" in protocol:
            given |= {"ssl_cafile": self.authority.file}
        if "SASL" in protocol:
            given |= {"sasl_mechanism": "PLAIN", "sasl_username": USER, "sasl_password": SecretStr(password)}
        if door == "MUTUAL":
            given |= {
                "ssl_certfile": self.client.certificate,
                "ssl_keyfile": self.client.guarded_key,
                "ssl_password": SecretStr(password),
            }
        given |= others
        return KafkaSettings(
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            **{name: value for name, value in given.items() if value is not None},
        )


@contextmanager
def start_kafka(directory: Path, password: str) -> Iterator[Doors]:
    """A process of this machine. Skips the test, or fails it in CI, where none can be had."""
    authority = Authority(directory, "authority", password)
    shown: dict[Door, Certificate] = {
        "TLS": (broker := authority.issue("broker")),
        "SASL_TLS": broker,
        "MUTUAL": broker,
        "EXPIRED": authority.issue("expired", days=EXPIRED),
        "ELSEWHERE": authority.issue("elsewhere", host=ELSEWHERE),
    }
    server, ports = _listening(directory, _settings(shown, authority, password))
    try:
        _add_scram_user(server.bootstrap_servers, password)
        yield Doors(server, ports, authority, authority.issue("client"))
    finally:
        server.close()


def _listening(directory: Path, settings: Mapping[str, str]) -> tuple[LocalKafka, Mapping[Door, int]]:
    """With so many ports, one may be taken between being found free and being listened on: then all are others."""
    for attempt in range(STARTS):
        place = directory / str(attempt)
        place.mkdir()
        try:
            server = LocalKafka(place, settings=settings)
        except ServerUnavailable as error:
            go_without(str(error))
        ports: dict[Door, int] = {door: free_port() for door in PROTOCOLS}
        for door, port in ports.items():
            add_listener(server.nodes[0].properties, f"{door}://{LOOPBACK}:{port}")
        try:
            server.start()
        except ServerFailed:
            server.close()
        else:
            return server, ports
    raise ServerFailed(f"Kafka did not start in {STARTS} attempts: see {directory}")


def _settings(shown: Mapping[Door, Certificate], authority: Authority, password: str) -> dict[str, str]:
    protocols = ",".join(f"{door}:{protocol}" for door, protocol in PROTOCOLS.items())
    lines = {"listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,{protocols}"}
    for door, certificate in shown.items():
        place = f"listener.name.{door.lower()}"
        lines |= {
            f"{place}.ssl.keystore.type": "PEM",
            f"{place}.ssl.keystore.location": str(certificate.both),
            f"{place}.ssl.truststore.type": "PEM",
            f"{place}.ssl.truststore.location": str(authority.file),
        }
    lines["listener.name.mutual.ssl.client.auth"] = "required"
    mechanisms = {"plain": f'{_JAAS}.plain.PlainLoginModule required user_{USER}="{password}";'}
    mechanisms |= {f"scram-sha-{bits}": f"{_JAAS}.scram.ScramLoginModule required;" for bits in (256, 512)}
    lines["sasl.enabled.mechanisms"] = ",".join(mechanisms).upper()
    for place in ("listener.name.sasl", "listener.name.sasl_tls"):
        lines |= {f"{place}.{mechanism}.sasl.jaas.config": module for mechanism, module in mechanisms.items()}
    return lines


_JAAS: Final = "org.apache.kafka.common.security"


def _add_scram_user(bootstrap_servers: str, password: str) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap_servers)) as admin:
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            answer = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, mechanism, password)])
            assert not any(answer.values()), answer


class LockedRedis:
    """A Redis that speaks TLS alone, to users with passwords."""

    def __init__(self, server: LocalRedis, port: int, authority: Authority, password: str) -> None:
        self._server = server
        self._port = port
        self._authority = authority
        self._password = password

    def settings(self, *, user: str = USER, password: str | None = None, trust: Path | None = None) -> RedisSettings:
        trusted = trust or self._authority.file
        login = f"{user}:{self._password if password is None else password}"
        return RedisSettings(
            url=SecretStr(f"rediss://{login}@{LOOPBACK}:{self._port}/0?ssl_ca_certs={trusted}"), timeout_ms=1_000
        )

    @property
    def without_tls(self) -> RedisSettings:
        return RedisSettings(
            url=SecretStr(f"redis://{USER}:{self._password}@{LOOPBACK}:{self._port}/0"), timeout_ms=500
        )


@contextmanager
def start_redis(directory: Path, password: str, host: str = LOOPBACK) -> Iterator[LockedRedis]:
    """A process of this machine. Skips the test, or fails it in CI, where none can be had, or none with TLS."""
    authority = Authority(directory, "authority-of-redis", password)
    shown = authority.issue("redis", host)
    port = free_port()
    users = directory / "users.acl"
    hashed = hashlib.sha256(password.encode()).hexdigest()
    users.write_text(
        REDIS_USERS.substitute(
            {f"{user}_PASSWORD_SHA256": hashed for user in ("ADMIN", "WORKER", "READER", "OPERATOR")}
        )
    )
    options = {
        "tls-port": str(port),
        "tls-cert-file": str(shown.certificate),
        "tls-key-file": str(shown.key),
        "tls-ca-cert-file": str(authority.file),
        "tls-auth-clients": "no",
        "aclfile": str(users),
    }
    try:
        server = LocalRedis(directory, options=options)
    except ServerUnavailable as error:
        go_without(str(error))
    try:
        server.process.start()
        wait_until(lambda: not server.process.alive or listening(port), START_TIMEOUT_S, "Redis listens or has ended")
        if not server.process.alive:
            go_without(f"no Redis with TLS: {server.process.last_words()}")
        yield LockedRedis(server, port, authority, password)
    finally:
        server.close()
