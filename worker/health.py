"""Is the loop alive, is it ready: answered over HTTP by a thread beside it, from what the loop last said.

    /livez    200 while the loop has turned within the last 30 s. A stuck loop is not alive, whatever it waits for;
              one that finds Kafka or Redis gone still turns, as a restart would not bring them back.
    /readyz   200 while every assigned partition runs.
    /metrics  Prometheus' text format.

Each turn of the loop calls `turned`; nothing in here ever makes it wait.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from worker.errors import ConfigurationError
from worker.metrics import Metrics

STUCK_AFTER_S: Final = 30.0
"""Longer than any single step of a turn may take: 12 s for a flush, 12 s for a commit."""
REQUEST_TIMEOUT_S: Final = 5.0
"""A caller that says nothing for so long is hung up on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller is told: an HTTP status, and a JSON object."""

    status: HTTPStatus
    body: dict[str, Any]


class Health:
    """What the loop says of itself. Written by the loop's thread, read by the server's."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._turned_at = monotonic()
        self._ready = False
        self._detail = "starting"

    def turned(self) -> None:
        """The loop has come round. One assignment: called on every turn."""
        self._turned_at = self._monotonic()

    def ready(self, ready: bool, detail: str) -> None:
        """Whether every assigned partition runs, and in a few words why not."""
        self._detail = detail
        self._ready = ready

    def livez(self) -> Answer:
        age = max(self._monotonic() - self._turned_at, 0.0)
        alive = age < STUCK_AFTER_S
        return Answer(
            HTTPStatus.OK if alive else HTTPStatus.SERVICE_UNAVAILABLE,
            {"alive": alive, "last_turn_seconds_ago": round(age, 3), "stuck_after_seconds": STUCK_AFTER_S},
        )

    def readyz(self) -> Answer:
        ready = self._ready
        return Answer(
            HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, {"ready": ready, "detail": self._detail}
        )


class HealthServer:
    """Serves `Health` and `Metrics` in a thread while the context is open. `port` is the one it listens on."""

    def __init__(self, host: str, port: int, health: Health, metrics: Metrics) -> None:
        """Listens at once. Raises ConfigurationError when the address can't be had."""
        try:
            self._server = _Server((host, port), _handler(health, metrics))
        except OSError as error:
            raise ConfigurationError(
                f"RESTORE_PROJECTOR_HTTP__HOST and __PORT are {host!r} and {port}: cannot listen there: {error}"
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up, as balancers do, is not worth a traceback on standard error; our own bugs are."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(health: Health, metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT_S
        protocol_version = "HTTP/1.1"
        server_version = "restore-projector"
        sys_version = ""

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/livez":
                    self._answer(health.livez())
                case "/readyz":
                    self._answer(health.readyz())
                case "/metrics":
                    self._send(HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", metrics.exposition())
                case _:
                    self._answer(Answer(HTTPStatus.NOT_FOUND, {"paths": ["/livez", "/readyz", "/metrics"]}))

        def _answer(self, answer: Answer) -> None:
            self._send(answer.status, "application/json", json.dumps(answer.body).encode())

        def _send(self, status: HTTPStatus, media_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Probes come every few seconds and are not worth a line each."""

    return Handler
