"""The series that a worker exports, and which of them an expression of PromQL asks for."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.worker.status.sights import partition, reported, survey
from worker.metrics import Metrics
from worker.status.watchman import show

TARGET_LABELS = {"job", "instance", "namespace", "pod"}
"""What Prometheus adds to each series that it scrapes; also `up`, one of each target, is its own."""

_SELECTOR = re.compile(r"\b(restore_projector_\w+|process_\w+|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric, and what is asked of its labels: (label, operator, value)."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]

    def selects(self, labels: Mapping[str, str]) -> bool:
        return all(
            _holds(labels.get(label, ""), operator, value)
            for label, operator, value in self.matchers
            if label not in TARGET_LABELS
        )


def _holds(got: str, operator: str, value: str) -> bool:
    found = re.fullmatch(value, got) is not None if "~" in operator else got == value
    return not found if operator.startswith("!") else found


@functools.cache
def exported() -> Mapping[str, list[dict[str, str]]]:
    """Metric name → the labels of each of its series, from a worker that has looked at its partition."""
    series: dict[str, list[dict[str, str]]] = {"up": [{}]}
    metrics = Metrics()
    show(reported(survey(*(partition(number=number) for number in range(3)))), metrics)
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            series.setdefault(sample.name, []).append(dict(sample.labels))
    return series


def selectors(expression: str) -> list[Selector]:
    return [
        Selector(metric, tuple(_MATCHER.findall(matchers)))
        for metric, matchers in _SELECTOR.findall(expression)
    ]  # fmt: skip


def problems(expression: str) -> Iterator[str]:
    """What an expression asks for that no worker exports."""
    found = selectors(expression)
    if not found:
        yield f"no metric of ours in {expression!r}"
    labels = set(TARGET_LABELS)
    for selector in found:
        series = exported().get(selector.metric, [])
        labels |= {label for of_one in series for label in of_one}
        if not series:
            yield f"no worker exports {selector.metric}"
        elif not any(selector.selects(of_one) for of_one in series):
            yield f"no series of {selector.metric} has {selector.matchers}"
    for grouping in _GROUPING.findall(expression):
        asked = {label.strip() for label in grouping.split(",") if label.strip()}
        if asked - labels:
            yield f"no metric of {expression!r} has the labels {sorted(asked - labels)}"
