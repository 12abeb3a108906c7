"""The environment that a file gives a worker: would the worker take it?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from worker.settings import PREFIX, Settings, load_settings


def taken(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, empty: Path) -> Settings:
    """The settings of a worker that has these variables and no others. Raises ConfigurationError.

    `empty`: a folder without `.env`.
    """
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(empty)
    return load_settings()
