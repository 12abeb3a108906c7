"""Which records of a partition are dead letters already: so that feeding a span again does not double them."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.events import Record
from contracts.letters import read_letter
from worker.operators.log import CLOCKS_MS, LogReader, Part
from worker.ports import TopicPartition as Place


def letters_of(reader: LogReader, topic: str, partition: int, since_ms: int) -> dict[Place, dict[int, int]]:
    """By input and partition: offset of a record that was set aside → offset of its last dead letter.

    `topic`: of dead letters, looked at from `since_ms` on: none was written before its record was. About 150 bytes for
    each letter of the partition.
    """
    place = (topic, partition)
    start = reader.at([place], since_ms - CLOCKS_MS)[place]
    if start is None:
        return {}
    parts = {place: Part(start, reader.ends([place])[place])}
    found: dict[Place, dict[int, int]] = {}
    for records in reader.read(parts):
        note(found, records)
    return found


def note(found: dict[Place, dict[int, int]], letters: Iterable[Record]) -> None:
    """Note where these dead letters' records lay."""
    for record in letters:
        try:
            letter = read_letter(record.headers)
        except ValueError:
            continue  # somebody else's
        found.setdefault((letter.topic, letter.partition), {})[letter.offset] = record.offset
