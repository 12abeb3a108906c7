"""The tables of README.md and docs/for-operators.md: `python -m worker.book` makes them of what they are about.

With `--check` it only compares. The rest of the pages is written by hand. What is made here stands between a line
`<!-- made: NAME -->` and the next `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import structlog
from structlog.testing import LogCapture
from structlog.typing import FilteringBoundLogger

from contracts.letters import MEANINGS, REASONS, REMEDIES
from worker.errors import ProjectorError
from worker.logs import Events
from worker.metrics import Metrics
from worker.operators.differences import CURES
from worker.operators.differences import KINDS as DIFFERENCES
from worker.settings import Settings, describe_settings
from worker.status.condition import CONDITIONS, NAMES

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = (ROOT / "README.md", ROOT / "docs" / "for-operators.md")
SECTION: Final = re.compile(r"(?<=<!-- made: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)

_SAMPLES: Final[dict[str, object]] = {
    "str": "error", "str | None": "", "int": 0, "float": 0.0, "bool": True, "Reason": "not_json",
    "Sequence[int]": [], "Mapping[str, int]": {},
}  # fmt: skip
"""An argument of each type that an event's method takes; errors beside, as their kind makes the level."""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _settings() -> Iterator[str]:
    rows = [
        (f"`{row.variable}`", "" if row.default is None else f"`{row.default}`", row.description)
        for row in describe_settings(Settings.model_construct())
    ]
    return _table(("variable", "default", "is"), rows)


def _metrics() -> Iterator[str]:
    rows = []
    metrics = Metrics()
    for by_partition in (
        metrics.lag_records, metrics.lag_seconds, metrics.store_behind_records, metrics.open_dead_letters,
    ):  # fmt: skip
        by_partition.labels("its number")
    for condition in NAMES:
        metrics.partition_condition.labels("its number", condition)
    for metric in metrics.registry.collect():
        if metric.name.startswith("restore_projector_"):
            labels: dict[str, dict[str, None]] = {}
            for sample in metric.samples:
                for label, value in sample.labels.items():
                    labels.setdefault(label, {})[value] = None
            labels.pop("le", None)  # a histogram's buckets
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            told = "; ".join(f"{label}: {', '.join(values)}" for label, values in labels.items())
            rows.append((f"`{name}`", metric.type, told, metric.documentation))
    return _table(("metric", "type", "labels", "is"), rows)


def _log_events() -> Iterator[str]:
    rows = []
    for name, method in inspect.getmembers(Events, inspect.isfunction):
        if not name.startswith("_"):
            levels, fields = _said(name, method)
            meaning = " ".join((method.__doc__ or "").split())
            rows.append((method.__code__.co_firstlineno, (f"`{name}`", levels, fields, meaning)))
    return _table(("event", "level", "fields", "means"), [row for _, row in sorted(rows)])


def _said(name: str, method: Callable[..., Any]) -> tuple[str, str]:
    """Levels and fields of an event, from having it logged: once with an error that is foreseen, once with another."""
    capture = LogCapture()
    logger = structlog.wrap_logger(structlog.ReturnLogger(), processors=[capture])
    for error, severity in ((ProjectorError(), "warning"), (ValueError(), "error")):
        events = Events(cast(FilteringBoundLogger, logger))
        if name == "server_back":
            events.server_unreachable(severity, address="", error=error)
            capture.entries.clear()
        samples = _SAMPLES | {"BaseException": error, "str": severity}
        parameters = list(inspect.signature(method).parameters.values())[1:]
        given = {parameter.name: samples[parameter.annotation] for parameter in parameters}
        getattr(events, name)(**given)
    assert {entry["event"] for entry in capture.entries} == {name}
    levels = dict.fromkeys(entry["log_level"] for entry in capture.entries)
    fields = [field for field in capture.entries[-1] if field not in {"event", "log_level", "exc_info"}]
    return " or ".join(levels), ", ".join(f"`{field}`" for field in fields)


def _in_runbook(label: str) -> str:
    return f"[{label}](../deploy/runbook.md#{label.replace(' ', '-')})"


def _conditions() -> Iterator[str]:
    rows = [
        (row.label if row.well else _in_runbook(row.label), "yes" if row.well else "no", row.means)
        for row in CONDITIONS
    ]
    return _table(("a partition is", "well", "which means"), rows)


def _differences() -> Iterator[str]:
    rows = [(f"`{name}`", kind.means, kind.cause, CURES[kind.cure]) for name, kind in DIFFERENCES.items()]
    return _table(("difference", "is", "likely cause", "cure"), rows)


def _dead_letters() -> Iterator[str]:
    rows = [(f"`{reason}`", MEANINGS[reason], REMEDIES[reason]) for reason in REASONS]
    return _table(("`dl_reason`", "means", "what to do"), rows)


MADE: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "conditions": _conditions,
    "dead_letters": _dead_letters,
    "differences": _differences,
    "metrics": _metrics,
    "log_events": _log_events,
    "settings": _settings,
}


def made_anew(page: str) -> str:
    """The page with what is made here as it is now. Raises KeyError for a section of a name that is not known."""
    return SECTION.sub(lambda found: f"{found[1]}{found[2]}" + "\n".join(("", *MADE[found[1]](), "", "")), page)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.book", description="Make the tables of the pages.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it is out of date")
    options = parser.parse_args(arguments)
    return max(_make(path, check=options.check) for path in PAGES)


def _make(path: Path, *, check: bool) -> int:
    """Make a page's tables, or only compare: then 1 if it is out of date."""
    page = path.read_text(encoding="utf-8")
    made = made_anew(page)
    if not check:
        path.write_text(made, encoding="utf-8")
        print(f"wrote {path}")
    elif made != page:
        print(f"{path.name} is out of date: run python -m worker.book", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
