"""What the log says that a partition's part of the store must hold: of each key a digest, and its places in indexes.

The store is written by one script that moves the position, so at any position it holds exactly the last records of the
two topics below it. A ledger that has taken these records therefore knows what is to be there, whatever workers do.

Of a million keys only numbers are kept, packed into one: a 64-bit digest of the value, the offset, the state, whether
it is unfinished, and the score in the indexes. With its name that is 145 bytes a key.

Of a record that this version cannot read only the bytes are known, and not its places in the indexes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from contracts.decision import STATES, State
from projections.record import INTERNAL_KINDS, Key, Kind
from worker.ports import Stored, StoredRun

KINDS: Final[dict[str, Kind]] = {"run": "run", **{kind: kind for kind in INTERNAL_KINDS}}
_DIGEST_BYTES: Final = 8
_TIME_BITS: Final = 48
"""Milliseconds until the year 10,889; one is added, so that 0 is none."""
_OFFSET_BITS: Final = 62
_STATE_BITS: Final = 3
_INDEX: Final[dict[str, int]] = {state: at for at, state in enumerate(STATES)}


@dataclass(frozen=True, slots=True)
class Expected:
    """What is to be there under a key. `state`, `unfinished`: of a run; `score`: its `changed_at` or a deadline, ms.

    `digest`, `offset`: of the record in the log. `readable`: False if only these two are known.
    """

    digest: int
    offset: int
    state: State | None
    unfinished: bool
    score: int | None
    readable: bool = True


def digest_of(value: bytes) -> int:
    """64 bits of the value: of a million keys that were changed at random, none is missed but by a chance of 1e-13."""
    return int.from_bytes(hashlib.blake2b(value, digest_size=_DIGEST_BYTES).digest(), "big")


def name_of(key: Key) -> bytes:
    """The key's name in Redis, behind namespace and partition."""
    return f"{key.kind}:{key.tenant}/{key.id}".encode()


def key_of(name: bytes) -> Key | None:
    """The record's key that a name in Redis is of; None if it is no record's."""
    kind, _, rest = name.decode(errors="replace").partition(":")
    tenant, slash, id = rest.partition("/")
    known = KINDS.get(kind)
    if known is None or not (tenant and slash and id) or "/" in id:
        return None
    return Key(known, tenant, id)


class Ledger:
    """Takes records in order; `wanted`: whose keys are kept, all if it is None."""

    def __init__(self, wanted: Callable[[Key], bool] | None = None) -> None:
        self._wanted = wanted
        self._entries: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, record: Stored, offset: int) -> None:
        """A record of the log, at its offset in its topic."""
        if self._wanted is not None and not self._wanted(record.key):
            return
        name = name_of(record.key)
        if record.value is None:
            self._entries.pop(name, None)
            return
        if isinstance(record, StoredRun):
            assert record.state is not None, "a document has a state"
            state, unfinished, score = _INDEX[record.state], record.unfinished, record.changed_at
        else:
            state, unfinished, score = 0, False, record.due
        packed = digest_of(record.value) << _OFFSET_BITS | offset
        packed = packed << _TIME_BITS | (0 if score is None else score + 1)
        packed = packed << _STATE_BITS | state
        self._entries[name] = packed << 3 | unfinished << 1

    def take_unread(self, key: Key, value: bytes, offset: int) -> None:
        """A record of the log that this version cannot read."""
        if self._wanted is None or self._wanted(key):
            packed = (digest_of(value) << _OFFSET_BITS | offset) << _TIME_BITS + _STATE_BITS
            self._entries[name_of(key)] = packed << 3 | 1 << 2

    def expected(self, name: bytes) -> Expected | None:
        """What is to be there under this name; None if nothing is."""
        packed = self._entries.get(name)
        if packed is None:
            return None
        unfinished, readable = bool(packed >> 1 & 1), not packed >> 2 & 1
        packed >>= 3
        state = STATES[packed & (1 << _STATE_BITS) - 1] if readable and name.startswith(b"run:") else None
        packed >>= _STATE_BITS
        score = packed & (1 << _TIME_BITS) - 1
        packed >>= _TIME_BITS
        digest, offset = packed >> _OFFSET_BITS, packed & (1 << _OFFSET_BITS) - 1
        return Expected(digest, offset, state, unfinished, score - 1 if score else None, readable)

    def __contains__(self, name: bytes) -> bool:
        return name in self._entries

    def tick(self, name: bytes) -> None:
        """It has been looked at; a record that comes later is to be looked at again."""
        packed = self._entries.get(name)
        if packed is not None:
            self._entries[name] = packed | 1

    def tenants(self) -> set[bytes]:
        """Whose runs there are."""
        return {name[4:].partition(b"/")[0] for name in self._entries if name.startswith(b"run:")}

    def names(self, kind: Kind | None = None) -> Iterator[bytes]:
        """The names that have not been ticked, as they are now; it may be added to meanwhile."""
        start = b"" if kind is None else f"{kind}:".encode()
        for name in list(self._entries):
            packed = self._entries.get(name)
            if packed is not None and not packed & 1 and name.startswith(start):
                yield name
