"""A process without settings: no variables of ours, no `.env` file, logging as it was."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from worker.settings import PREFIX


def without_settings(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Forget the settings of whoever runs the tests, and work in an empty directory."""
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(directory)


@contextmanager
def logging_restored() -> Iterator[None]:
    """Undo what configuring logs does to the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in root.manager.loggerDict}
    try:
        yield
    finally:
        root.handlers, root.level = handlers, level
        for name in list(root.manager.loggerDict):
            logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
