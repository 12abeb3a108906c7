"""`simulate`: realistic input traffic, with a progress bar and a summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.output import Json, print_json, print_table
from worker.errors import Unfit

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.simulate import Plan, Sent


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: restore-projector simulate --runs 2000 --rate 200 --seed 7 --tenants 50")(simulate)


def simulate(
    runs: Annotated[int, typer.Option(min=1, max=10_000_000, help="Restores.")] = 100,
    rate: Annotated[float, typer.Option(min=0.1, max=20_000, help="Records a second.")] = 50.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed sends the same restores.")] = 1,
    tenants: Annotated[int, typer.Option(min=1, max=100_000, help="Tenants; the first ones are the busiest.")] = 20,
    *,
    malformed: Annotated[bool, typer.Option("--malformed", help="Two in a hundred records are malformed.")] = False,
    json: Json = False,
) -> None:
    """Send realistic input: restores of many tenants, from draft to evidence.

    Through all three forms of events; some come twice, late or in the wrong order, some restores fail, are blocked,
    retried, deleted, or their evidence expires within seconds.
    """
    from worker.settings import load_settings
    from worker.simulate import Plan

    plan = Plan(runs, rate, seed, tenants, malformed=malformed, start=time.time_ns() // 1_000_000)
    began = time.monotonic()
    sent = _send(load_settings(), plan)
    seconds = time.monotonic() - began
    summary = _summary(plan, sent, seconds)
    if json:
        print_json(summary)
    else:
        print_table(("sent", ""), [(_words(name), _figure(value)) for name, value in _flat(summary)])


def _send(settings: Settings, plan: Plan) -> Sent:
    from kafka.errors import KafkaError

    from worker.refusals import unreachable
    from worker.simulate import Sent, send_in_time, traffic
    from worker.sources import SourceProducer
    from worker.topics import read_topics

    names = settings.topic_names
    topics = read_topics(settings)
    missing = [name for name in names.inputs if name not in topics]
    if missing:
        raise Unfit([f"{name} does not exist: `restore-projector topics create` makes it" for name in missing])
    sent = Sent()
    try:
        producer = SourceProducer(settings.kafka, topics[names.restore_runs].partitions)
        with closing(producer), _progress(plan.runs) as show_progress:
            planned = traffic(plan, names)
            for _ in send_in_time(planned, producer.send, sent, monotonic=time.monotonic, sleep=time.sleep):
                show_progress(sent)
            producer.flush()
    except KafkaError as error:
        raise unreachable(settings.kafka, error) from error
    return sent


@contextmanager
def _progress(runs: int) -> Iterator[Callable[[Sent], None]]:
    """A bar of finished restores on standard error, if that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("restores"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[records]} records"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=runs, records=0)
        yield lambda sent: progress.update(task, completed=sent.finished, records=sent.records)


def _summary(plan: Plan, sent: Sent, seconds: float) -> dict[str, Any]:
    return {
        "restores": sent.finished,
        "tenants": len(sent.tenants),
        "records": sent.records,
        "seed": plan.seed,
        "seconds": round(seconds, 1),
        "records_per_second": round(sent.records / seconds, 1),
        "topics": dict(sent.topics.most_common()),
        "forms": dict(sent.forms.most_common()),
        "kinds": dict(sent.kinds.most_common()),
    }


def _flat(summary: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in summary.items():
        if isinstance(value, dict):
            yield name, ""
            yield from ((f"  {inner}", count) for inner, count in value.items())
        else:
            yield name, value


def _words(name: str) -> str:
    return name.replace("_", " ")


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"
