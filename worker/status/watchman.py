"""A thread of `run` that looks every so often and says in metrics what `status` says in words.

It sees all partitions, also those that nobody has, and it sees the loop beside it from outside, so that one that hangs
is found out. What goes wrong in here is never the worker's trouble: the metrics then grow old, and an alert says so.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final, Self

from worker.logs import Events
from worker.metrics import Metrics
from worker.settings import Settings
from worker.status.condition import NAMES
from worker.status.lookout import Lookout
from worker.status.report import Report

EVERY_S: Final = 15.0
"""As often as Prometheus usually asks. A look costs about 10 ms of CPU for 4 partitions."""
FIRST_AFTER_S: Final = 5.0
"""The worker is to take its partitions over first."""
STOP_S: Final = 1.0
"""How long the end waits for a look in hand; what is cut off does no harm."""


class Watchman:
    """Looks while the context is open."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        events: Events,
        every_s: float = EVERY_S,
        first_after_s: float = FIRST_AFTER_S,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._events = events
        self._every_s = every_s
        self._first_after_s = first_after_s
        self._failed = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchman", daemon=True)

    def _watch(self) -> None:
        with Lookout(self._settings) as lookout:
            pause = self._first_after_s
            while not self._over.wait(pause):
                self._look(lookout)
                pause = self._every_s

    def _look(self, lookout: Lookout) -> None:
        """Once; a failure is told once, until a look succeeds."""
        try:
            show(lookout.look(), self._metrics)
        except Exception as error:  # noqa: BLE001  whatever it is, the worker beside it goes on
            forget(self._metrics)
            if not self._failed:
                self._events.survey_failed(error)
            self._failed = True
        else:
            self._failed = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(STOP_S)


def show(report: Report, metrics: Metrics) -> None:
    """A report, as metrics. What is not told keeps its last value.

    Once nothing could be looked at, series by partition are gone (`forget`): another worker may know better.
    """
    at = report.survey.at
    for row in report.rows:
        facts, partition = row.facts, str(row.facts.number)
        for name in NAMES:
            metrics.partition_condition.labels(partition, name).set(row.verdict.condition.name == name)
        metrics.lag_records.labels(partition).set(facts.waiting)
        metrics.lag_seconds.labels(partition).set(0 if facts.oldest is None else max(0, at - facts.oldest) / 1000)
        if facts.store is not None:
            metrics.store_behind_records.labels(partition).set(facts.store.behind)
        if facts.letters is not None:
            metrics.open_dead_letters.labels(partition).set(facts.letters.open)
    for state, count in (report.survey.overdue or {}).items():
        metrics.runs_overdue.labels(state).set(count)
    metrics.survey_timestamp_seconds.set(at / 1000)


def forget(metrics: Metrics) -> None:
    """Say nothing of partitions any more."""
    for metric in (
        metrics.partition_condition,
        metrics.lag_records,
        metrics.lag_seconds,
        metrics.store_behind_records,
        metrics.open_dead_letters,
    ):
        metric.clear()
