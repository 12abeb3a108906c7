"""What was done, what came of it, and how long nothing came out after each kind of fault."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.consistency import Summary
from tests.torture.faults import FAULTS


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that was done. `gap_s`: the longest time without output in a partition, from it to the next one."""

    fault: str
    at_s: float
    gap_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """A run of it. `met`: how often each point of the protocols was passed."""

    seed: int
    brokers: int
    workers: int
    minutes: float
    sent: int
    changes: int
    runs: int
    outcomes: dict[str, int]
    looks: int
    done: list[Done]
    met: dict[str, int]

    @classmethod
    def of(cls, summary: Summary, *, seed: int, brokers: int, workers: int, minutes: float, sent: int, looks: int,
           done: Sequence[Done], met: dict[str, int]) -> Report:  # fmt: skip
        outcomes = {str(outcome): count for outcome, count in sorted(summary.outcomes.items())}
        return cls(
            seed, brokers, workers, minutes, sent, summary.changes, summary.runs, outcomes, looks, list(done), met
        )

    def text(self) -> str:
        """For a person."""
        lines = [
            f"seed {self.seed}, {self.brokers} brokers, {self.workers} workers, {self.minutes:.1f} minutes",
            f"{self.sent:,} records in ({', '.join(f'{n:,} {name}' for name, n in self.outcomes.items())})",
            f"{self.changes:,} changes of {self.runs:,} restores out; {self.looks:,} looks of a reader beside the work",
            f"{len(self.done)} faults; the longest time without output in a partition, s:",
            f"  {'times':>5} {'median':>7} {'longest':>8} {'promised':>9}",
        ]
        gaps: dict[str, list[float]] = defaultdict(list)
        for done in self.done:
            gaps[done.fault].append(done.gap_s)
        for fault in FAULTS:
            if found := gaps.get(fault.name):
                promised = "" if fault.promised_s is None else f"{fault.promised_s:.0f}"
                lines.append(f"  {len(found):5} {median(found):7.1f} {max(found):8.1f} {promised:>9}  {fault.name}")
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1))
