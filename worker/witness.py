"""The log as a witness of what was committed.

Kafka may tell an older offset than was committed: so did a group coordinator that had loaded its state in part. To go
on from there is to decide again what was decided. The store knows better, as it keeps what was committed last, but it
may be lost at the same time. The compacted topics are not: each fact in them says from which input record it is, and
was written in one transaction with an offset behind that record. So what a restore reads is looked at for that.

An input topic that was made anew begins at 0 again, and older facts then name places where other records are, or none.
So before an offset is doubted, the record itself is asked for: it is the one meant if its timestamp is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from contracts.facts import Source
from worker.ports import Log, TopicPartition


@dataclass(slots=True)
class Witness:
    """What the facts say that a restore of one partition reads: of each input topic the newest record."""

    newest: dict[str, Source] = field(default_factory=dict)

    def see(self, partition: int, sources: Iterable[Source]) -> None:
        """Take note of where facts came from; those of other partitions, as of a replay, are passed over."""
        for source in sources:
            known = self.newest.get(source.topic)
            if source.partition == partition and (known is None or source.offset > known.offset):
                self.newest[source.topic] = source

    def contradicted(self, log: Log, partition: int, told: Mapping[str, int], topics: Sequence[str]) -> dict[str, int]:
        """Of these topics, those whose offset must have been a larger one than is told, and which at least.

        May raise whatever a log does.
        """
        return {
            topic: source.offset + 1
            for topic in topics
            if (source := self.newest.get(topic)) is not None
            and told[topic] <= source.offset
            and _is_there(log, (topic, partition), source)
        }


def _is_there(log: Log, input: TopicPartition, source: Source) -> bool:
    return log.input_timestamp(input, source.offset) == source.timestamp
