"""Who types what the runbook says, and looks whether there is to be seen what it says.

`restore-projector` runs in this process, where a second can be made to count as late; Kafka's tools and redis-cli are
the real ones; kubectl is `tests.deploy.pods`. Names that the runbook leaves open ($TOPIC) are the test's; the topics'
prefix, addresses and group are the installation's. Questions are answered with yes.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import Template
from typing import Final

from tests.deploy.kafka_tools import CLASSES, run_tool
from tests.deploy.pods import Pods
from tests.deploy.runbook import SECTIONS, Case, Step, shows
from tests.deploy.tools import TIMEOUT_S, command
from tests.servers.waiting import wait_until
from tests.worker.cli.conftest import Command, Typed
from worker.settings import Settings

WAIT_S: Final = 30.0
STATUS: Final = "restore-projector status"
LOOKS: Final = (
    STATUS, "restore-projector explain", "restore-projector deadletters list", "restore-projector deadletters show",
    "restore-projector topics check", "kubectl get", "kubectl logs", "kubectl rollout status",
)  # fmt: skip
"""What is typed again until it shows what it should: it changes nothing. So does whatever describes."""
FOUND_SOMETHING: Final = {0, 1, 3}
"""Exit codes of a command that looks, 3 of `status` without Redis. 2 would be that it was typed wrongly."""
_TOPIC: Final = re.compile(r"\brestore\.(?=(?:restore|operation|evidence|projection|decision)[a-z.-]+\.v1)")


@dataclass(frozen=True, slots=True)
class Said:
    code: int
    text: str


class Typist:
    """Somebody at a terminal of an installation."""

    def __init__(self, command: Command, pods: Pods, settings: Settings, names: Mapping[str, object]) -> None:
        self._command = command
        self._pods = pods
        self._settings = settings
        self.names: dict[str, object] = {
            "BOOTSTRAP": settings.kafka.bootstrap_servers,
            "GROUP": settings.kafka.group_id,
            "REDIS": settings.redis.url.get_secret_value(),
            **names,
        }

    def takes(self, title: str, case: str | None = None) -> None:
        """All of a section, or of one of its cases, from how it looks to how it should be in the end."""
        found = self.case(title, case)
        self.sees(found)
        for step in found.steps:
            self.types(step)

    def case(self, title: str, case: str | None = None) -> Case:
        section = SECTIONS[title]
        return section.case(title if case is None else case)

    def sees(self, case: Case) -> None:
        """`status` says what the section says that it does."""
        if case.looks:
            self._until_shown(lambda: self._say(STATUS), case.looks, STATUS)

    def types(self, step: Step) -> None:
        *others, last = step.commands
        for line in others:
            self._say(line)
        if step.seen and _is_look(last):
            self._until_shown(lambda: self._say(last), step.seen, last)
        else:
            said = self._say(last)
            assert shows(said.text, self._ours(step.seen)), f"{last} shows\n{step.seen}\nnot\n{said.text}"

    def is_well(self) -> None:
        self._until_shown(lambda: self._say(STATUS), "All is well: …", STATUS)

    def _until_shown(self, say: Callable[[], Said], printed: str, what: str) -> None:
        said = Said(0, "")

        def shown() -> bool:
            nonlocal said
            said = say()
            return shows(said.text, self._ours(printed))

        wait_until(shown, WAIT_S, lambda: f"{what} shows\n{printed}\nnot\n{said.text}")

    def _say(self, line: str) -> Said:
        words = [Template(word).substitute(self.names) for word in shlex.split(self._ours(line))]
        said = self._run(*words)
        fine = FOUND_SOMETHING if words[0] == "restore-projector" else {0}
        assert said.code in fine, f"{line} ended with {said.code}:\n{said.text}"
        return said

    def _run(self, program: str, *words: str) -> Said:
        if program == "restore-projector":
            return self._run_ours(words)
        if program == "kubectl":
            return Said(0, self._pods.kubectl([*words]))
        ended = run_tool(program, words) if program in CLASSES else _run(program, *words)
        return Said(ended.returncode, ended.stdout + ended.stderr)

    def _run_ours(self, words: tuple[str, ...]) -> Said:
        """`> FILE` is as in a shell: what goes there is not seen."""
        into_a_file = ">" in words
        given = words[: words.index(">")] if into_a_file else words
        done = self._command(*given, stdin=Typed("y\n"))
        return Said(done.code, done.err if into_a_file else done.out + done.err)

    def _ours(self, text: str) -> str:
        return _TOPIC.sub(f"{self._settings.topics.prefix}.", text)


def _is_look(line: str) -> bool:
    return line.startswith(LOOKS) or " --describe" in line


def _run(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    assert program == "redis-cli", f"the runbook types {program}"
    path = command(program, "Debian's package redis-tools")
    return subprocess.run([path, *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
