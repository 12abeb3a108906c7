"""No secret is in anything that a process of ours writes, whatever goes wrong."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.processes import WorkerProcess, environment
from tests.security.conftest import PASSWORD
from tests.security.doors import Doors, LockedRedis
from tests.security.test_doors import install
from tests.servers.waiting import wait_until
from worker.settings import Settings

MARKER: Final = "pl4nted"
"""In each secret that opens nothing."""
COMMAND: Final = "from worker.cli import main; main()"
BROKEN: Final = """
from worker import topics
class Broken:
    def __init__(self, **options):
        password = options["sasl_plain_password"]
        raise LookupError("nobody has foreseen this")
topics.KafkaAdminClient = Broken
"""
"""A fault of our own where secrets are at hand, in local variables of several frames."""
LOGGED_WITHIN_S: Final = 20.0
COMMANDS: Final = (
    ["config"], ["config", "--json"], ["topics", "check"], ["status"], ["status", "--json"], ["status", "--overdue"],
    ["explain", "t-1", "rr-1"], ["watch", "--no-follow", "--since", "1h"],
)  # fmt: skip


def forms(secret: str) -> Iterator[str]:
    """As it is, and as SASL PLAIN sends it."""
    yield secret
    for before in ("", "\0", "restore-worker\0", "\0restore-worker\0"):
        yield base64.b64encode((before + secret).encode()).decode().rstrip("=")[:-1]


def assert_clean(said: Mapping[str, str], secret: str) -> None:
    leaks = {where: text for where, text in said.items() if any(form in text for form in forms(secret))}
    assert not leaks
    assert all(said.values()), "each has said something"


def ask(words: Sequence[str], variables: Mapping[str, str], directory: Path, before: str = "") -> str:
    """All that a command writes."""
    done = subprocess.run(
        [sys.executable, "-c", before + COMMAND, *words],
        env={**os.environ, **variables, "RESTORE_PROJECTOR_LOG__LEVEL": "debug"},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return f"{done.stdout}{done.stderr}exit code {done.returncode}"


def fetch(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def pages(worker: WorkerProcess) -> dict[str, str]:
    port = wait_until(lambda: worker.said("http_listening"), LOGGED_WITHIN_S, worker.last_words)[0]["port"]
    return {path: fetch(port, path) for path in ("/metrics", "/readyz", "/livez")}


@pytest.fixture
def opening(doors: Doors, locked_redis: LockedRedis) -> Settings:
    return install(doors.kafka("SASL_TLS", password=PASSWORD), locked_redis.settings())


@pytest.fixture
def planted(doors: Doors, locked_redis: LockedRedis) -> Settings:
    """The password of the key opens it, as a wrong one is a wrong setting; the others open nothing."""
    kafka = doors.kafka(
        "SASL_TLS", password=MARKER, ssl_certfile=doors.client.certificate, ssl_keyfile=doors.client.guarded_key,
        ssl_password=PASSWORD,
    )  # fmt: skip
    return Settings(kafka=kafka, redis=locked_redis.settings(password=MARKER))


def test_a_worker_that_works_and_all_commands_keep_what_opens_the_doors(opening: Settings, tmp_path: Path) -> None:
    variables = environment(opening)
    worker = WorkerProcess(
        opening, tmp_path / "log", RESTORE_PROJECTOR_LOG__LEVEL="debug", RESTORE_PROJECTOR_HTTP__PORT="0"
    )
    worker.start()
    try:
        worker.wait_until_owning(1)
        said = pages(worker)
    finally:
        worker.kill()
    said |= {" ".join(words): ask(words, variables, tmp_path) for words in COMMANDS}

    assert_clean({**said, "log": worker.log.read_text()}, PASSWORD)


def test_wrong_passwords_are_in_no_complaint_also_when_they_come_from_files(planted: Settings, tmp_path: Path) -> None:
    """Both are refused, the key's password opens its key."""
    variables = dict(environment(planted))
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in [name for name in variables if name.endswith(("PASSWORD", "URL"))]:
        (secrets / name).write_text(variables.pop(name) + "\n")
    variables |= {
        "RESTORE_PROJECTOR_SECRETS_DIR": str(secrets),
        "RESTORE_PROJECTOR_REDIS__URL": "",
        "RESTORE_PROJECTOR_LOG__LEVEL": "debug",
    }
    del variables["RESTORE_PROJECTOR_HTTP__HOST"]
    worker = WorkerProcess(Settings(), tmp_path / "log", **variables, RESTORE_PROJECTOR_HTTP__PORT="0")
    worker.start()
    try:
        wait_until(lambda: worker.said("server_unreachable"), LOGGED_WITHIN_S, worker.last_words)
        said = pages(worker)
    finally:
        worker.kill()
    said |= {
        " ".join(words): ask(words, variables, tmp_path) for words in (["config"], ["config", "--json"], ["status"])
    }

    assert_clean({**said, "log": worker.log.read_text()}, MARKER)
    assert_clean(said, PASSWORD)
    # Which of the two is noticed first is up to the broker, which hangs up after having refused.
    message = worker.said("server_unreachable")[0]["message"]
    assert "Authentication failed" in message or "socket disconnected" in message


@pytest.mark.parametrize("words", [["run"], ["topics", "check"]])
@pytest.mark.parametrize("format", ["json", "console"])
def test_a_fault_that_nobody_foresaw_shows_its_traceback_without_what_the_frames_held(
    planted: Settings, tmp_path: Path, words: list[str], format: str
) -> None:
    variables = {**environment(planted), "RESTORE_PROJECTOR_LOG__FORMAT": format}

    said = ask(words, variables, tmp_path, BROKEN)

    assert "nobody has foreseen this" in said
    assert_clean({"traceback": said}, MARKER)
    assert_clean({"traceback": said}, PASSWORD)


@pytest.mark.parametrize(
    "wrong",
    [
        {"REDIS__URL": f"redis://worker:{MARKER}@cache:port/0"},
        {"REDIS__URL": f"http://worker:{MARKER}@cache/0"},
        {"REDIS__URL": f"redis://worker:{MARKER}@[cache/0"},
        {"REDIS__URL": f"redis://?password={MARKER}"},
        {"REDIS__URL": f"redis://cache/0?password={MARKER}&db=many"},
        {"KAFKA__SASL_PASSWORD": MARKER},
        {"KAFKA__SASL_PASWORD": MARKER},
        {"KAFKA__SSL_PASSWORD": MARKER, "HTTP__PORT": "many"},
    ],
)
def test_a_secret_in_a_wrong_setting_is_not_quoted(wrong: dict[str, str], tmp_path: Path) -> None:
    said = ask(["config"], {f"RESTORE_PROJECTOR_{name}": value for name, value in wrong.items()}, tmp_path)

    assert "exit code 2" in said
    assert_clean({"config": said}, MARKER)
