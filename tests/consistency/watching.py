"""A reader beside the work: whatever it sees in Redis was committed, and nothing goes back (invariant 7)."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, cast

from redis import Redis

from contracts.decision import decode
from contracts.events import Record
from tests.servers.clients import REDIS_ERRORS, redis_client
from worker.settings import Settings

PAUSE_S: Final = 0.03
"""Between two looks: often enough to see most documents, and far from keeping Redis busy."""


@dataclass(slots=True)
class Watched:
    """What was seen: of each generation of a partition and each run's key, its documents in the order of being seen.

    A server that comes back with an older copy, or a replica that takes over with one, begins anew.
    """

    documents: dict[tuple[int, str, str], list[bytes]] = field(default_factory=dict)
    looks: int = 0

    def violations(self, state_log: Sequence[Record]) -> Iterator[str]:
        """What was never committed, and what went back, given all committed records of the state topic in their order.

        By their order and not by revisions, as a run that operators had forgotten begins again at 1.
        """
        committed: dict[bytes, list[bytes | None]] = defaultdict(list)
        for record in state_log:
            committed[record.key or b""].append(record.value)
        for (number, generation, run), seen in self.documents.items():
            place = f"Redis partition {number} generation {generation} run {run}"
            log = committed[run.encode()]
            at = 0
            for value in seen:
                revision = decode(value)["revision"]
                if value not in log:
                    yield f"{place}: a reader saw revision {revision}, which was never committed: {value[:200]!r}"
                elif value not in log[at:]:
                    yield f"{place}: a reader saw revision {revision} after {_last_revision(log[:at])}"
                else:
                    at = log.index(value, at)


def _last_revision(log: list[bytes | None]) -> int | None:
    return next((int(decode(value)["revision"]) for value in reversed(log) if value is not None), None)


@contextmanager
def watching(settings: Settings, partitions: int) -> Iterator[Watched]:
    """Watch Redis, whatever becomes of it, for the time of the context."""
    watched, end = Watched(), threading.Event()
    thread = threading.Thread(target=_watch, args=(settings, partitions, watched, end), name="watching", daemon=True)
    thread.start()
    try:
        yield watched
    finally:
        end.set()
        thread.join()


def _watch(settings: Settings, partitions: int, watched: Watched, end: threading.Event) -> None:
    with redis_client(settings.redis.url.get_secret_value(), timeout_s=2.0) as client:
        while not end.wait(PAUSE_S):
            try:
                for number in range(partitions):
                    _look(client, settings.redis.namespace, number, watched)
                watched.looks += 1
            except REDIS_ERRORS:
                continue  # It is down, as the test wants it to be.


def _look(client: Redis, namespace: str, number: int, watched: Watched) -> None:
    """All documents of a partition and its generation at one moment."""
    prefix = f"{namespace}:{{{number}}}:run:".encode()
    names = list(client.scan_iter(match=prefix + b"*", count=2_000))
    with client.pipeline(transaction=True) as pipeline:
        pipeline.hget(f"{namespace}:{{{number}}}:position", "generation")
        for name in names:
            pipeline.get(name)
        if isinstance(cast(object, client), Redis):
            pipeline.info("server")
        else:
            pipeline.exists(
                f"{namespace}:{{{number}}}:position"
            )  # which server of a cluster it is does not matter here
        generation, *values, server = pipeline.execute()
    # Without a position there is no generation, and readers are told so; what is seen was committed all the same.
    named = f"none at look {watched.looks}" if generation is None else generation.decode()
    life = f"{named} {server['run_id'] if isinstance(server, dict) else ''}"
    for name, value in zip(names, values, strict=True):
        if value is not None:
            run = name.removeprefix(prefix).decode()
            seen = watched.documents.setdefault((number, life, run), [])
            if not seen or seen[-1] != value:
                seen.append(value)
