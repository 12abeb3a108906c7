"""The pictures of docs/performance.md, from what was measured: `make bench ARGS="--draw docs/pictures"`.

Everything in them is in the JSON beside it, so they can be drawn again without measuring.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.bench.steps import STEPS

BLUE, ORANGE, GREY = "#2f6f9f", "#d9822b", "#9aa5ad"

mpl.rcParams.update({
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "restore-projector",  # and the same figures are the same bytes
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
})  # fmt: skip


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what was measured; returns the files written."""
    pictures: dict[str, tuple[str, Callable[[Any], Figure]]] = {
        "catch-up": ("throughput", _throughput),
        "steps": ("steps", _steps),
        "latency": ("latency", _latency),
        "large": ("backlog", _backlog),
    }
    written = []
    for measured, (name, picture) in pictures.items():
        if measured in results:
            path = folder / f"bench-{name}.svg"
            picture(results[measured]).savefig(path, format="svg", metadata={"Date": None})
            written.append(path)
    return written


def _throughput(rows: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7, 2.4), layout="constrained")
    axes = figure.subplots()
    names = list(rows)[::-1]
    least, median, most = zip(*(rows[name]["events_per_s"] for name in names), strict=True)
    below = [m - low for m, low in zip(median, least, strict=True)]
    above = [high - m for m, high in zip(median, most, strict=True)]
    colours = [BLUE if name == "worker" else GREY for name in names]
    axes.barh(names, median, color=colours, xerr=(below, above), error_kw={"ecolor": "black", "capsize": 3})
    for at, name in enumerate(names):
        axes.text(0, at, f"  {median[at]:,.0f} events/s, {rows[name]['cpu_us'][1]:.0f} µs", va="center", color="white")
    axes.set_xlabel("events a second, one process, 4 partitions; least, median and most of the rounds")
    return figure


def _steps(steps: dict[str, float]) -> Figure:
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    named = {**STEPS, "else": "what is between them"}
    names = list(named)[::-1]
    axes.barh([named[name] for name in names], [steps[name] for name in names], color=BLUE)
    axes.set_xlabel(f"µs an event, of {steps['in all']:.0f} in the process itself")
    return figure


def _latency(rows: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7, 3), layout="constrained")
    over_rate, distribution = figure.subplots(1, 2)
    rates = sorted(map(int, rows))
    for name, colour in (("consumer", BLUE), ("redis", ORANGE)):
        for cut, style in (("p50", "-"), ("p99", "--")):
            values = [rows[str(rate)][name][cut] for rate in rates]
            over_rate.plot(rates, values, style, color=colour, marker="o", markersize=3, label=f"{name}, {cut}")
    over_rate.set(xscale="log", xlabel="events a second", ylabel="ms from producing", ylim=(0, None))
    over_rate.legend(frameon=False, fontsize="small")
    shown = 500 if 500 in rates else rates[-1]
    for name, colour in (("consumer", BLUE), ("redis", ORANGE)):
        quantiles = rows[str(shown)][name]["quantiles"]
        distribution.plot(quantiles, range(1, len(quantiles) + 1), color=colour, label=name)
    distribution.set(xlabel=f"ms, at {shown} events a second", ylabel="% of the events are not later", xlim=(0, None))
    distribution.legend(frameon=False, fontsize="small")
    return figure


def _backlog(found: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7, 3), layout="constrained")
    rate = figure.subplots()
    slices = found["backlog"]["slices"]
    done = [s["done"] / 1000 for s in slices]
    rate.plot(done, [s["events_per_s"] for s in slices], color=BLUE, label="events a second")
    rate.set(xlabel="thousand events done, ten for each restore stored", ylabel="events a second", ylim=(0, None))
    memory = rate.twinx()
    memory.plot(done, [s["mb"] for s in slices], color=ORANGE)
    memory.set(ylabel="MB of memory", ylim=(0, None))
    memory.yaxis.label.set_color(ORANGE)
    rate.yaxis.label.set_color(BLUE)
    return figure
