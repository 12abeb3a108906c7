"""PostgreSQL as child processes: a cluster of its own in a folder of its own, on loopback, with logical decoding.

Debian's package puts the programs outside the search path, by version; the newest is taken. PostgreSQL refuses to run
as root, so root runs it as another user.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from tests.servers.waiting import wait_until
from worker.servers.errors import ServerUnavailable
from worker.servers.processes import LOOPBACK, ChildProcess, free_port

DATABASE: Final = "platform"
OWNER: Final = "platform"
"""The superuser, who owns the tables."""
START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 20.0

_DEBIAN: Final = Path("/usr/lib/postgresql")
_UNPRIVILEGED: Final = ("postgres", "nobody")
"""Whom root runs it as: the package's own user, else nobody."""


class Postgres:
    """A cluster with one database, `platform`. Its data end with `close`."""

    def __init__(self, log_directory: Path) -> None:
        why_not = postgres_unavailable()
        if why_not:
            raise ServerUnavailable(why_not)
        self.name = f"{_version()} (local process)"
        self.port = free_port()
        self.password = secrets.token_hex(16)
        # Not in a test's own folder, which nobody else may enter.
        self.directory = Path(tempfile.mkdtemp(prefix="restore-projector-postgres-"))
        _give_away(self.directory)
        self._initialise()
        self.process = ChildProcess(
            [*_unprivileged(), *self._server()], log_directory / "postgres.log", directory=self.directory
        )

    def start(self) -> None:
        self.process.start()
        wait_until(self._answers, START_TIMEOUT_S, lambda: f"PostgreSQL answers\n{self.process.last_words()}")

    def stop(self) -> None:
        """End it whoever is connected ("fast"); SIGTERM would wait for them."""
        if self.process.alive:
            os.kill(self.process.pid, signal.SIGINT)
            self.process.stop(STOP_TIMEOUT_S)

    def kill(self) -> None:
        self.process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def sql(self, script: str, **variables: str) -> str:
        """Run SQL as the tables' owner, each statement by itself; returns the rows, columns separated by `|`.

        `variables` are psql's. Raises AssertionError with PostgreSQL's message.
        """
        options = [option for name, value in variables.items() for option in ("--set", f"{name}={value}")]
        done = subprocess.run(
            [*self._psql(), *options], input=script, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"PostgreSQL refuses: {done.stderr}\n{script}"
        return done.stdout.strip()

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """A session that stays open between statements, for transactions that are under way."""
        with subprocess.Popen(
            self._psql(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            text=True,
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            yield Session(process.stdin, process.stdout)
            process.stdin.close()

    def _initialise(self) -> None:
        password_file = self.directory / "password"
        password_file.write_text(self.password)
        _give_away(password_file)
        command = [
            *_unprivileged(), str(_binaries() / "initdb"), f"--pgdata={self.directory / 'data'}", f"--username={OWNER}",
            "--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C", "--no-sync",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"PostgreSQL's cluster could not be made:\n{done.stdout}{done.stderr}"
        password_file.unlink()

    def _server(self) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "wal_level": "logical",
            # Nothing here outlives the test.
            "fsync": "off",
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return [str(_binaries() / "postgres"), "-D", str(self.directory / "data"), *options]

    def _psql(self, database: str = DATABASE) -> list[str]:
        return [
            str(_binaries() / "psql"), "--no-psqlrc", "--quiet", "--tuples-only", "--no-align",
            "--set", "ON_ERROR_STOP=1", "--host", LOOPBACK, "--port", str(self.port), "--username", OWNER, database,
        ]  # fmt: skip

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "5"}

    def _answers(self) -> bool:
        """Whether it serves; makes the database when it does so for the first time."""
        assert self.process.alive, f"PostgreSQL ended:\n{self.process.last_words()}"
        make = (
            f"SELECT 'CREATE DATABASE {DATABASE}' WHERE NOT EXISTS "
            f"(SELECT FROM pg_database WHERE datname = '{DATABASE}') \\gexec"
        )
        done = subprocess.run(
            self._psql("postgres"), input=make, env=self._environment, capture_output=True, text=True, check=False
        )
        return done.returncode == 0


class Session:
    """One connection. Its statements run one after the other; `send` does not wait for one that may be held up."""

    def __init__(self, statements: IO[str], answers: IO[str]) -> None:
        self._statements = statements
        self._answers = answers

    def send(self, statement: str) -> None:
        self._statements.write(f"{statement}\n")
        self._statements.flush()

    def run(self, statement: str) -> str:
        """Run it, and whatever was sent before; returns what all that printed."""
        mark = f"done-{secrets.token_hex(4)}"
        self.send(f"{statement}\n\\echo {mark}")
        printed: list[str] = []
        for line in self._answers:
            if line.strip() == mark:
                return "".join(printed).strip()
            printed.append(line)
        raise AssertionError(f"PostgreSQL refuses: {''.join(printed)}\n{statement}")


@functools.cache
def postgres_unavailable() -> str | None:
    """Why PostgreSQL can't be run, or None if it can."""
    try:
        _binaries()
        _unprivileged()
    except ServerUnavailable as error:
        return str(error)
    return None


@functools.cache
def _binaries() -> Path:
    """The folder of the server's programs."""
    installed = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: float(path.parent.parent.name))
    if installed:
        return installed[-1].parent
    found = shutil.which("postgres")
    if found is None or not (Path(found).resolve().parent / "initdb").exists():
        raise ServerUnavailable("no postgres (on Debian: apt-get install postgresql)")
    return Path(found).resolve().parent


@functools.cache
def _version() -> str:
    said = subprocess.run([_binaries() / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"[\d.]+", said)
    return f"PostgreSQL {number[0] if number else 'of unknown version'}"


@functools.cache
def _other_user() -> pwd.struct_passwd | None:
    """Whom the server runs as; None: as us."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerUnavailable(f"PostgreSQL does not run as root, and there is no user {' or '.join(_UNPRIVILEGED)}")


def _unprivileged() -> list[str]:
    """What a command begins with so that it does not run as root; it still ends with whoever started it."""
    user = _other_user()
    if user is None:
        return []
    if shutil.which("setpriv") is None:
        raise ServerUnavailable("PostgreSQL does not run as root, and there is no setpriv to run it as another user")
    # A change of user takes back that a process ends with its parent (`ChildProcess`), so it is asked for again.
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig=KILL"]


def _give_away(path: Path) -> None:
    user = _other_user()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)
