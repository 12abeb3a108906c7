"""A Dockerfile read as far as ours goes: its stages and their instructions, and what a build's context holds.

There is no engine here to build with, so the steps that matter are done outside of one, in a folder.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass(slots=True)
class Stage:
    """`name`: what later ones call it; None for the last. `instructions`: (INSTRUCTION, the rest of its lines)."""

    image: str
    name: str | None
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [rest for name, rest in self.instructions if name == instruction]

    def one(self, instruction: str) -> str:
        (rest,) = self.all(instruction)
        return rest

    def variables(self, instruction: str) -> dict[str, str]:
        """The NAME=value pairs of all ENV, LABEL or ARG instructions."""
        pairs = re.findall(r'([\w.]+)=(?:"([^"]*)"|(\S+))', " ".join(self.all(instruction)))
        return {name: quoted or plain for name, quoted, plain in pairs}


def stages(dockerfile: Path) -> list[Stage]:
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    found: list[Stage] = []
    for line in re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            image, _, name = rest.partition(" AS ")
            found.append(Stage(image, name or None))
        elif instruction and found:
            found[-1].instructions.append((instruction, rest.strip()))
    return found


def copy_context(root: Path, into: Path) -> None:
    """What `.dockerignore` lets through of a checkout: its patterns in order, the last that matches decides."""
    patterns = [line for line in (root / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    for path in _files(root):
        name = path.relative_to(root)
        if not _ignored(PurePosixPath(name), patterns):
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, into / name)


def _files(root: Path) -> Iterator[Path]:
    """All files, but for the environments and caches, which are large: their names begin with a dot."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".") or name in {".ci", ".git"}]
        yield from (Path(folder) / name for name in names)


def _ignored(name: PurePosixPath, patterns: list[str]) -> bool:
    ignored = False
    for pattern in patterns:
        if any(_matches(part, pattern.removeprefix("!")) for part in (name, *name.parents)):
            ignored = not pattern.startswith("!")
    return ignored


def _matches(name: PurePosixPath, pattern: str) -> bool:
    """A pattern names files and folders from the root, with `**/` in any."""
    if pattern.startswith("**/"):
        return fnmatch.fnmatch(name.name, pattern.removeprefix("**/"))
    same_depth = len(name.parts) == len(PurePosixPath(pattern).parts)
    return same_depth and fnmatch.fnmatch(str(name), pattern)
