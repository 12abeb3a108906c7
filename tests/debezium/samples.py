"""Records as Debezium wrote them, in files: `samples/<variant>/<entity>.json`, each an array in order of time.

A value is the text that was in Kafka, to the byte, so what is decoded is what was captured. Topics and offsets are not
kept: they are the test's, not Debezium's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from contracts.events import Record

FOLDER: Final = Path(__file__).parent / "samples"
PARTITIONS: Final = 4
"""Of the topics that the samples were captured from."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A record. `what` says which change it is about."""

    what: str
    partition: int
    key: str | None
    headers: dict[str, str]
    value: str | None

    def record(self, topic: str) -> Record:
        """As it would be read from a topic."""
        return Record(
            topic,
            self.partition,
            0,
            1_800_000_000_000,
            None if self.key is None else self.key.encode(),
            None if self.value is None else self.value.encode(),
            tuple((name, text.encode()) for name, text in self.headers.items()),
        )

    @property
    def change(self) -> dict[str, Any]:
        """The change event, out of its wrapper."""
        assert self.value is not None, f"{self.what} is a tombstone"
        parsed: dict[str, Any] = json.loads(self.value)
        return parsed if "op" in parsed else parsed["payload"]


def sampled(what: str, record: Record) -> Sample:
    headers = {name: value.decode() for name, value in record.headers}
    return Sample(what, record.partition, _text(record.key), headers, _text(record.value))


def read_samples(path: Path) -> list[Sample]:
    return [Sample(**fields) for fields in json.loads(path.read_text())]


def write_samples(path: Path, samples: Sequence[Sample]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(sample) for sample in samples], indent=1, ensure_ascii=False) + "\n")


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
