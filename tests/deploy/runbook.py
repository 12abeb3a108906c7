"""deploy/runbook.md as a test reads it: sections, what is seen in each, what is typed, what is seen then.

A section begins with a heading of two hashes, a case within it with one of three. `**Seen as**` names alerts, the
condition of `status`, and events of the log. A block of text before the first commands is what `status` says then; one
behind commands is what the last of them shows. In it `…` stands for anything, a number for any number, a duration for
any duration; records are one or several.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.deploy.tools import DEPLOY
from tests.pages import anchor

PATH: Final = DEPLOY / "runbook.md"
PAGE: Final = PATH.read_text()

_BLOCK: Final = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HOLES: Final = re.compile(
    r"(?P<anything>…)"
    r"|(?P<duration>\d+ (?:ms|s|min|h|d)\b(?: \d+ (?:s|min|h)\b)?)"
    r"|(?P<records>\b[\d,]+ records (?:wait|cannot|are)\b)"
    r"|(?P<number>\d[\d,.:]*)"
    r"|(?P<blank>\s+)"
)
_FITS: Final = {
    "anything": r".*?",
    "duration": r"[\d.,]+ (?:ms|s|min|h|d)(?: \d+ (?:s|min|h))?",
    "number": r"\d[\d,.:]*",
    "blank": r"\s+",
}


@dataclass(slots=True)
class Step:
    """Lines of commands, typed one after the other, and what the last of them shows."""

    commands: list[str]
    seen: str = ""


@dataclass(slots=True)
class Case:
    """What `status` says, if it does, and what to type."""

    title: str
    looks: str = ""
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Section:
    """One page for the night. `alerts`: with their severity. `conditions`: labels of `status`."""

    title: str
    text: str
    alerts: dict[str, str]
    conditions: set[str]
    events: set[str]

    @property
    def anchor(self) -> str:
        return anchor(self.title)

    @property
    def cases(self) -> list[Case]:
        """Those of three hashes; a section without any is one."""
        first, *others = re.split(r"^### (.+)$", self.text, flags=re.MULTILINE)
        if not others:
            return [_case(self.title, first)]
        return [_case(title, text) for title, text in zip(others[::2], others[1::2], strict=True)]

    def case(self, title: str) -> Case:
        (case,) = (case for case in self.cases if case.title == title)
        return case


def sections() -> Iterator[Section]:
    _, *parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        seen_as = _sentence(text, "Seen as")
        named, _, logged = seen_as.partition("log event")
        yield Section(
            title,
            text,
            dict(re.findall(r"`(RestoreProjector\w+)`, (critical|warning)", named)),
            set(re.findall(r"status `([^`]+)`", named)),
            set(re.findall(r"`([a-z_]+)`", re.split(r"\. [A-Z`]", logged)[0])),
        )


def _sentence(text: str, name: str) -> str:
    """The paragraph that begins with these words in bold."""
    found = re.search(rf"^\*\*{name}\*\*(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def has(section: Section, name: str) -> bool:
    return bool(re.search(rf"^\*\*{name}\b", section.text, re.MULTILINE))


def _case(title: str, text: str) -> Case:
    case = Case(title)
    for kind, block in _BLOCK.findall(text):
        if kind == "sh":
            case.steps.append(Step(_lines(block)))
        elif not case.steps:
            assert not case.looks, f"{title}: `status` says it in one block of text"
            case.looks = block
        else:
            assert not case.steps[-1].seen, f"{title}: one block of text behind commands"
            case.steps[-1].seen = block
    return case


def _lines(block: str) -> list[str]:
    """Commands, those on several lines in one."""
    return block.replace("\\\n", " ").splitlines()


def commands() -> Iterator[str]:
    """All that are printed, those that set names up first."""
    for kind, block in _BLOCK.findall(PAGE):
        if kind == "sh":
            yield from _lines(block)


def shows(said: str, printed: str) -> bool:
    """Whether what is printed is there, however it is spaced."""
    return re.search(_pattern(printed.strip()), said, re.DOTALL) is not None


def _pattern(printed: str) -> str:
    pattern, at = "", 0
    for hole in _HOLES.finditer(printed):
        pattern += re.escape(printed[at : hole.start()]) + _fits(hole)
        at = hole.end()
    return pattern + re.escape(printed[at:])


def _fits(hole: re.Match[str]) -> str:
    assert hole.lastgroup is not None
    if hole.lastgroup == "records":
        return rf"[\d,]+ records? {hole[0].rpartition(' ')[2]}s?"
    return _FITS[hole.lastgroup]


SECTIONS: Final = {section.title: section for section in sections()}
