"""`status`: how the installation is, seen from outside."""

from __future__ import annotations

import json as jsons
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

import typer

from contracts.printable import printable_json
from worker.cli.output import Json, print_json

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.status.report import Report

LOOK_AGAIN_S: Final = 1.0
LOOKS: Final = 6
"""How often at most a partition is looked at that is late, to see whether it moves: a slow one does within seconds."""


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: restore-projector status || restore-projector status --json")(status)


Watch = Annotated[bool, typer.Option("--watch", help="Go on looking until Ctrl-C.")]
Every = Annotated[float, typer.Option(min=0.5, max=3600, help="Seconds between looks, with --watch.")]
Overdue = Annotated[bool, typer.Option("--overdue", help="List the restores that have been unfinished for too long.")]
Limit = Annotated[int, typer.Option("--max", min=1, max=100_000, help="With --overdue: so many at most.")]


def status(
    *,
    watch: Watch = False,
    every: Every = 2.0,
    overdue: Overdue = False,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """Say how it is: for each partition who has it, how far it is behind, and what is wrong with it.

    It is looked at from outside, in Kafka and Redis, so it does not matter whether workers answer. What lags is counted
    in records (markers of transactions included) and in seconds that the oldest of them has waited. `store` is the next
    offset of decision-state and of internal that Redis does not have, and by how many records that is behind.

    Exit code 1 when something is wrong: a partition that is not well, an open dead letter; with --overdue when there is
    a restore to list. 3 when Kafka or Redis cannot be reached; what the other one says is shown all the same.
    """
    from worker.settings import load_settings

    settings = load_settings()
    if overdue:
        raise typer.Exit(1 if _list_overdue(settings, limit, json=json) else 0)
    if watch:
        with suppress(KeyboardInterrupt):
            _watch(settings, every, json=json)
        return
    report = _look(settings)
    if json:
        from worker.cli.status_screen import as_json

        print_json(as_json(report))
    else:
        from worker.cli.status_screen import print_report

        print_report(report)
    raise typer.Exit(exit_code(report))


def exit_code(report: Report) -> int:
    """0 all is well, 1 something is wrong, 3 Redis cannot be reached."""
    if report.survey.store_error is not None:
        return 3
    return 0 if report.well else 1


def _look(settings: Settings) -> Report:
    """One report. What is late or restores is looked at more than once, as only then it is known whether it moves."""
    from worker.status.lookout import Lookout

    with Lookout(settings) as lookout:
        report = lookout.look()
        for _ in range(LOOKS - 1):
            if not any(row.undecided for row in report.rows):
                break
            time.sleep(LOOK_AGAIN_S)
            report = lookout.look()
    return report


def _watch(settings: Settings, every: float, *, json: bool) -> None:
    from worker.cli.status_screen import WatchScreen, as_json

    if json:
        for report in _reports(settings, every):
            if report is not None:
                print(printable_json(jsons.dumps(as_json(report), ensure_ascii=False)), flush=True)
        return
    with WatchScreen() as screen:
        for report in _reports(settings, every):
            screen.show(report)


def _reports(settings: Settings, every: float) -> Iterator[Report | None]:
    """A report every so often, for ever; None while Kafka is away."""
    from worker.errors import KafkaUnreachable
    from worker.status.lookout import Lookout

    with Lookout(settings) as lookout:
        while True:
            try:
                yield lookout.look()
            except KafkaUnreachable:
                yield None
            time.sleep(every)


def _list_overdue(settings: Settings, limit: int, *, json: bool) -> bool:
    """Print them; whether there are any. Raises as `partition_count`, and RedisUnreachable."""
    from worker.cli.status_screen import overdue_json, print_overdue
    from worker.overdue import oldest
    from worker.reading import StoreReader, partition_count

    now = time.time_ns() // 1_000_000
    with StoreReader(settings.redis) as store:
        runs = store.ask(
            lambda nodes: oldest(
                nodes, settings.redis.namespace, range(partition_count(settings)), settings.overdue, now, limit
            )
        )
    if json:
        print_json([overdue_json(run, now) for run in runs])
    else:
        print_overdue(runs, now)
    return bool(runs)
