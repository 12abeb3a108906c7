"""Dead letters as operators see them: which are open, which are asked for, what was done about the others. Pure.

A letter is named by where it lies, `<partition>:<offset>` of the dead-letter topic. It is *open* until a record of the
ops topic names it, which is its *handling*: a `replay` (redriven) or a `dismiss`. So the two topics together are the
whole truth about letters, and nothing has to be kept besides. A million letters are a million offsets: that a letter is
handled is one bit of its partition's map; by whom and when is remembered for those alone that are shown.

What is in the dead-letter topic may be anybody's: a record without the six headers of a setting aside is an entry as
well, without a letter. It can be seen and dismissed; where it came from nobody knows, so it cannot be redriven.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Self

from contracts.commands import MAX_NUMBER, CommandDecoder, Dismiss, Replay
from contracts.events import Record
from contracts.ids import is_identifier
from contracts.letters import Letter, read_letter
from contracts.printable import printable

Deed = Literal["redriven", "dismissed"]

NO_REASON: Final = "unknown"
"""Stands for the reason of an entry that has none."""
_PLACE: Final = re.compile(r"(\d{1,10}):(\d{1,19})", re.ASCII)


class Place(NamedTuple):
    """Where a letter lies in the dead-letter topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The place that `<partition>:<offset>` names; raises ValueError, with what was expected, for other text."""
        match = _PLACE.fullmatch(text.strip())
        if match is None or int(match[2]) > MAX_NUMBER:
            raise ValueError(f"expected a dead letter's name, <partition>:<offset>, like 3:120, got {text[:80]!r}")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of the dead-letter topic. `letter`: what its last setting aside says, None if it says none."""

    record: Record
    letter: Letter | None

    @classmethod
    def of(cls, record: Record) -> Self:
        try:
            return cls(record, read_letter(record.headers))
        except ValueError:
            return cls(record, None)

    @property
    def place(self) -> Place:
        return Place(self.record.partition, self.record.offset)

    @property
    def reason(self) -> str:
        return NO_REASON if self.letter is None else self.letter.reason

    @property
    def detail(self) -> str:
        """What was expected and what came; printable."""
        if self.letter is None:
            return "expected the headers of a dead letter, got a record without them"
        return printable(self.letter.detail)

    @property
    def tenant(self) -> str | None:
        """The tenant that the record's key names, if it names one."""
        name = (self.record.key or b"").decode(errors="replace")
        return name if is_identifier(name) else None

    @property
    def source(self) -> Record:
        """The record where it lay, to be taken again. Needs a letter.

        It keeps the headers of its settings aside, so that one more shows each place and reason that it went through.
        """
        assert self.letter is not None, "only what names its source has one"
        letter, record = self.letter, self.record
        place = (letter.topic, letter.partition, letter.offset, letter.timestamp)
        return Record(*place, record.key, record.value, record.headers)

    @property
    def headers(self) -> tuple[tuple[str, bytes | None], ...]:
        """Those that the source wrote."""
        return tuple((name, value) for name, value in self.record.headers if not name.startswith("dl_"))

    @property
    def before(self) -> tuple[Letter, ...]:
        """What former settings aside say, the first one first, where it was redriven and set aside again."""
        told: list[dict[str, bytes]] = []
        for name, value in self.record.headers:
            if name == "dl_topic":
                told.append({})
            if name.startswith("dl_") and told:
                told[-1][name] = value
        letters = (Entry.of(self.record._replace(headers=tuple(headers.items()))).letter for headers in told[:-1])
        return tuple(letter for letter in letters if letter is not None)


@dataclass(frozen=True, slots=True)
class Handling:
    """What was done about a letter. `at`: ms; `request`: the invocation of a command that did it; texts printable."""

    deed: Deed
    at: int
    actor: str
    why: str
    request: str
    offset: int
    """Of the order, in the letter's partition of the ops topic."""


def read_handling(record: Record, decoder: CommandDecoder) -> tuple[Place, Handling] | None:
    """The letter that a record of the ops topic names, and what it does about it; None if it names none."""
    headers = dict(record.headers)
    if "letter" not in headers:
        return None
    command = decoder.decode(record)
    if not isinstance(command, Replay | Dismiss) or command.letter is None:
        return None
    deed: Deed = "redriven" if isinstance(command, Replay) else "dismissed"
    actor, why, request = (
        printable((headers.get(name) or b"").decode(errors="replace")) for name in ("actor", "reason", "request")
    )
    handling = Handling(deed, record.timestamp, actor, why, request, record.offset)
    return Place(record.partition, command.letter), handling


@dataclass(slots=True)
class Bits:
    """A set of numbers from `low` on: a bit for each of the range that is touched, 125 KB for a million."""

    low: int
    _bits: bytearray = field(default_factory=bytearray)
    _count: int = 0

    def add(self, number: int) -> None:
        """Put it in; what is below `low` is not kept."""
        at = number - self.low
        if at < 0 or number in self:
            return
        missing = (at >> 3) + 1 - len(self._bits)
        if missing > 0:
            self._bits.extend(bytes(missing))
        self._bits[at >> 3] |= 1 << (at & 7)
        self._count += 1

    def __contains__(self, number: int) -> bool:
        at = number - self.low
        return 0 <= at >> 3 < len(self._bits) and bool(self._bits[at >> 3] & 1 << (at & 7))

    def __len__(self) -> int:
        return self._count


class Handled:
    """Which letters are handled: of each partition those that its log has, from its first offset to before its end.

    An order that names another offset is about a letter that is not kept any more, and takes no room.
    """

    def __init__(self, bounds: Mapping[int, tuple[int, int]]) -> None:
        self._bounds = bounds
        self._bits = {number: Bits(low) for number, (low, _) in bounds.items()}

    def add(self, place: Place) -> None:
        low, end = self._bounds.get(place.partition, (0, 0))
        if low <= place.offset < end:
            self._bits[place.partition].add(place.offset)

    def __contains__(self, place: Place) -> bool:
        bits = self._bits.get(place.partition)
        return bits is not None and place.offset in bits


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are asked for: each of the sets allows any of its members, an empty one allows all.

    `since`, `until`: when a letter was set aside, in ms; the first counts, the second does not.
    """

    reasons: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    since: int | None = None
    until: int | None = None

    def selects(self, entry: Entry) -> bool:
        return (
            (not self.reasons or entry.reason in self.reasons)
            and (not self.tenants or entry.tenant in self.tenants)
            and (not self.topics or (entry.letter is not None and entry.letter.topic in self.topics))
            and (self.since is None or entry.record.timestamp >= self.since)
            and (self.until is None or entry.record.timestamp < self.until)
        )

    @property
    def everything(self) -> bool:
        """Whether nothing narrows it down."""
        return self == Selection()


def topic_named(name: str, topics: Iterable[str], prefix: str) -> str:
    """The topic that a person means: its whole name, or without prefix and version, like `restore-runs`.

    Raises ValueError, with what there is, for a name that is no topic's.
    """
    known = {short: topic for topic in topics for short in (topic, _short(topic, prefix))}
    if name not in known:
        raise ValueError(f"expected {', '.join(_short(topic, prefix) for topic in topics)}, got {name[:80]!r}")
    return known[name]


def _short(topic: str, prefix: str) -> str:
    return topic.removeprefix(f"{prefix}.").rpartition(".")[0]
