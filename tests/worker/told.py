"""Input records folded by the pure code, without any server: what a worker would make of them."""

from __future__ import annotations

from collections import Counter

from contracts.events import Record
from contracts.ids import partition_of
from contracts.topics import Topics
from projections.advance import Effects, advance, advance_time
from projections.inputs import InputDecoder
from projections.workspace import Workspace
from worker.sources import InputRecord

PARTITIONS = 3


class Told:
    """Everything that comes of records told one after the other; partitions do not matter to it."""

    def __init__(self, topics: Topics) -> None:
        self._decoder = InputDecoder(topics, PARTITIONS, "murmur2")
        self._offsets: Counter[str] = Counter()
        self.workspace = Workspace(complete=True)
        self.effects = Effects()
        self.outcomes: Counter[str] = Counter()

    def tell(self, record: InputRecord, at: int) -> None:
        """A record that Kafka stamps with `at`, in ms since the epoch."""
        partition = partition_of(record.tenant_id, PARTITIONS, "murmur2")
        key = record.tenant_id.encode() if record.key is None else record.key
        self._offsets[record.topic] += 1
        read = Record(record.topic, partition, self._offsets[record.topic], at, key, record.value, record.headers)
        self.outcomes[advance(self.workspace, self.effects, self._decoder.decode(read), at)] += 1

    def pass_time(self, until: int) -> None:
        advance_time(self.workspace, self.effects, until)

    def states(self, tenant: str, run: str) -> tuple[str | None, ...]:
        """The states that a restore went through; None: removed."""
        changes = (change.body for change in self.effects.changes)
        return tuple(c["to_state"] for c in changes if (c["tenant_id"], c["restore_run_id"]) == (tenant, run))
