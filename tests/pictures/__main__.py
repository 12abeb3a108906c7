"""The README's pictures of a terminal: what commands really say, on real servers under traffic, colours and all.

`make pictures` makes them anew. Kafka and Redis run as processes of this machine, with two workers and the traffic of
`simulate`; one restore besides is ours, whose record says completed while its operation failed. Nothing is put in but
the line that was typed.
"""

from __future__ import annotations

import io
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from contracts.facts import Entity
from tests.servers.waiting import wait_until
from tests.worker.cli.terminal import COMMAND, on_a_terminal
from worker.local import environment_of, servers_of_our_own, settings_for, worker_process
from worker.servers.choice import WAYS, prepare
from worker.servers.processes import ChildProcess
from worker.settings import PREFIX, Settings
from worker.sources import Data, SourceEvent, SourceProducer, input_record, operation_data, run_data
from worker.topics import create_topics

FOLDER: Final = Path(__file__).parents[2] / "docs" / "pictures"
PARTITIONS: Final = 4
WORKERS: Final = ("worker-1", "worker-2")
RATE: Final = "200"
"""Records a second: as many as two cores take easily with all of it on them."""
CHANGES: Final = "1500"
"""So many before the first picture: some seconds of traffic, and restores in every state."""
TENANT, RUN, OPERATION = "acme", "rr-7", "op-7"
PICTURES: Final[Mapping[str, tuple[int, tuple[str, ...]]]] = {
    "terminal.svg": (80, ("status", "watch --since 5s --at-least notice --max 12")),
    "explain.svg": (80, (f"explain {TENANT} {RUN}",)),
}
"""Each picture's columns, and the commands in it."""
WAIT_S: Final = 60.0
LINKED: Final = re.compile(r"@font-face \{\{.*?\n    \}\}\n", re.DOTALL)
"""Fonts that rich would have the picture fetch from elsewhere; without them it is shown in the reader's own."""


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with _under_traffic() as variables:
        for name, (columns, commands) in PICTURES.items():
            shown = "\n\n".join(_typed(command, columns, variables) for command in commands)
            (FOLDER / name).write_text(_picture(shown, columns, name.partition(".")[0]), encoding="utf-8")
            _say(f"wrote {FOLDER / name}")


@contextmanager
def _under_traffic() -> Iterator[Mapping[str, str]]:
    """An installation that is at work. Yields the variables with which commands find it."""
    stop = threading.Event()
    prepare(WAYS["local"], _say, stop)
    with ExitStack() as stack:
        settings = settings_for("local", stack.enter_context(servers_of_our_own("local", stop)))
        create_topics(settings, PARTITIONS, replication_factor=1)
        variables, folder = stack.enter_context(environment_of(settings))
        for name in WORKERS:
            instance = {f"{PREFIX}KAFKA__INSTANCE": name, f"{PREFIX}LOG__LEVEL": "warning"}
            stack.enter_context(worker_process(variables | instance, folder))
        _wait_until_well(variables)
        _send_ours(settings)
        traffic = ChildProcess(
            [COMMAND, "simulate", "--runs", "1000000", "--rate", RATE],
            folder / "traffic", directory=folder, environment=variables,
        )  # fmt: skip
        traffic.start()
        stack.callback(traffic.stop)
        on_a_terminal(80, variables, "watch", "--since", "1h", "--max", CHANGES)
        yield variables


def _wait_until_well(variables: Mapping[str, str]) -> None:
    wait_until(lambda: on_a_terminal(80, variables, "status").code == 0, WAIT_S, "each partition has an owner")


def _send_ours(settings: Settings) -> None:
    now = time.time_ns() // 1_000_000
    data: dict[tuple[Entity, str], Data] = {
        ("restore_run", RUN): run_data("completed", now, operation=OPERATION, counts={"total": 12, "succeeded": 12}),
        ("operation_run", OPERATION): operation_data("completed", "failed", started_at=now - 90_000, completed_at=now),
    }
    with closing(SourceProducer(settings.kafka, PARTITIONS)) as producer:
        for (entity, id), fields in data.items():
            event = SourceEvent(entity, TENANT, id, 1, fields, now)
            producer.send(input_record(event, "binary", settings.topic_names))
            producer.flush()


def _typed(command: str, columns: int, variables: Mapping[str, str]) -> str:
    """The line that was typed, and what was shown."""
    shown = on_a_terminal(columns, variables, *command.split())
    assert shown.code == 0, shown
    return "\n".join([f"\x1b[2m$\x1b[0m \x1b[1mrestore-projector {command}\x1b[0m", *shown.lines])


def _picture(shown: str, columns: int, name: str) -> str:
    console = Console(
        record=True, width=columns, file=io.StringIO(), force_terminal=True, highlight=False, legacy_windows=False
    )
    console.print(Text.from_ansi(shown))
    return console.export_svg(title="", code_format=LINKED.sub("", CONSOLE_SVG_FORMAT), unique_id=name)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
