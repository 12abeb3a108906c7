"""Every file of deploy/ is told of, well-formed, and where it is said to be."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.tools import DEPLOY, ROOT, command, run

README = DEPLOY / "README.md"
YAML = sorted(path for path in DEPLOY.rglob("*.yaml") if "templates" not in path.parts and not path.is_symlink())


@pytest.mark.parametrize("path", [*YAML, Path(__file__).parent / "alerts.test.yaml"], ids=lambda path: path.name)
def test_yaml_is_tidy(path: Path) -> None:
    run(command("yamllint", "the wheel of that name"), "--strict", "-c", Path(__file__).parent / "yamllint.yaml", path)


def test_the_shell_understands_the_script() -> None:
    run("sh", "-n", DEPLOY / "acl" / "kafka-acls.sh")


def test_the_readme_tells_of_every_file_and_of_no_other() -> None:
    """Of the chart as a whole."""
    text = README.read_text()
    for path in DEPLOY.iterdir():
        if path != README:
            assert f"{path.name}" in text, path.name
    for name in re.findall(r"`(deploy/[^` ]+)`", text):
        assert (ROOT / name).exists(), name


def test_nothing_that_is_deployed_names_a_machine_or_holds_a_password() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not re.search(r"/(home|root|work)/", text), path
            assert not re.search(r"://[^/\s:@]+:[^@\s/]+@", text.replace("user:password@", "")), path
