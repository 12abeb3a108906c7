"""Surveys, motion and judgement together: looks, remembers what it saw, says how it is."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from worker.settings import Settings
from worker.status.motion import Tracker
from worker.status.report import Report, report
from worker.status.survey import Surveyor


class Lookout:
    """For one thread. Each look knows the former ones, so the longer it looks the more it can tell."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._surveyor = Surveyor(settings)
        self._tracker = Tracker()

    def look(self) -> Report:
        """Raises KafkaUnreachable, and Unfit if topics are not there."""
        survey = self._surveyor.look()
        return report(survey, self._tracker.track(survey), self._settings)

    def close(self) -> None:
        self._surveyor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
