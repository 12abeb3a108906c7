"""`python -m tests.torture --minutes 30 --seed 7 --brokers 3`: a traceback when an invariant does not hold."""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from tests.torture.faults import FAULTS, Fault
from tests.torture.report import Done, Report
from tests.torture.site import Site

AFTERWARDS_S: Final = (0.5, 8.0)
"""Shortest and longest time before the next fault: some meet what has not recovered yet."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--workers", type=int, choices=(1, 2, 3, 4), default=2)
    parser.add_argument("--only", action="append", default=[], help="Only faults whose name contains this.")
    parser.add_argument("--report", type=Path, help="Write the report as JSON.")
    parser.add_argument("--folder", type=Path, help="Keep logs and data here.")
    options = parser.parse_args()
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="torture-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        faults = [
            fault
            for fault in FAULTS
            if fault.least_brokers <= options.brokers
            and (not options.only or any(part in fault.name for part in options.only))
        ]
        report = torture(folder, seed, options.minutes, options.brokers, options.workers, faults)
    print(report.text())
    if options.report is not None:
        report.write(options.report)
    return 0


def torture(folder: Path, seed: int, minutes: float, brokers: int, workers: int, faults: list[Fault]) -> Report:
    """Do it. Raises Inconsistent when an invariant does not hold, AssertionError when it does not come to rest."""
    print(f"seed {seed}, {brokers} brokers, {workers} workers, logs in {folder}", flush=True)
    choose = random.Random(seed)
    began = time.monotonic()
    done: list[tuple[str, float]] = []
    with Site(folder, choose, brokers, workers) as site:
        until = time.monotonic() + minutes * 60
        while time.monotonic() < until:
            fault = choose.choices(faults, [fault.weight for fault in faults])[0]
            done.append((fault.name, time.monotonic()))
            print(f"{time.monotonic() - began:7.1f} s  {fault.name}", flush=True)
            fault.act(site)
            site.wait(choose.uniform(*AFTERWARDS_S))
        site.revive()
        healed = time.monotonic()
        summary = site.check()
        ends = [at for _, at in done[1:]] + [healed]
        gaps = [
            Done(name, at - began, gap.seconds if (gap := site.outputs.longest(at, end)) else 0.0)
            for (name, at), end in zip(done, ends, strict=True)
        ]
        met: Counter[str] = Counter()
        for proxy in [*site.kafka_proxies, site.redis.proxy]:
            met.update({f"{name} {when}": count for (name, when), count in proxy.met.items()})
        return Report.of(
            summary, seed=seed, brokers=brokers, workers=workers, minutes=(healed - began) / 60, sent=site.traffic.sent,
            looks=site.watched.looks, done=gaps, met=dict(sorted(met.items())),
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
