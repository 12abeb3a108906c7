"""`verify`: Redis against Kafka against a fresh decision."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.printable import printable
from worker.cli.orders import Actor, Reason, Tenant, Yes, ask, interrupted, need_somebody, waiting_bar
from worker.cli.output import Json, print_json
from worker.cli.rebuild import Partitions, chosen

if TYPE_CHECKING:
    from worker.operators.redo_log import RedoLog
    from worker.operators.verify import Found, Tell
    from worker.reading import StoreReader
    from worker.settings import Settings

SHOWN = 20
"""Differences that a person is shown of each kind; --json has more."""


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: restore-projector verify --partition 3 --repair")(verify)


def verify(
    *,
    partition: Partitions = [],  # noqa: B006  typer's way to say that an option may come several times
    tenant: Tenant = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, max=100_000, help="Look at so many random runs only.", show_default=False),
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Cure what was found, and verify again.")] = False,
    reason: Reason = "",
    actor: Actor = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Hold Redis against the compacted topics, and every decision against a fresh one, beside running workers.

    Each key byte for byte, each place in an index, the position, the links between records; and of each run whether its
    document is what this version decides of the stored facts. What differs is named with its likely cause and what to
    do. It reads a partition after the other, and takes 150 bytes of memory for each key of the largest one.

    --sample N is a quick look at about N random runs, and whatever they name; it is exact only of tenants of which
    something seems wrong, as these are then verified in full. What is too much in Redis it does not find.

    --repair has partitions of Redis restored from Kafka where they differ (`rebuild`), and decisions taken again that
    are not what they should be (`recompute`), then verifies those partitions anew. What was found is shown first.

    Exit code 1 when something differs; with --repair when something still does.
    """
    from worker.operators.redo_log import RedoLog
    from worker.reading import StoreReader
    from worker.settings import load_settings

    if sample is not None and tenant is not None:
        raise typer.BadParameter("expected one of them: a tenant is verified in full", param_hint="--sample, --tenant")
    if repair and not yes:
        need_somebody("Repair what is found?")
    settings = load_settings()
    began = time.monotonic()
    with RedoLog(settings) as log, StoreReader(settings.redis) as store:
        numbers = _of_tenant(settings, log, tenant, partition) if tenant else chosen(log, partition)
        with interrupted(lambda: "ended before everything was compared; nothing was changed"):
            if sample is None:
                found = _verify(settings, log, store, numbers, tenant)
            else:
                found = _sample(settings, log, store, numbers, sample)
        with _shown(found, len(numbers), time.monotonic() - began, json=json) as show_left:
            left = found
            if repair and (found.broken or found.decisions):
                left = _repair(settings, log, store, found, tenant, _trail(reason, actor), yes=yes)
                show_left(left)
    raise typer.Exit(0 if left.clean else 1)


def _trail(reason: str, actor: str | None) -> Any:
    from worker.operators.orders import new_trail

    return new_trail(reason or "verify --repair", actor)


def _of_tenant(settings: Settings, log: RedoLog, tenant: str, partitions: list[int]) -> list[int]:
    from contracts.ids import partition_of

    count, _ = log.describe()
    number = partition_of(tenant, count, settings.kafka.partitioner)
    if partitions and partitions != [number]:
        raise typer.BadParameter(f"{tenant} is in partition {number}", param_hint="--partition")
    return [number]


def _verify(settings: Settings, log: RedoLog, store: StoreReader, numbers: list[int], tenant: str | None) -> Found:
    from worker.operators.verify import Found, Verifier

    found = Found()
    with _bar(len(numbers)) as (tell, next_partition):
        verifier = Verifier(log, store, settings.redis.namespace, tell)
        for number in numbers:
            next_partition(number)
            found.merge(verifier.verify(number, None if tenant is None else {tenant}))
    return found


def _sample(settings: Settings, log: RedoLog, store: StoreReader, numbers: list[int], count: int) -> Found:
    """A quick look, and in full whatever seems wrong."""
    import random

    from worker.operators.sampling import Sampler
    from worker.operators.verify import Verifier

    with _bar(0) as (tell, next_partition):
        verifier = Verifier(log, store, settings.redis.namespace, tell)
        found, suspects = Sampler(log, verifier, numbers, random.Random()).sample(count)  # noqa: S311  no secret
        for number, tenants in sorted(suspects.items()):
            next_partition(number)
            found.merge(verifier.verify(number, tenants))
    return found


def _repair(
    settings: Settings, log: RedoLog, store: StoreReader, found: Found, tenant: str | None, trail: Any, *, yes: bool
) -> Found:
    from worker.cli.rebuild import order_and_wait, progress_bar
    from worker.operators.rebuild import partitions_words, read_all

    """Cure what can be cured; returns what is left, which is what was found where nothing was done, and what now is."""
    broken = sorted(found.broken)
    what = [f"restore {partitions_words(broken)} in full"] if broken else []
    what += [f"decide {len(found.decisions):,} runs again"] if found.decisions else []
    ask(f"{' and '.join(what).capitalize()}?", yes=yes)
    touched = {*broken, *(number for number, _, _ in found.decisions)}
    left = found.outside(touched)
    with interrupted(lambda: "what was ordered is carried out all the same; verify again to see what is left"):
        if broken:
            before = read_all(store, settings.redis.namespace, broken)
            with progress_bar("restoring") as tell:
                order_and_wait(settings, log, store, before, f"{trail.actor}: {trail.reason}", tell)
        if found.decisions:
            _decide_again(settings, found, trail)
        left.merge(_verify(settings, log, store, sorted(touched), tenant))
    return left


def _decide_again(settings: Settings, found: Found, trail: Any) -> None:
    from contracts.orders import recompute_order
    from worker.operators.orders import OrderWriter, wait_until_taken

    with OrderWriter(settings, trail) as writer:
        for number, tenant, run in found.decisions:
            writer.send(recompute_order(number, tenant, run, trail.traceparent))
        writer.flush()
        with waiting_bar(writer.written.total()) as tell:
            wait_until_taken(settings, writer.ends, tell)


@contextmanager
def _bar(partitions: int) -> Iterator[tuple[Tell, Any]]:
    """What is being done, on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        all_of_them = bar.add_task("partitions", total=partitions, completed=-1)
        step = bar.add_task("", total=None)

        def tell(what: str, done: int, total: int) -> None:
            bar.update(step, description=what, completed=done, total=total or None)

        def next_partition(number: int) -> None:
            bar.update(all_of_them, advance=1, description=f"partition {number}")

        yield tell, next_partition


@contextmanager
def _shown(found: Found, partitions: int, seconds: float, *, json: bool) -> Iterator[Callable[[Found], None]]:
    """Show what was found, whatever becomes of its repair within, which is to tell what it has left.

    A person sees it before being asked; a program gets one JSON document, at the end.
    """
    after: Found | None = None

    def show_left(left: Found) -> None:
        nonlocal after
        after = left
        if not json:
            _print_differences(left)
            print("After the repair nothing differs." if left.clean else f"After the repair: {_counted(left)}.")

    if not json:
        _print_differences(found)
        print(_summary(found, partitions, seconds), flush=True)
    try:
        yield show_left
    finally:
        if json:
            print_json(_as_json(found, after, partitions, seconds))


def _as_json(found: Found, cured: Found | None, partitions: int, seconds: float) -> dict[str, Any]:
    return {
        "clean": (found if cured is None else cured).clean,
        "partitions": partitions,
        "keys": found.keys,
        "runs": found.runs,
        "seconds": round(seconds, 1),
        "counts": dict(found.counts),
        "differences": [difference.to_json() for difference in found.shown],
        "decided_by_newer_policy": sorted(found.newer),
        "after_repair": None
        if cured is None
        else {"counts": dict(cured.counts), "differences": [difference.to_json() for difference in cured.shown]},
    }


def _print_differences(found: Found) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    shown: dict[str, int] = {}
    for difference in found.shown:
        shown[difference.name] = shown.get(difference.name, 0) + 1
        if shown[difference.name] > SHOWN:
            continue
        place = Text.assemble((difference.name, "bold red"), f"  partition {difference.partition}  {difference.key}")
        console.print(Text(printable(place.plain), style="bold red"))
        console.print(printable(f"  expected {difference.expected}"), markup=False)
        console.print(printable(f"  got      {difference.got}"), markup=False)
        console.print(printable(f"  likely   {difference.likely}"), markup=False, style="dim")
        console.print(printable(f"  do       {difference.remedy}"), markup=False, style="dim")
        console.print()
    for name, count in found.counts.items():
        if count > SHOWN:
            console.print(f"{count - SHOWN:,} more of {name}, which --json names up to a limit", style="dim")


def _summary(found: Found, partitions: int, seconds: float) -> str:
    what = f"{found.runs:,} runs, {found.keys:,} keys of {partitions} partition{'' if partitions == 1 else 's'}"
    newer = ""
    if found.newer:
        newer = (
            f" Decisions of partition {', '.join(map(str, sorted(found.newer)))} were not compared: a newer version"
            " has decided there."
        )
    if found.clean:
        return f"Nothing differs: {what}, in {seconds:.1f} s.{newer}"
    return f"{_counted(found)}: {what}, in {seconds:.1f} s.{newer}"


def _counted(found: Found) -> str:
    total = found.counts.total()
    kinds = ", ".join(f"{count:,} {name}" for name, count in found.counts.most_common())
    return f"{total:,} difference{'' if total == 1 else 's'} ({kinds})"
