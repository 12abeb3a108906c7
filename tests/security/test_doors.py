"""A worker and the commands get through each door by settings alone, and say what is wrong where they do not."""

from __future__ import annotations

import secrets
import socketserver
import time
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest
from pydantic import SecretStr

from tests.processes import running
from tests.security.certificates import Authority
from tests.security.conftest import PASSWORD, Given
from tests.security.doors import ELSEWHERE, READER, USER, Door, Doors, LockedRedis, start_redis
from tests.servers.waiting import wait_until
from tests.traffic import run, sender
from tests.worker.cli.conftest import Command
from worker.errors import RedisUnreachable
from worker.fitness import check_redis
from worker.reading import StoreReader
from worker.servers.processes import LOOPBACK
from worker.settings import KafkaSettings, RedisSettings, Settings, TopicsSettings
from worker.topics import create_topics

DECIDED_WITHIN_S: Final = 20.0
ANSWERED_WITHIN_S: Final = 15.0
"""A client tries for 5 s to get in; the rest is for a busy machine."""


def install(kafka: KafkaSettings, redis: RedisSettings) -> Settings:
    """Of one partition. It keeps to the namespace to which the user of Redis has a right."""
    name = f"door-{secrets.token_hex(4)}"
    settings = Settings(
        kafka=kafka.model_copy(update={"group_id": name}), topics=TopicsSettings(prefix=name), redis=redis
    )
    create_topics(settings, 1, replication_factor=1)
    return settings


OPEN: Final[list[tuple[Door, dict[str, Any]]]] = [
    ("TLS", {}),
    ("SASL", {}),
    ("SASL", {"sasl_mechanism": "SCRAM-SHA-256"}),
    ("SASL_TLS", {"sasl_mechanism": "SCRAM-SHA-512"}),
    ("MUTUAL", {}),
]


@pytest.mark.parametrize(("door", "others"), OPEN, ids=[f"{d} {o.get('sasl_mechanism', '')}" for d, o in OPEN])
def test_a_worker_and_commands_get_through_each_door(
    door: Door, others: dict[str, Any], doors: Doors, locked_redis: LockedRedis, command: Command, given: Given
) -> None:
    """Redis is behind TLS and knows our user by its password; its rights are those of deploy/acl."""
    settings = install(doors.kafka(door, password=PASSWORD, **others), locked_redis.settings())
    tenant = settings.kafka.group_id
    with sender(settings, 1) as send, running(settings), StoreReader(locked_redis.settings(user=READER)) as store:
        send.events(run(tenant, "rr-1", 1))
        wait_until(lambda: store.see(0, tenant, "rr-1").document, DECIDED_WITHIN_S, "it is decided")
        given(settings)
        looked = command("status")
    watched = command("watch", "--since", "1h", "--no-follow")

    assert (looked.code, looked.err) == (0, "")
    assert (watched.code, watched.err) == (0, "")
    assert "rr-1" in watched.out


NOT_LET_IN: Final = f"does not let {USER} in: Authentication failed"
HUNG_UP: Final = f"socket disconnected; does it know {USER} with this password"
"""The same, where the client saw the answer and the end of the connection at one look: it drops the answer then."""

SHUT: Final[list[tuple[str, Door, dict[str, Any], str]]] = [
    ("a wrong password", "SASL", {"password": "guessed"}, NOT_LET_IN),
    (
        "a wrong password by SCRAM", "SASL_TLS", {"password": "guessed", "sasl_mechanism": "SCRAM-SHA-512"}, NOT_LET_IN,
    ),
    ("an authority that we do not know", "TLS", {"ssl_cafile": None}, "certificate verify failed"),
    ("a certificate that has expired", "EXPIRED", {}, "certificate has expired"),
    ("a certificate of another host", "ELSEWHERE", {}, "certificate is not valid for '127.0.0.1'"),
    (
        "no certificate of ours", "MUTUAL", {"ssl_certfile": None, "ssl_keyfile": None, "ssl_password": None},
        "RESTORE_PROJECTOR_KAFKA__SSL_CERTFILE, or wants one",
    ),
    (
        "no TLS to a port with it", "TLS", {"security_protocol": "PLAINTEXT", "ssl_cafile": None},
        "SECURITY_PROTOCOL, which is PLAINTEXT, that of this port?",
    ),
    ("TLS to a port without", "TLS", {"to": "SASL"}, "SECURITY_PROTOCOL, which is SSL, that of this port?"),
    (
        "no password to a port with users", "TLS", {"to": "SASL", "security_protocol": "PLAINTEXT", "ssl_cafile": None},
        "SECURITY_PROTOCOL, which is PLAINTEXT, that of this port?",
    ),
    ("a password to a port without users", "SASL_TLS", {"to": "TLS"}, "is SASL_SSL, that of this port?"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "door", "others", "said"), SHUT, ids=[row[0] for row in SHUT])
def test_what_is_wrong_is_named_and_ends_a_command_with_exit_code_3(
    what: str,
    door: Door,
    others: dict[str, Any],
    said: str,
    doors: Doors,
    command: Command,
    given: Given,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.topics.BOOTSTRAP_TIMEOUT_MS", 2_000)
    options = {"password": PASSWORD, **others}
    if "to" in options:
        options["bootstrap_servers"] = doors.address(options.pop("to"))
    given(Settings(kafka=doors.kafka(door, **options)))
    began = time.monotonic()

    result = command("topics", "check")

    assert result.code == 3, what
    assert said in result.err or (said == NOT_LET_IN and HUNG_UP in result.err)
    assert len(result.err.splitlines()) == 1, result.err
    assert time.monotonic() - began < ANSWERED_WITHIN_S


def test_who_hangs_up_while_we_log_in_may_do_so_for_the_password(
    command: Command, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.topics.BOOTSTRAP_TIMEOUT_MS", 500)
    with socketserver.ThreadingTCPServer((LOOPBACK, 0), HangsUp) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        given(
            Settings(
                kafka=KafkaSettings(
                    bootstrap_servers=f"{LOOPBACK}:{server.server_address[1]}",
                    security_protocol="SASL_PLAINTEXT",
                    sasl_mechanism="PLAIN",
                    sasl_username=USER,
                    sasl_password=SecretStr(PASSWORD),
                )
            )
        )
        result = command("topics", "check")
        server.shutdown()

    assert result.code == 3
    assert HUNG_UP in result.err
    assert "is SASL_PLAINTEXT, that of this port?" in result.err


class HangsUp(socketserver.BaseRequestHandler):
    """Hears the first request out, and ends the connection as a broker does that answers and ends at once."""

    def handle(self) -> None:
        self.request.recv(4096)


def test_redis_behind_a_door_that_stays_shut_is_named_as_well(locked_redis: LockedRedis, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger", PASSWORD).file
    with start_redis(tmp_path, PASSWORD, host=ELSEWHERE) as elsewhere:
        for settings, said in [
            (locked_redis.settings(password="guessed"), "invalid username-password pair"),
            (locked_redis.settings(user="nobody"), "invalid username-password pair"),
            (locked_redis.settings(trust=stranger), "certificate verify failed"),
            (elsewhere.settings(), "certificate is not valid for '127.0.0.1'"),
            (locked_redis.without_tls, "Connection"),
        ]:
            with pytest.raises(RedisUnreachable, match="cannot be reached") as refusal:
                check_redis(settings)
            assert said in str(refusal.value)
            assert PASSWORD not in str(refusal.value)
            assert refusal.value.exit_code == 3
