"""The command line in this process: arguments and standard input in; exit code, output and errors out."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from tests.worker.clean import logging_restored, without_settings
from worker.cli import main


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Typed(str):
    """Standard input that somebody types at a terminal, so that questions are asked."""

    __slots__ = ()


class _Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


class Command(Protocol):
    """The fixture `command`."""

    def __call__(self, *arguments: str, stdin: str = "") -> Result: ...


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Command]:
    without_settings(monkeypatch, tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str, stdin: str = "") -> Result:
        given = _Terminal if isinstance(stdin, Typed) else io.BytesIO
        monkeypatch.setattr(sys, "argv", ["restore-projector", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given(stdin.encode())))
        with pytest.raises(SystemExit) as end:
            main()
        code = end.value.code or 0
        assert isinstance(code, int)
        return Result(code, *capsys.readouterr())

    with logging_restored():
        yield run
