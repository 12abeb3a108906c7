"""`restore-projector dev` as a process, and that nothing of it is left."""

from __future__ import annotations

import os
import re
import signal
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from tests.servers.waiting import wait_until
from worker.settings import PREFIX

COMMAND: Final = str(Path(sys.executable).with_name("restore-projector"))
WAIT_S: Final = 40.0
READY: Final = "Ctrl-C ends all of it."


class Dev:
    """A `restore-projector dev`, its temporary files in a folder of the test's own."""

    def __init__(self, directory: Path, *options: str, **settings: str) -> None:
        self._out, self._err, self.temporary = directory / "out", directory / "err", directory / "temporary"
        self.temporary.mkdir()
        others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = psutil.Popen(
                [COMMAND, "dev", *options],
                env={**others, "TMPDIR": str(self.temporary), **settings}, stdout=out, stderr=err, cwd=directory,
            )  # fmt: skip
        self._started: list[psutil.Process] = []

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_until_ready(self) -> None:
        self.wait_for(READY)
        self._started = self.process.children(recursive=True)

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.out or self.process.poll() is not None, WAIT_S, lambda: self.out + self.err)
        assert text in self.out, self.out + self.err

    def wait_for_process(self, word: str) -> psutil.Process:
        """One that it has started with this word in its command line."""

        def find() -> psutil.Process | None:
            assert self.process.poll() is None, self.out + self.err
            return next((p for p in self.process.children(recursive=True) if word in _words(p)), None)

        found = wait_until(find, WAIT_S, lambda: f"{word} runs: {self.out}{self.err}")
        assert found is not None
        self._started = self.process.children(recursive=True)
        return found

    def worker(self) -> psutil.Process:
        found = re.search(r"The worker runs, process (\d+)", self.out)
        assert found is not None
        return psutil.Process(int(found[1]))

    def health(self, path: str) -> bytes:
        address = re.search(r"(http://127\.0\.0\.1:\d+)/readyz", self.out)
        assert address is not None
        with urllib.request.urlopen(address[1] + path, timeout=5) as answer:
            body: bytes = answer.read()
        return body

    def exports(self) -> dict[str, str]:
        return dict(re.findall(r"export (\w+)=(\S+)", self.out))

    def ends(self, number: signal.Signals | None = None) -> int:
        """Its exit code, after a signal if one is given. Nothing that it started may be left."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(WAIT_S)
        assert [p for p in self._started if runs(p)] == []
        assert list(self.temporary.iterdir()) == []
        return int(code)

    def kill(self) -> None:
        """End it and what it started, whatever state it is in."""
        if self.process.poll() is None:
            self._started = [*self.process.children(recursive=True), self.process]
        for process in self._started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def dev(directory: Path, *options: str, **settings: str) -> Iterator[Dev]:
    started = Dev(directory, *options, **settings)
    try:
        yield started
    finally:
        started.kill()
