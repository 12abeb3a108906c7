"""Servers that run on Java: their jars, by Maven into a cache folder, and the command that runs them."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from worker.servers.errors import ServerFailed, ServerUnavailable
from worker.servers.processes import run_to_end, wait_until

NEEDED_JAVA: Final = 17
DOWNLOAD_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Jars:
    """What a pom.xml names, and all that this needs to run. `product` is what messages call it, `name` the folder."""

    product: str
    name: str
    pom: Path

    @property
    def folder(self) -> Path:
        """Where they are kept; another pom.xml has another folder."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        digest = hashlib.sha256(self.pom.read_bytes()).hexdigest()[:8]
        return cache / "restore-projector" / f"{self.name}-{digest}"

    @property
    def fetched(self) -> bool:
        return self.folder.exists()

    def unavailable(self) -> str | None:
        """Why it can't be run here, or None if it can, be it that the jars are fetched first."""
        why_not = _java_unavailable()
        if why_not is not None:
            return f"{why_not} ({self.product} needs Java {NEEDED_JAVA} or later)"
        if not self.fetched and shutil.which("mvn") is None:
            return f"no mvn to fetch {self.product}"
        return None

    def fetch(self, stop: threading.Event | None = None) -> None:
        """Have the jars in the folder: whole or not at all, and fetched by one process only.

        Raises ServerUnavailable, StartInterrupted.
        """
        if self.fetched:
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.folder.parent / f"{self.folder.name}.lock", stop):
                if not self.fetched:
                    self._download(stop)
        except OSError as error:
            raise ServerUnavailable(f"{self.folder.parent} can't hold {self.product}: {error.strerror}") from error

    def command(self, *arguments: str | Path) -> list[str]:
        """Java with these jars; fetches them if need be. Raises ServerUnavailable."""
        self.fetch()
        # The serial collector has the fewest threads, and the heap is small.
        words = [_java_binary(), "-XX:+UseSerialGC", "-Xshare:auto", "-cp", f"{self.folder}/*", *arguments]
        return [str(word) for word in words]

    def _download(self, stop: threading.Event | None) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as scratch:
            jars, log = Path(scratch, "jars"), Path(scratch, "mvn.log")
            command = [
                "mvn", "--quiet", "--batch-mode", "--file", str(self.pom), "dependency:copy-dependencies",
                f"-DoutputDirectory={jars}", "-DincludeScope=runtime",
            ]  # fmt: skip
            try:
                run_to_end(command, log, DOWNLOAD_TIMEOUT_S, "mvn", stop)
            except ServerFailed as error:
                raise ServerUnavailable(f"mvn could not fetch {self.product}\n{error}") from error
            jars.rename(self.folder)


def version_in(pom: Path, artifact: str) -> str:
    """The version of an artifact that a pom.xml names."""
    found = re.search(rf"<artifactId>{re.escape(artifact)}</artifactId>\s*<version>([^<]+)", pom.read_text())
    assert found is not None, f"{pom.name} names no {artifact}"
    return found[1]


@functools.cache
def java_version() -> str | None:
    """The major version of this machine's Java, "17" say, "1" before 9; None without any."""
    java = shutil.which(_java_binary())
    if java is None:
        return None
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603  asked, not told
    version = re.search(r'version "(\d+)', said)
    return version[1] if version else "of unknown version"


def _java_binary() -> str:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else "java"


def _java_unavailable() -> str | None:
    version = java_version()
    if version is None:
        return "no java"
    if not version.isdecimal() or int(version) < NEEDED_JAVA:
        return f"java is {version}"
    return None


@contextmanager
def _locked(file: Path, stop: threading.Event | None) -> Iterator[None]:
    """Alone among processes; waits for another one that has the lock."""
    with file.open("w") as lock:
        wait_until(lambda: _takes(lock), DOWNLOAD_TIMEOUT_S, lambda: f"another process still holds {file}", stop)
        yield


def _takes(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
