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
from dataclasses import dataclass
from pathlib import Path

from tests.servers.ports import ServerUnavailable

NEEDED_JAVA = 17
DOWNLOAD_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Jars:
    """What a pom.xml names, and all that this needs to run. `product` is what messages call it, `name` the folder."""

    product: str
    name: str
    pom: Path

    def unavailable(self) -> str | None:
        """Why it can't be run here, or None if it can."""
        why_not = _java_unavailable()
        if why_not is not None:
            return f"{why_not} ({self.product} needs Java {NEEDED_JAVA} or later)"
        if not self._cached.exists() and shutil.which("mvn") is None:
            return f"no mvn to fetch {self.product}"
        return None

    def command(self, *arguments: str | Path) -> list[str]:
        """Java with these jars; fetches them if need be. Raises ServerUnavailable."""
        # The serial collector has the fewest threads, and the heap is small.
        words = [_java_binary(), "-XX:+UseSerialGC", "-Xshare:auto", "-cp", f"{_fetched(self)}/*", *arguments]
        return [str(word) for word in words]

    @property
    def _cached(self) -> Path:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        digest = hashlib.sha256(self.pom.read_bytes()).hexdigest()[:8]
        return cache / "restore-projector" / f"{self.name}-{digest}"


def version_in(pom: Path, artifact: str) -> str:
    """The version of an artifact that a pom.xml names."""
    found = re.search(rf"<artifactId>{re.escape(artifact)}</artifactId>\s*<version>([^<]+)", pom.read_text())
    assert found is not None, f"{pom.name} names no {artifact}"
    return found[1]


def _java_binary() -> str:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else "java"


@functools.cache
def _java_unavailable() -> str | None:
    java = shutil.which(_java_binary())
    if java is None:
        return "no java"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < NEEDED_JAVA:
        return f"java is {said.splitlines()[:1]}"
    return None


@functools.cache
def _fetched(jars: Jars) -> Path:
    """The folder of the jars, fetched if need be: whole or not at all, and by one process only."""
    folder = jars._cached
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                _download(jars, Path(scratch) / "jars")
                (Path(scratch) / "jars").rename(folder)
    return folder


def _download(jars: Jars, into: Path) -> None:
    done = subprocess.run(
        [
            "mvn", "--quiet", "--batch-mode", "--file", str(jars.pom), "dependency:copy-dependencies",
            f"-DoutputDirectory={into}", "-DincludeScope=runtime",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_TIMEOUT_S,
        check=False,
    )  # fmt: skip
    if done.returncode != 0 or not into.exists():
        raise ServerUnavailable(f"mvn could not fetch {jars.product}: {(done.stdout + done.stderr)[-2000:]}")
