"""`run`: the worker as a process, from settings to signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from worker.health import Health
    from worker.logs import Events
    from worker.metrics import Metrics
    from worker.settings import Settings

SAME_SIGNAL_S: Final = 1.0
"""A signal that follows so soon is the same one: timeout(1) and make send it to the process and to its group."""
STOP_LIMIT_S: Final = 9.0
"""How long the batch in hand may take after SIGTERM. 10 s are promised; what is cut off is done again at next start."""


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: RESTORE_PROJECTOR_HTTP__PORT=9090 restore-projector run")(run)


def run() -> None:
    """Run the worker until SIGTERM or Ctrl-C.

    More of them share the partitions. Servers that are away are waited for. A second signal ends it at once, which
    loses nothing either.
    """
    # While the imports run, half a second, there is nothing yet that would have to be ended in order.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    from worker.errors import ProjectorError
    from worker.health import Health
    from worker.logs import configure_logs
    from worker.metrics import Metrics
    from worker.settings import load_settings
    from worker.wiring import run_worker

    settings = load_settings()
    events = configure_logs(settings.log)
    metrics, health = Metrics(), Health()
    _announce(settings, events)
    with _http(settings, health, metrics, events), _watchman(settings, metrics, events), Stopping(events) as stop:
        try:
            run_worker(settings, stop=stop, metrics=metrics, health=health, events=events)
        except ProjectorError as error:
            events.failed(error)
            raise typer.Exit(error.exit_code) from error
        except Exception as error:
            events.failed(error)
            raise typer.Exit(1) from error


def _announce(settings: Settings, events: Events) -> None:
    from importlib.metadata import version

    events.worker_started(
        version=version("restore-projector"),
        kafka=settings.kafka.bootstrap_servers,
        redis=settings.redis.address,
        group=settings.kafka.group_id,
        instance=settings.kafka.instance,
        prefix=settings.topics.prefix,
    )


def _http(settings: Settings, health: Health, metrics: Metrics, events: Events) -> AbstractContextManager[object]:
    from worker.health import HealthServer

    if settings.http.port is None:
        return nullcontext()
    server = HealthServer(settings.http.host, settings.http.port, health, metrics)
    events.http_listening(host=settings.http.host, port=server.port)
    return server


def _watchman(settings: Settings, metrics: Metrics, events: Events) -> AbstractContextManager[object]:
    """Only where somebody asks for metrics."""
    from worker.status.watchman import Watchman

    return nullcontext() if settings.http.port is None else Watchman(settings, metrics, events)


class Stopping:
    """From the first SIGTERM or SIGINT to the end of the process. The context's value is the event to watch.

    The handler only sets what others wait for: it may interrupt a line that is being logged. A thread does the rest,
    and ends the process: when the loop has come back, or in time if it does not, because a server hangs.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._stop = threading.Event()
        self._over = threading.Event()
        self._signal = "none"
        self._signalled_at = 0.0
        self._thread = threading.Thread(target=self._watch, name="stopping", daemon=True)

    def __enter__(self) -> threading.Event:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)
        self._thread.start()
        return self._stop

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._stop.set()
        self._thread.join()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self._stop.is_set():
            self._signal = signal.Signals(number).name
            self._signalled_at = time.monotonic()
            self._stop.set()
        elif time.monotonic() - self._signalled_at > SAME_SIGNAL_S:
            os._exit(128 + number)

    def _watch(self) -> None:
        self._stop.wait()
        if self._over.is_set():
            return  # The worker ended by itself, and has said why.
        began = time.monotonic()
        self._events.stopping(signal=self._signal)
        in_order = self._over.wait(STOP_LIMIT_S)
        self._events.stopped(seconds=time.monotonic() - began, in_order=in_order)
        sys.stderr.flush()
        # Not by way of the interpreter's end: there kafka-python closes its clients once more, and waits for brokers
        # that are away. Everything is committed or will be done again, so nothing is left to do.
        os._exit(0)
