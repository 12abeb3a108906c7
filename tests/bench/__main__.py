# ruff: noqa: T201  a benchmark prints
"""`make bench`: what the worker does, how fast, and what it takes. Prints, and writes JSON.

catch-up    throughput and cost of an event beside null pipelines
latency     from producing an event to its document, over the rate of events
large       a million events wait, then are stored: memory, time to go on after a kill, to restore, idle
steps       the cost of an event by step, in the process itself
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import catching_up, large, latency, steps
from tests.bench.pipelines import Setup
from tests.servers.backends import kafka_runner, make_kafka, make_redis, redis_runner

MEASUREMENTS = ("steps", "catch-up", "latency", "large")


def main() -> None:
    arguments = _arguments()
    results: dict[str, Any] = json.loads(arguments.drawn_from.read_text()) if arguments.drawn_from else {}
    for name in () if arguments.drawn_from else MEASUREMENTS:
        if name in (arguments.only or MEASUREMENTS):
            print(f"{name}:")
            results[name] = _measure(name, arguments)
            if arguments.json is not None:
                arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    if arguments.draw is not None:
        from tests.bench.drawing import draw  # matplotlib is there for `make bench` alone

        for path in draw(results, arguments.draw):
            print(f"drawn: {path}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", action="append", choices=MEASUREMENTS, help="may be there more than once")
    parser.add_argument("--events", type=int, default=200_000, help="of a backlog that is caught up with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, action="append", help="events a second, for latency; more than once")
    parser.add_argument("--seconds", type=int, default=30, help="how long latency is measured at each rate")
    parser.add_argument("--large-events", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="a file to write the results into")
    parser.add_argument("--draw", type=Path, help="a folder to draw the pictures into")
    parser.add_argument("--drawn-from", type=Path, help="results as --json wrote them: nothing is measured")
    return parser.parse_args()


def _measure(name: str, arguments: argparse.Namespace) -> Any:
    if name == "steps":
        return steps.measure()
    if name == "catch-up":
        return _on_servers(lambda k, r: catching_up.measure(k, r, arguments.events, arguments.rounds))
    if name == "large":
        return _on_servers(lambda k, r: large.measure(k, r, arguments.large_events))
    rates = arguments.rate or [50, 500]
    return _on_servers(lambda k, r: _latencies(k, r, rates, arguments.seconds))


def _on_servers(measurement: Callable[[str, str], Any]) -> Any:
    """With a Kafka and a Redis of its own."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("kafka", "redis")]
        for path in paths:
            path.mkdir()
        kafka, store = make_kafka(kafka_runner("auto"), paths[0]), make_redis(redis_runner("auto"), paths[1])
        try:
            kafka.start()
            store.start()
            return measurement(kafka.bootstrap_servers, store.url)
        finally:
            kafka.close()
            store.close()


def _latencies(kafka: str, store: str, rates: list[int], seconds: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for rate in rates:
        setup = Setup(kafka, store, f"latency{rate}").create()
        row: dict[str, Any] = {}
        for name, values in zip(("consumer", "redis"), latency.measure(setup, rate, seconds), strict=True):
            cuts = statistics.quantiles(values, n=1000)
            row[name] = {"p50": round(cuts[499], 1), "p99": round(cuts[989], 1), "p999": round(cuts[998], 1)}
            row[name]["quantiles"] = [round(cut, 2) for cut in cuts[9::10]]
            print(f"produce to {name:<8} at {rate}/s: p50 {row[name]['p50']} ms, p99 {row[name]['p99']} ms")
        results[str(rate)] = row
    return results


if __name__ == "__main__":
    main()
