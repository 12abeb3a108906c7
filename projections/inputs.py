"""A record of any of the four input topics → an input of the fold."""

from __future__ import annotations

from contracts.commands import CommandDecoder, Dismiss, Replay
from contracts.events import IGNORED, MAX_VALUE_BYTES, Decoder, Record
from contracts.ids import Partitioner
from contracts.times import LATEST
from contracts.topics import Topics
from projections.advance import Input


class InputDecoder:
    """Decodes events and operators' commands alike.

    A replayed record keeps its identity (source, sequence, and itself as a dead letter); its place in merged order and
    its time are those of the command that brought it.
    """

    def __init__(
        self, topics: Topics, partitions: int, partitioner: Partitioner, max_value_bytes: int = MAX_VALUE_BYTES
    ) -> None:
        self._decoder = Decoder(topics, partitions, partitioner, max_value_bytes)
        self._commands = CommandDecoder(partitions, partitioner)
        self._ops = topics.ops

    def decode(self, record: Record) -> Input:
        at = min(record.timestamp, LATEST)  # a producer may stamp in microseconds; what is published has years to 9999
        if record.topic != self._ops:
            return Input(self._decoder.decode(record), at, record)
        command = self._commands.decode(record)
        if isinstance(command, Replay):
            return Input(self._decoder.decode(command.record), at, command.record, "replay")
        if isinstance(command, Dismiss):
            return Input(IGNORED, at, record)  # it is for those who list dead letters; here it only passes by
        return Input(command, at, record)
