"""What Redis has of records at one moment, with the position at that moment (`worker/scripts/look.lua`)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

import redis
from redis.exceptions import NoScriptError, ResponseError

from contracts.decision import STATES, State
from projections.record import Key
from projections.rules import UNFINISHED
from worker.nodes import Nodes
from worker.operators.ledger import name_of
from worker.redis import unfinished_key

SCAN_COUNT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Standpoint:
    """The position record field by field, as far as it can be read, and the real sizes of two indexes."""

    fields: dict[str, str]
    deadlines: int
    records: int

    def number(self, name: str) -> int | None:
        text = self.fields.get(name, "")
        return int(text) if text.isdecimal() else None

    @property
    def readable(self) -> bool:
        """As `worker.redis.RedisStore.status` reads it."""
        numbers = ("state", "internal", "applied_at", "policy")
        texts = ("generation", "status", "wiped", "log_id")
        return all(self.number(name) is not None for name in numbers) and all(name in self.fields for name in texts)

    @property
    def generation(self) -> str:
        return self.fields.get("generation", "")

    @property
    def ready(self) -> bool:
        return self.fields.get("status") == "ready"

    @property
    def offsets(self) -> tuple[int, int]:
        """Next offsets of the two topics; only where it is readable."""
        state, internal = self.number("state"), self.number("internal")
        assert state is not None and internal is not None, "asked of a position that cannot be read"
        return state, internal


@dataclass(frozen=True, slots=True)
class Sight:
    """One record. `listed`: it is in the set of all records; `score`: in the tenant's list of runs, or its deadline.

    `states`, `unfinished`: in which of those sorted sets a run is, and its score there.
    """

    key: Key
    value: bytes | None
    listed: bool
    score: int | None
    states: dict[State, int] = field(default_factory=dict)
    unfinished: dict[State, int] = field(default_factory=dict)


class StoreSight:
    """Looks at a partition's part of the store. Every call may raise `redis.exceptions.RedisError`."""

    def __init__(self, nodes: Nodes, namespace: str) -> None:
        self._nodes = nodes
        self._namespace = namespace
        self._script = files("worker").joinpath("scripts", "look.lua").read_text(encoding="utf-8")
        self._digest = hashlib.sha1(self._script.encode()).hexdigest()  # noqa: S324  so Redis names scripts

    def look(self, partition: int, keys: Sequence[Key]) -> tuple[Standpoint, list[Sight]]:
        """These records and the position, at one moment."""
        call = _Call(self._namespace, partition)
        for key in keys:
            call.add(key)
        arguments = (len(STATES), len(UNFINISHED), *call.arguments)
        reply = self._run(self._nodes.of(partition), call.keys, arguments)
        (flat, deadlines, records), rows = reply[0], reply[1:]
        pairs = zip(flat[::2], flat[1::2], strict=True)
        told = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in pairs}
        return Standpoint(told, deadlines, records), [_sight(key, row) for key, row in zip(keys, rows, strict=True)]

    def _run(self, client: redis.Redis, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Run the script as one that only reads, which a user without any right to write may do."""
        flat = [*keys, *map(str, arguments)]
        try:
            return client.evalsha_ro(self._digest, len(keys), *flat)
        except NoScriptError:
            client.script_load(self._script)
            return client.evalsha_ro(self._digest, len(keys), *flat)

    def nodes(self) -> Sequence[str]:
        """The names of all servers that have some of the keys."""
        return list(self._nodes.masters())

    def scan(self, node: str, cursor: int) -> tuple[int, dict[int, list[bytes]]]:
        """A step of a walk through all keys of a server: the next cursor, 0 at the end, and names by partition.

        Names are told behind namespace and partition; some come twice.
        """
        pattern = f"{_literal(self._namespace)}:{{*}}:*"
        told: Any = self._nodes.masters()[node].scan(cursor, match=pattern, count=SCAN_COUNT)
        names: dict[int, list[bytes]] = {}
        for name in told[1]:
            number, brace, rest = name[len(self._namespace) + 2 :].partition(b"}:")
            if brace and number.isdigit():
                names.setdefault(int(number), []).append(rest)
        return int(told[0]), names

    def unlisted(self, partition: int, names: Sequence[bytes]) -> list[bytes]:
        """Those of these names that are not in the partition's set of records; all of them if that is none."""
        if not names:
            return []
        records = f"{self._namespace}:{{{partition}}}:records"
        try:
            listed: Any = self._nodes.of(partition).smismember(records, list(names))
        except ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            return list(names)
        return [name for name, there in zip(names, listed, strict=True) if not there]

    def members(self, partition: int, cursors: Mapping[bytes, int]) -> dict[bytes, tuple[int, list[bytes] | None]]:
        """A step of a walk through indexes, from these cursors: of each the next one, 0 at the end, and members.

        Redis gives a small index at once. The members of what is no index are None.
        """
        place = f"{self._namespace}:{{{partition}}}:".encode()
        with self._nodes.of(partition).pipeline(transaction=False) as step:
            for index, cursor in cursors.items():
                if index == b"records":
                    step.sscan(place + index, cursor, count=SCAN_COUNT)
                else:
                    step.zscan(place + index, cursor, count=SCAN_COUNT)
            told = step.execute(raise_on_error=False)
        return {index: _members(index, answer) for index, answer in zip(cursors, told, strict=True)}


def _members(index: bytes, answer: Any) -> tuple[int, list[bytes] | None]:
    if isinstance(answer, Exception):
        if "WRONGTYPE" not in str(answer):
            raise answer
        return 0, None
    cursor, members = answer
    return int(cursor), list(members) if index == b"records" else [member for member, _ in members]


class _Call:
    """Keys and arguments of one call of look.lua; indexes into KEYS count from 1."""

    def __init__(self, namespace: str, partition: int) -> None:
        self._place = f"{namespace}:{{{partition}}}:"
        self.keys = [f"{self._place}{name}" for name in ("position", "deadlines", "records")]
        self.keys += (unfinished_key(namespace, partition, state) for state in UNFINISHED)
        self.arguments: list[str | int] = []
        self._blocks: dict[str, int] = {}

    def add(self, key: Key) -> None:
        at = self._declare(name_of(key).decode())
        if key.kind == "run":
            self.arguments += ("run", at, self._block(key.tenant), key.id, str(key))
        else:
            self.arguments += ("record", at, str(key))

    def _declare(self, name: str) -> int:
        self.keys.append(f"{self._place}{name}")
        return len(self.keys)

    def _block(self, tenant: str) -> int:
        block = self._blocks.get(tenant)
        if block is None:
            block = self._blocks[tenant] = self._declare(f"runs:{tenant}")
            for state in STATES:
                self._declare(f"runs:{tenant}:{state}")
        return block


def _sight(key: Key, row: list[Any]) -> Sight:
    value, listed, score = row[:3]
    number = None if score is None else _score(score)
    if key.kind != "run":
        return Sight(key, value, bool(listed), number)
    return Sight(key, value, bool(listed), number, _places(STATES, row[3]), _places(UNFINISHED, row[4]))


def _places(states: Sequence[State], flat: list[Any]) -> dict[State, int]:
    return {states[int(at) - 1]: _score(score) for at, score in zip(flat[::2], flat[1::2], strict=True)}


def _score(told: bytes) -> int:
    """A score in ms; -1, which none of ours is, for one that is no such time."""
    score = float(told)
    return int(score) if score.is_integer() and score >= 0 else -1


def _literal(text: str) -> str:
    """A namespace in a pattern of SCAN: what has a meaning there stands for itself."""
    return "".join(f"\\{c}" if c in "*?[]\\^" else c for c in text)
