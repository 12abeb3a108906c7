"""What the pages say of the program and of each other, for tests that compare it with what is there."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from worker.cli.app import app


def dead_links(path: Path) -> list[str]:
    """Links of a page to files and sections that are not there."""
    page = path.read_text()
    return [link for link in re.findall(r"\]\((?!https?://)([^)]+)\)", page) if not _is_there(link, path)]


def _is_there(link: str, path: Path) -> bool:
    target, _, section = link.partition("#")
    there = path.parent / target if target else path
    return there.exists() and (not section or section in _sections(there))


def anchor(title: str) -> str:
    """Of a heading, as those who show the page make it."""
    return re.sub(r"\W+", "-", title.lower())


def _sections(path: Path) -> set[str]:
    return {anchor(title) for title in re.findall(r"^##+ (.+)$", path.read_text(), re.MULTILINE)}


def commands_listed(page: str) -> set[str]:
    """The commands in the first column of a page's table, without arguments."""
    cells = re.findall(r"^\| (`.*?) \|", page.partition("| command |")[2].partition("\n\n")[0], re.MULTILINE)
    return {re.sub(r" [A-Z].*", "", name) for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def commands_there() -> set[str]:
    commands = getattr(get_command(app), "commands")  # noqa: B009  click's group, which typer does not type
    return {
        f"{name} {inner}".strip()
        for name, command in commands.items()
        for inner in getattr(command, "commands", {"": None})
    }
