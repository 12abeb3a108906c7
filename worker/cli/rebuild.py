"""`rebuild`: drop the store's copy and have it restored from Kafka."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from contracts.printable import printable
from worker.cli.orders import Actor, DryRun, Reason, Yes, ask, interrupted, say
from worker.cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from worker.operators.rebuild import Lost, Progress, Standing
    from worker.operators.redo_log import RedoLog
    from worker.ports import Ends
    from worker.reading import StoreReader
    from worker.settings import Settings

LEFT: Final = "what was ordered is carried out all the same; `restore-projector status` shows how far it is"


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: restore-projector rebuild --partition 3")(rebuild)


Partitions = Annotated[
    list[int],
    typer.Option(
        "--partition", min=0, help="Only this partition; may come several times. Else all.", show_default=False
    ),
]


def rebuild(
    *,
    partition: Partitions = [],  # noqa: B006  typer's way to say that an option may come several times
    reason: Reason = "",
    actor: Actor = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Drop what Redis holds of partitions and have it restored from Kafka by the workers that own them.

    Nothing is lost: all of it is in the two compacted topics. Until a partition is ready again readers are told
    "restoring", nothing of it is decided, and what comes in waits; other partitions go on, but for a moment in which
    their worker takes over again. Kafka is not written to.

    It waits until all are ready. Ctrl-C ends the waiting only: what was ordered is carried out, as soon as a worker has
    the partition. Exit code 1 when Redis has forgotten an order.
    """
    from worker.operators.orders import whoami
    from worker.operators.rebuild import partitions_words
    from worker.operators.redo_log import RedoLog
    from worker.reading import StoreReader
    from worker.settings import load_settings

    settings = load_settings()
    who = printable(f"{actor or whoami()}{': ' if reason else ''}{reason}")
    with RedoLog(settings) as log, StoreReader(settings.redis) as store:
        numbers = chosen(log, partition)
        before = _look(settings, store, numbers)
        if dry_run:
            _show(before, log.ends(numbers), json=json)
            return
        ask(f'Restore {partitions_words(numbers)} in full? Readers are told "restoring" meanwhile.', yes=yes)
        _rebuild(settings, log, store, before, who, json=json)


def chosen(log: RedoLog, partitions: Sequence[int]) -> list[int]:
    """The partitions that were named, all of them if none was; exit code 2 for one that there is not."""
    count, _ = log.describe()
    for number in partitions:
        if number >= count:
            raise typer.BadParameter(f"{number}: expected a partition from 0 to {count - 1}", param_hint="--partition")
    return sorted(set(partitions)) or list(range(count))


def _look(settings: Settings, store: StoreReader, numbers: Sequence[int]) -> dict[int, Standing]:
    from worker.operators.rebuild import read_all

    return read_all(store, settings.redis.namespace, numbers)


def _rebuild(
    settings: Settings, log: RedoLog, store: StoreReader, before: Mapping[int, Standing], who: str, *, json: bool
) -> None:
    began = time.monotonic()
    with interrupted(lambda: LEFT), progress_bar("restoring") as tell:
        lost = order_and_wait(settings, log, store, before, who, tell)
    seconds = round(time.monotonic() - began, 1)
    for one in lost:
        say(
            f"partition {one.partition}: Redis is of generation {one.generation} again, as before the order:"
            " it has gone back; order it anew"
        )
    after = _look(settings, store, list(before))
    rows = [_row(number, before[number], after[number]) for number in before]
    if json:
        print_json({"seconds": seconds, "ordered_by": who, "partitions": rows})
    else:
        done = len(before) - len(lost)
        print(f"{done} of {len(before)} partition{'' if len(before) == 1 else 's'} restored in {seconds:g} s.")
    if lost:
        raise typer.Exit(1)


def order_and_wait(
    settings: Settings, log: RedoLog, store: StoreReader, before: Mapping[int, Standing], who: str, tell: Tell
) -> list[Lost]:
    """Order these partitions, which stand so, to be restored, and wait until they are."""
    from worker.fitness import nodes_of
    from worker.operators.rebuild import Waiter, order_rebuild
    from worker.redis import RedisStore

    with nodes_of(settings.redis) as nodes:
        order_rebuild(RedisStore(nodes, settings.redis.namespace, settings.redis.address), before, who)
    return Waiter(store, log, settings.redis.namespace, tell).wait(before)


def _row(number: int, before: Standing, after: Standing) -> dict[str, Any]:
    return {
        "partition": number,
        "generation_before": before.generation,
        "generation": after.generation,
        "status": after.stage,
    }


def _show(before: Mapping[int, Standing], ends: Mapping[int, Ends], *, json: bool) -> None:
    rows = [
        {
            "partition": number,
            "status": standing.stage,
            "generation": standing.generation,
            "records_to_read": ends[number].high_state
            - ends[number].low_state
            + ends[number].high_internal
            - ends[number].low_internal,
        }
        for number, standing in before.items()
    ]
    if json:
        print_json(rows)
    else:
        columns = ("partition", "is", "generation", "records to read, at most")
        print_table(columns, [(*list(row.values())[:3], f"{row['records_to_read']:,}") for row in rows])


class Tell:
    """Shows how far restores have come: a bar on a terminal, and in any case what is waited for."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar = bar
        self._task = task
        self._told = ""

    def __call__(self, progress: Mapping[int, Progress], note: str) -> None:
        ready = sum(p.stage == "ready" for p in progress.values())
        self._bar.update(
            self._task,
            total=sum(p.total for p in progress.values()),
            completed=sum(p.read for p in progress.values()),
            ready=f"{ready} of {len(progress)} partitions",
        )
        if note and note != self._told:
            say(note)
        self._told = note


@contextmanager
def progress_bar(what: str) -> Iterator[Tell]:
    """A bar of records on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("records, {task.fields[ready]}"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield Tell(bar, bar.add_task("", total=None, ready=""))
