"""An installation on this machine: embedded servers with the settings that fit them, and the worker beside us.

The worker is `restore-projector run`, as a process: what is tried here is what runs elsewhere, and it can be killed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from worker.embedded import ChildProcess, EmbeddedServerError, EmbeddedServerMissing, embedded_kafka, embedded_redis
from worker.errors import ConfigurationError, ProjectorError
from worker.settings import PREFIX, KafkaSettings, RedisSettings, Settings, describe_settings

SESSION_TIMEOUT_MS: Final = 6_000
"""The embedded broker holds a first join for half of this."""
FETCH_WAIT_MS: Final = 100
"""What the embedded broker needs between fetches."""
STOP_TIMEOUT_S: Final = 11.0
"""The worker ends within 10 s of being told to."""
RUN: Final = (sys.executable, "-P", "-c", "from worker.cli import main; main()", "run")
"""The worker's command, wherever the entry point is installed; -P, as a folder `worker` here may be another one."""


class ServersFailed(ProjectorError):
    """The embedded servers were started and did not come up."""


@contextmanager
def embedded_servers() -> Iterator[Settings]:
    """A broker and a Valkey of our own. Yields settings for them; what the environment says is about other servers.

    Raises ConfigurationError when a wheel is missing, ServersFailed when a server does not come up.
    """
    try:
        with embedded_kafka() as bootstrap_servers, embedded_redis() as redis_url:
            kafka = KafkaSettings(
                bootstrap_servers=bootstrap_servers,
                session_timeout_ms=SESSION_TIMEOUT_MS,
                fetch_max_wait_ms=FETCH_WAIT_MS,
            )
            yield Settings.model_construct(kafka=kafka, redis=RedisSettings(url=SecretStr(redis_url)))
    except EmbeddedServerMissing as error:
        raise ConfigurationError(str(error)) from error
    except EmbeddedServerError as error:
        raise ServersFailed(str(error)) from error


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
def embedded_environment(settings: Settings) -> Iterator[tuple[dict[str, str], Path]]:
    """A process's variables, and a directory without a `.env` file, by which it has exactly these settings.

    Only for settings without passwords other than a URL's, as those of `embedded_servers` are.
    """
    others = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    shown = {s.variable: s.value for s in describe_settings(settings) if s.value is not None and not s.secret}
    with tempfile.TemporaryDirectory(prefix="restore-projector-") as directory:
        yield (
            {**others, **shown, f"{PREFIX}REDIS__URL": settings.redis.url.get_secret_value()},
            Path(directory),
        )
