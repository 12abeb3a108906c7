"""Which runs the store has, read beside the workers and in bounded memory.

Redis is the list of what there is: a set of the names of all records for each partition, a sorted set of each tenant's
runs (`worker.redis`). They are walked through by SCAN, which gives every member that is there all the time at least
once; so a run that is made or removed meanwhile may or may not be among them, and a run may come twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from contracts.ids import partition_of, split_run_key
from projections.formats import NewerFormat
from projections.record import Key
from worker.errors import ProjectorError, Unfit
from worker.nodes import Nodes
from worker.reading import StoreReader, partition_count
from worker.settings import Settings

CHUNK: Final = 1_000
"""Names asked for at once; Redis answers nobody else for a millisecond."""


class NotYet(ProjectorError):
    """The store does not have it all: partitions are being restored, or nobody has taken them over yet."""


@contextmanager
def readable(key: Key) -> Iterator[None]:
    """What goes wrong in reading a stored record, in words. Raises Unfit, also for a newer version's."""
    try:
        yield
    except NewerFormat as error:
        raise Unfit(f"{key}: {error}: use the version that the workers have") from error
    except (KeyError, TypeError, ValueError) as error:
        raise Unfit(f"{key} in Redis cannot be read: {error!r}; `restore-projector verify` says more") from error


class StoredRuns:
    """The runs of a whole installation, of a tenant, or one. Construction raises KafkaUnreachable and Unfit."""

    def __init__(
        self, settings: Settings, store: StoreReader, tenant: str | None = None, run: str | None = None
    ) -> None:
        self._namespace = settings.redis.namespace
        self._store = store
        self._tenant = tenant
        self._run = run
        count = partition_count(settings)
        numbers = range(count) if tenant is None else [partition_of(tenant, count, settings.kafka.partitioner)]
        self.partitions: Sequence[int] = numbers

    def check(self) -> None:
        """Raises NotYet unless all of it is in the store, and RedisUnreachable."""
        check_ready(self._store, self._namespace, self.partitions)

    def count(self) -> int:
        """How many there are, at most: with all tenants' runs, what is stored besides counts as well."""
        if self._run is not None:
            return 1
        if self._tenant is not None:
            return sum(self._size(number, "zcard", self._runs_key(number)) for number in self.partitions)
        return sum(self._size(number, "scard", self._records_key(number)) for number in self.partitions)

    def _size(self, number: int, command: str, name: str) -> int:
        return self._store.ask(lambda nodes: int(getattr(nodes.of(number), command)(name)))

    def read(self) -> Iterator[tuple[int, list[Key]]]:
        """The runs in pieces, each of one partition. Raises RedisUnreachable."""
        for number in self.partitions:
            yield from ((number, keys) for keys in self._partition(number))

    def _partition(self, number: int) -> Iterator[list[Key]]:
        if self._tenant is not None and self._run is not None:
            key = Key("run", self._tenant, self._run)
            if self._store.ask(lambda nodes: nodes.of(number).exists(self._document_key(number, key))):
                yield [key]
        elif self._tenant is not None:
            for members in self._walk(number, "zscan", self._runs_key(number)):
                yield [Key("run", self._tenant, run.decode()) for run, _ in members]
        else:
            for names in self._walk(number, "sscan", self._records_key(number), match="run:*"):
                yield [Key("run", *split_run_key(name.decode().removeprefix("run:"))) for name in names]

    def _walk(self, number: int, command: str, name: str, match: str | None = None) -> Iterator[list[Any]]:
        step = Walk(number, command, name, match)
        while not step.at_end:
            found = self._store.ask(step.take)
            if found:
                yield found

    def documents(self, number: int, keys: Iterable[Key]) -> list[bytes | None]:
        """The state documents of runs of one partition; None where it is gone. Raises RedisUnreachable."""
        names = [self._document_key(number, key) for key in keys]
        found: Any = self._store.ask(lambda nodes: nodes.of(number).mget(names))
        return list(found)

    def _records_key(self, number: int) -> str:
        return f"{self._namespace}:{{{number}}}:records"

    def _runs_key(self, number: int) -> str:
        return f"{self._namespace}:{{{number}}}:runs:{self._tenant}"

    def _document_key(self, number: int, key: Key) -> str:
        return f"{self._namespace}:{{{number}}}:run:{key.tenant}/{key.id}"


def check_ready(store: StoreReader, namespace: str, partitions: Iterable[int]) -> None:
    """Raises NotYet unless the store has all there is of these partitions, and RedisUnreachable."""
    status = {number: _status(store, namespace, number) for number in partitions}
    missing = [number for number, found in status.items() if found != "ready"]
    if missing:
        raise NotYet(
            f"partition {', '.join(map(str, missing))}: expected the store ready, got {status[missing[0]]}: it is "
            "being restored from Kafka, or no worker has taken it over; `restore-projector status` says how it is"
        )


def _status(store: StoreReader, namespace: str, number: int) -> str:
    name = f"{namespace}:{{{number}}}:position"
    found: Any = store.ask(lambda nodes: nodes.of(number).hget(name, "status"))
    return "nothing" if found is None else str(found.decode())


class Walk:
    """A walk through a set by SSCAN or ZSCAN, one step at a time, so that a step that fails can be taken again."""

    def __init__(self, number: int, command: str, name: str, match: str | None) -> None:
        self._number = number
        self._command = command
        self._name = name
        self._match = match
        self._cursor: int | None = None

    @property
    def at_end(self) -> bool:
        return self._cursor == 0

    def take(self, nodes: Nodes) -> list[Any]:
        scan = getattr(nodes.of(self._number), self._command)
        self._cursor, found = scan(self._name, cursor=self._cursor or 0, match=self._match, count=CHUNK)
        return list(found)
