"""An installation on this machine: servers of our own with the settings that fit them, and the worker beside us.

The worker is `restore-projector run`, as a process: what is tried here is what runs elsewhere, and it can be killed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from worker.servers.choice import WAYS, Kind, Servers
from worker.servers.processes import ChildProcess
from worker.settings import PREFIX, KafkaSettings, RedisSettings, Settings, describe_settings

SESSION_TIMEOUT_MS: Final = 6_000
"""The embedded broker holds a first join for half of this."""
FETCH_WAIT_MS: Final = 100
"""What the embedded broker needs between fetches."""
STOP_TIMEOUT_S: Final = 11.0
"""The worker ends within 10 s of being told to."""
RUN: Final = (sys.executable, "-P", "-c", "from worker.cli import main; main()", "run")
"""The worker's command, wherever the entry point is installed; -P, as a folder `worker` here may be another one."""


@contextmanager
def embedded_servers() -> Iterator[Settings]:
    """A broker and a Valkey of our own. Yields settings for them; what the environment says is about other servers.

    Raises ServerUnavailable when a wheel is missing, ServerFailed when a server does not come up.
    """
    with servers_of_our_own("embedded", threading.Event()) as servers:
        yield settings_for("embedded", servers)


@contextmanager
def servers_of_our_own(kind: Kind, stop: threading.Event) -> Iterator[Servers]:
    """Both servers, empty at first and gone at the end. Raises ServerUnavailable, ServerFailed, StartInterrupted."""
    with tempfile.TemporaryDirectory(prefix="restore-projector-") as folder, WAYS[kind].start(Path(folder), stop) as up:
        yield up


def settings_for(kind: Kind, servers: Servers) -> Settings:
    """Where these servers are, and what the embedded broker needs; everything else is as by default."""
    quirks = {"session_timeout_ms": SESSION_TIMEOUT_MS, "fetch_max_wait_ms": FETCH_WAIT_MS}
    kafka = KafkaSettings.model_validate(
        {"bootstrap_servers": servers.bootstrap_servers, **(quirks if kind == "embedded" else {})}
    )
    return Settings.model_construct(kafka=kafka, redis=RedisSettings(url=SecretStr(servers.redis_url)))


@contextmanager
def worker_process(environment: Mapping[str, str], directory: Path | None = None) -> Iterator[ChildProcess]:
    """`run` with these variables in this directory, its log on our standard error; stopped in order at the end."""
    process = ChildProcess(RUN, None, directory=directory, environment=environment)
    process.start()
    try:
        yield process
    finally:
        process.stop(STOP_TIMEOUT_S)


@contextmanager
def environment_of(settings: Settings) -> Iterator[tuple[dict[str, str], Path]]:
    """A process's variables, and a directory without a `.env` file, by which it has exactly these settings.

    Only for settings without passwords other than a URL's, as those for servers of our own are.
    """
    others = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    shown = {s.variable: s.value for s in describe_settings(settings) if s.value is not None and not s.secret}
    with tempfile.TemporaryDirectory(prefix="restore-projector-") as directory:
        yield (
            {**others, **shown, f"{PREFIX}REDIS__URL": settings.redis.url.get_secret_value()},
            Path(directory),
        )
