"""What is shipped works where nothing of ours is: the wheel, in an empty environment, with the locked dependencies."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("contracts", "projections", "worker")
COMMAND_TIMEOUT_S = 60.0

FACTS: dict[str, object] = {
    "restore_run": {"id": "rr-1", "tenant_id": "t-1", "status": "draft", "is_dry_run": False},
    "operation_run": None,
    "evidence_snapshots": [],
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build folder left in the checkout could bring back what was deleted."""
    source = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.glob("*.*"):
        if file.name == "pyproject.toml" or file.suffix == ".md":
            shutil.copy(file, source)
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(source / "dist"), str(source))
    (built,) = (source / "dist").glob("restore_projector-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed in an environment of its own."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    pip = (str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "--require-hashes", "--requirement", str(ROOT / "requirements" / "run.txt"), timeout_s=150)
    _run(*pip, "--no-deps", "--no-index", str(wheel))
    return environment / "bin" / "restore-projector"


@pytest.mark.parametrize("name", ["run.txt", "build.txt", "dev.txt"])
def test_locked_requirements_have_hashes_and_name_no_index(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    pinned = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert pinned
    assert all("==" in line and line.endswith("\\") for line in pinned), "a line without a hash"


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    expected = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert shipped == expected


def test_the_installed_command_tells_its_version(installed: Path) -> None:
    assert _run(str(installed), "--version").strip().endswith("0.1.0")


def test_the_installed_command_decides_without_a_server(installed: Path) -> None:
    document = json.loads(_run(str(installed), "decide", "-", stdin=json.dumps(FACTS)))
    assert document["state"] == "not_executed"
    assert document["restore_run_id"] == "rr-1"


def test_the_installed_dependencies_agree_with_each_other(installed: Path) -> None:
    _run(str(installed.parent / "python"), "-m", "pip", "check")


def _run(*command: str, stdin: str = "", timeout_s: float = COMMAND_TIMEOUT_S) -> str:
    """What the command prints; it runs outside the checkout, so that nothing is imported from there."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout_s, cwd=Path("/"), check=False
    )
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout
