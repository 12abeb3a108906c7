from __future__ import annotations

import json
import socket
import struct
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest

from tests.servers.waiting import wait_until
from worker.errors import ConfigurationError
from worker.health import STUCK_AFTER_S, Health, HealthServer
from worker.metrics import Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock)


@pytest.fixture
def server(health: Health) -> Iterator[HealthServer]:
    with HealthServer("127.0.0.1", 0, health, Metrics()) as server:
        yield server


def get(server: HealthServer, path: str) -> tuple[int, str, bytes]:
    """Status, media type and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read()


def test_a_loop_that_turns_is_alive(health: Health, clock: Clock) -> None:
    clock.now += STUCK_AFTER_S - 1
    health.turned()
    clock.now += STUCK_AFTER_S - 1

    assert health.livez().status is HTTPStatus.OK


def test_a_stuck_loop_is_not_alive(health: Health, clock: Clock) -> None:
    health.turned()
    clock.now += STUCK_AFTER_S

    answer = health.livez()
    assert answer.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert answer.body == {"alive": False, "last_turn_seconds_ago": 30.0, "stuck_after_seconds": 30.0}


def test_a_worker_is_not_ready_until_it_says_so(health: Health) -> None:
    assert health.readyz().body == {"ready": False, "detail": "starting"}

    health.ready(True, "4 partitions run")

    assert health.readyz().status is HTTPStatus.OK


def test_ready_is_taken_back_with_a_reason(health: Health) -> None:
    health.ready(True, "4 partitions run")
    health.ready(False, "1 restoring, 3 running")

    answer = health.readyz()
    assert (answer.status, answer.body["detail"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "1 restoring, 3 running")


@pytest.mark.parametrize(("path", "status"), [("/livez", 200), ("/readyz", 503), ("/readyz?verbose", 503), ("/", 404)])
def test_each_answer_is_json_with_its_status(server: HealthServer, path: str, status: int) -> None:
    got, media_type, body = get(server, path)

    answer: Any = json.loads(body)
    assert (got, media_type) == (status, "application/json")
    assert isinstance(answer, dict)


def test_metrics_are_served_as_prometheus_reads_them(server: HealthServer) -> None:
    status, media_type, body = get(server, "/metrics")

    assert (status, media_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"restore_projector_recoveries_total 0.0" in body


def test_a_caller_that_says_nothing_keeps_nobody_waiting(server: HealthServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert get(server, "/livez")[0] == 200


def test_an_address_that_is_taken_is_a_wrong_setting(server: HealthServer, health: Health) -> None:
    with pytest.raises(ConfigurationError, match=rf"RESTORE_PROJECTOR_HTTP__HOST and __PORT .* {server.port}: cannot"):
        HealthServer("127.0.0.1", server.port, health, Metrics())


def test_a_caller_that_hangs_up_at_once_leaves_nothing_in_the_log(
    health: Health, capfd: pytest.CaptureFixture[str]
) -> None:
    """As balancers do: they connect, or ask, and reset the connection without reading."""
    with HealthServer("127.0.0.1", 0, health, Metrics()) as server:
        for said in (b"", b"GET /livez HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as caller:
                caller.sendall(said)
                if said:
                    assert caller.recv(1) == b"H"
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert get(server, "/livez")[0] == HTTPStatus.OK
        wait_until(lambda: not any("process_request" in t.name for t in threading.enumerate()), 10, "all are served")

    assert capfd.readouterr().err == ""
