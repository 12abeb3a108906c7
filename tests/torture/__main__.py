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
    parser.add_argument("--cluster", action="store_true", help="Redis is a cluster of three masters.")
    parser.add_argument("--stored", type=int, default=0, help="So many restores are there before it begins.")
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
            and (fault.in_a_cluster or not options.cluster)
            and (not options.only or any(part in fault.name for part in options.only))
        ]
        site = Site(
            folder, random.Random(seed), options.brokers, options.workers, options.stored, cluster=options.cluster
        )
        report = torture(site, seed, options.minutes, faults)
    print(report.text())
    if options.report is not None:
        report.write(options.report)
    return 0


def torture(site: Site, seed: int, minutes: float, faults: list[Fault]) -> Report:
    """Do it. Raises Inconsistent when an invariant does not hold, AssertionError when it does not come to rest."""
    print(f"seed {seed}, {len(site.nodes)} brokers, logs in {site.directory}", flush=True)
    began = time.monotonic()
    done: list[tuple[str, float]] = []
    with site:
        until = time.monotonic() + minutes * 60
        while time.monotonic() < until:
            fault = site.choose.choices(faults, [fault.weight for fault in faults])[0]
            done.append((fault.name, time.monotonic()))
            print(f"{time.monotonic() - began:7.1f} s  {fault.name}", flush=True)
            fault.act(site)
            site.wait(site.choose.uniform(*AFTERWARDS_S))
        site.revive()
        healed = time.monotonic()
        summary = site.check()
        ends = [at for _, at in done[1:]] + [healed]
        gaps = [
            Done(name, at - began, gap.seconds if (gap := site.outputs.longest(at, end)) else 0.0)
            for (name, at), end in zip(done, ends, strict=True)
        ]
        return Report.of(
            summary, seed=seed, brokers=len(site.nodes), workers=len(site.workers), minutes=(healed - began) / 60,
            sent=site.traffic.sent, looks=0 if site.watched is None else site.watched.looks, done=gaps, met=_met(site),
        )  # fmt: skip


def _met(site: Site) -> dict[str, int]:
    """How often each point of the protocols was passed."""
    met: Counter[str] = Counter()
    for proxy in [*site.kafka_proxies, *site.redis.proxies]:
        met.update({f"{name} {when}": count for (name, when), count in proxy.met.items()})
    return dict(sorted(met.items()))


if __name__ == "__main__":
    sys.exit(main())
