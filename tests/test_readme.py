"""README.md: whoever types what it says sees what it says."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.pages import commands_listed, commands_there, dead_links
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer
from tests.servers.waiting import wait_until
from tests.worker.cli.dev_process import COMMAND, Dev, dev
from worker.servers.choice import WAYS, Kind
from worker.servers.local_kafka import JARS
from worker.settings import PREFIX

PATH: Final = Path(__file__).parent.parent / "README.md"
PAGE: Final = PATH.read_text()
TOUR: Final = PAGE.partition("## A tour of five minutes\n")[2].partition("\n## ")[0]
BLOCK: Final = re.compile(r"(.*?)^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PICTURES: Final = sorted((PATH.parent / "docs" / "pictures").glob("*.svg"))
WAIT_S: Final = 30.0


@dataclass(slots=True)
class Step:
    """What is typed in the second terminal, with what exit code it ends, and what is seen then, in which terminal."""

    typed: str
    exit_code: int
    seen: str = ""
    in_the_first: bool = False


def steps() -> Iterator[Step]:
    """A block of commands, and the block of text behind it if there is one."""
    step: Step | None = None
    for prose, kind, text in BLOCK.findall(TOUR):
        if kind == "text":
            assert step is not None
            assert not step.seen, "one block of text for one of commands"
            step.seen, step.in_the_first = text, "first terminal" in prose
        else:
            if step is not None:
                yield step
            step = Step(text, exit_code=1 if "exit code 1" in prose else 0)
    if step is not None:
        yield step


@pytest.fixture
def kind() -> Kind:
    """Of the servers: the most real ones that are to be had without containers."""
    if WAYS["local"].unavailable() is None:
        JARS.fetch()
        return "local"
    why_not = WAYS["embedded"].unavailable()
    if why_not is not None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why_not)
    return "embedded"


def test_the_tour_goes_as_it_is_printed(kind: Kind, tmp_path: Path) -> None:
    """But that `dev` is told which servers to take, and that this environment is in use already."""
    start, enter, *others = steps()
    assert (start.typed, enter.typed) == ("make dev ARGS=--watch\n", ". .venv/bin/activate\n")
    with dev(tmp_path, "--watch", "--servers", kind) as first:
        first.wait_until_ready()
        for step in others:
            take(step, first, tmp_path)
        assert "dead_letter" in first.err
        assert first.ends(signal.SIGINT) == 0


def take(step: Step, first: Dev, directory: Path) -> None:
    """Type it, and look until all is seen; who looks too early looks again."""
    said = ""

    def typed_and_seen() -> bool:
        nonlocal said
        done = type_in_a_second_terminal(step.typed, first, directory)
        said = done.stdout + done.stderr
        return done.returncode == step.exit_code and (step.in_the_first or shows(said, step.seen))

    wait_until(typed_and_seen, WAIT_S, lambda: f"{step.typed}\nshows\n{step.seen}\nnot\n{said}")
    if step.in_the_first:
        wait_until(lambda: shows(first.out, step.seen), WAIT_S, lambda: f"{step.seen}\nis in\n{first.out}")


def type_in_a_second_terminal(typed: str, first: Dev, directory: Path) -> subprocess.CompletedProcess[str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", typed],
        env={**others, "PATH": path, **first.exports()}, cwd=directory, capture_output=True, text=True, timeout=WAIT_S,
        check=False,
    )  # fmt: skip


def shows(said: str, lines: str) -> bool:
    """Whether these lines are there in this order, as they are or within longer ones, however they are spaced."""
    others = iter(" ".join(line.split()) for line in said.splitlines())
    return all(any(" ".join(line.rstrip("…").split()) in other for other in others) for line in lines.splitlines())


def test_make_dev_is_the_command_with_the_arguments_that_it_is_given() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "dev", "ARGS=--watch"],
        cwd=PATH.parent,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},  # of `make test`
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == ".venv/bin/restore-projector dev --watch"


def test_what_only_sends_is_typed_once() -> None:
    assert [step for step in steps() if "send.py" in step.typed and step.seen and not step.in_the_first] == []


def test_topics_are_made_as_it_says_and_fit(real_kafka: KafkaServer, space: Space) -> None:
    own = PAGE.partition("\n## Run it on your own")[2].partition("\n## ")[0]
    given = dict(re.findall(r"^export (\w+)=(\S+)", own, re.MULTILINE))
    assert given
    there = {f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS": real_kafka.bootstrap_servers, f"{PREFIX}TOPICS__PREFIX": space.prefix}
    create, check, run = re.findall(r"^restore-projector ([^#\n]*)", own, re.MULTILINE)
    for command in (create, check):
        done = subprocess.run(
            [COMMAND, *command.split()],
            env={**os.environ, **given, **there},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert run.split() == ["run"]


def test_every_command_is_named_and_no_other() -> None:
    assert commands_listed(PAGE) == commands_there()


def test_files_and_sections_that_are_named_are_there() -> None:
    assert dead_links(PATH) == []


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_is_shown_fetches_nothing_and_names_no_machine(picture: Path) -> None:
    drawn = picture.read_text()
    assert f"(docs/pictures/{picture.name})" in PAGE
    assert not re.search(r"url\((?!#)|href=|@import", drawn)
    words = re.split(r"[^\w.-]+", drawn)
    assert socket.gethostname() not in words
    assert not {"tmp", "home", "root"} & set(words)
