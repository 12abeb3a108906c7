"""Programs that check what is deployed: where they are, and running them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
TIMEOUT_S = 60.0


def command(name: str, comes_with: str) -> str:
    """The path of a program of this environment, else of the machine. Without it, the test is skipped; in CI it fails.

    `comes_with`: the package that brings it.
    """
    beside_python = Path(sys.executable).parent / name
    found = str(beside_python) if beside_python.exists() else shutil.which(name)
    return found or go_without(f"no {name} (it comes with {comes_with})")


def go_without(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def run(*words: str | Path, cwd: Path = ROOT, environment: Mapping[str, str] | None = None) -> str:
    """What a program prints; the test fails with it unless the program ends with 0."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=None if environment is None else {**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{words[0]} ended with {done.returncode}:\n{said}"
    return said
