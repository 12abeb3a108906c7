"""The store in Redis: one cluster slot per partition, one script per step.

    <namespace>:{p}:position            what of the log is in the store; every script looks here first
    <namespace>:{p}:run:<tenant>/<run>  state documents
    <namespace>:{p}:<kind>:<tenant>/<id>  internal records
    <namespace>:{p}:runs:<tenant>[:<state>]  sorted sets of run ids by `changed_at`
    <namespace>:{p}:records             set of the names of all documents and internal records that are to be there
    <namespace>:{p}:unfinished:<state>  sorted sets of <tenant>/<run> by `changed_at`: of which something is awaited
    <namespace>:{p}:deadlines           sorted set of internal keys by `due`

Nothing is retried here: a request whose answer is lost may have been carried out, and the one way to recover finds out.
In a Redis Cluster `worker.nodes` knows which master has a partition's slot.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Final, cast

from redis.commands.core import Script
from redis.exceptions import ResponseError

from contracts.decision import STATES, State
from contracts.ids import split_internal_key
from projections import rules
from projections.record import INTERNAL_KINDS, Key, Kind
from projections.rules import UNFINISHED
from worker.errors import PositionMoved, RedisUnreachable, StoreDamaged
from worker.nodes import AWAY, Nodes, reason, refusal
from worker.ports import LAYOUT, Position, Stored, StoredRun, StoreStatus

STATE_INDEX: Final[dict[str, int]] = {state: at for at, state in enumerate(STATES, 1)}
UNFINISHED_INDEX: Final[dict[str, int]] = {state: at for at, state in enumerate(UNFINISHED, 1)}
READ_CHUNK: Final = 2_000
"""Keys in one read: 6 MB of documents, a few ms in which Redis answers nobody else."""
SWEEP_CHUNK: Final = 1_000
"""Keys removed at once when a partition is wiped."""
KINDS: Final[dict[str, Kind]] = {kind: kind for kind in INTERNAL_KINDS}


def unfinished_key(namespace: str, partition: int, state: State) -> str:
    """The name of the sorted set of a partition's runs in a state of which something is still awaited."""
    return f"{namespace}:{{{partition}}}:unfinished:{state}"


class RedisStore:
    """`worker.ports.Store` on one Redis or a cluster. `address` is for messages, without password."""

    def __init__(self, nodes: Nodes, namespace: str, address: str) -> None:
        self._nodes = nodes
        self._namespace = namespace
        self._address = address
        self._read_script = self._script("read")
        self._due_script = self._script("due")
        self._apply_script = self._script("apply")
        self._wipe_script = self._script("wipe")
        self._sweep_script = self._script("sweep")
        self._rebuild_script = self._script("rebuild")

    def _script(self, name: str) -> Script:
        text = files("worker").joinpath("scripts", f"{name}.lua").read_bytes()
        return Script(self._nodes.entry, text)

    @contextmanager
    def _translated(self, script: str = "") -> Iterator[None]:
        try:
            yield
        except AWAY as error:
            self._nodes.forget()
            raise RedisUnreachable(self._address, reason(error)) from error
        except ResponseError as error:
            refused = refusal(self._address, error, script)
            if refused is None:
                raise
            raise refused from error

    def _call(self, script: Script, partition: int, keys: Sequence[str], args: Sequence[Any]) -> list[Any]:
        with self._translated(cast(bytes, script.script).decode()):
            return cast(list[Any], script(keys=keys, args=args, client=self._nodes.of(partition)))

    def status(self, partition: int) -> StoreStatus | None:
        with self._translated():
            raw = cast(dict[bytes, bytes], self._nodes.of(partition).hgetall(self.key(partition, "position")))
        try:
            fields = {name.decode(): value.decode() for name, value in raw.items()}
            return StoreStatus(
                Position(fields["generation"], int(fields["state"]), int(fields["internal"])),
                restoring=fields["status"] == "restoring",
                wiped=fields["wiped"] == "1",
                log_id=fields["log_id"],
                applied_at=int(fields["applied_at"]),
                policy=int(fields["policy"]),
                layout=int(fields["layout"]) if "layout" in fields else None,
                ordered=fields.get("ordered"),
                offsets=read_offsets(fields.get("offsets")),
            )
        except (KeyError, ValueError):
            return None

    def read(self, partition: int, position: Position, keys: Sequence[Key]) -> list[bytes | None]:
        values: list[bytes | None] = []
        for at in range(0, len(keys), READ_CHUNK):
            names = [self.key(partition, "records")]
            names += (self.record_key(partition, key) for key in keys[at : at + READ_CHUNK])
            values += self._guarded(self._read_script, partition, position, names, ())
        return values

    def due(self, partition: int, position: Position, until: int, limit: int) -> list[tuple[int, Key]]:
        return self._deadlines(partition, position, str(until), limit)

    def next_due(self, partition: int, position: Position) -> int | None:
        found = self._deadlines(partition, position, "+inf", 1)
        return found[0][0] if found else None

    def _deadlines(self, partition: int, position: Position, until: str, limit: int) -> list[tuple[int, Key]]:
        names = [self.key(partition, "deadlines")]
        found = self._guarded(self._due_script, partition, position, names, (until, limit))
        return [(int(score), _parse_member(member)) for member, score in zip(found[::2], found[1::2], strict=True)]

    def apply(
        self,
        partition: int,
        before: Position,
        after: Position,
        writes: Iterable[Stored],
        *,
        restoring: bool,
        applied_at: int,
        policy: int | None = None,
        offsets: Mapping[str, int] | None = None,
    ) -> None:
        call = _ApplyCall(self, partition)
        for write in writes:
            call.add(write)
        status = "restoring" if restoring else "ready"
        committed = "" if offsets is None else json.dumps(offsets)
        moved = (after.state, after.internal, status, applied_at, "" if policy is None else policy, committed)
        args = (*moved, len(STATES), len(UNFINISHED), *call.operations)
        self._guarded(self._apply_script, partition, before, [*call.keys, self._nothing(partition)], args)

    def wipe(
        self, partition: int, before: StoreStatus | None, start: Position, log_id: str, *, applied_at: int
    ) -> None:
        position = self.key(partition, "position")
        expected = "" if before is None else before.position.generation
        args = (expected, start.generation, start.state, start.internal, log_id, applied_at, rules.POLICY, LAYOUT)
        self._refuse_moved(
            partition, start, self._call(self._wipe_script, partition, [position, self._nothing(partition)], args)
        )
        doomed: list[str] = []
        sweeps = 0
        for name in self._names(partition):
            if name != position:
                doomed.append(name)
            if len(doomed) == SWEEP_CHUNK:
                self._sweep(partition, start, doomed, -sweeps, -(sweeps + 1))
                doomed = []
                sweeps += 1
        self._sweep(partition, start, doomed, -sweeps, 1)

    def order_restore(self, partition: int, generation: str, who: str, *, now: int) -> bool:
        """Order a full restore by giving the position a generation that nobody holds; for operators, not for the loop.

        False if there is no position, as then it is restored in full anyway. An order that is there already stands.
        """
        keys = [self.key(partition, "position"), self._nothing(partition)]
        reply = self._call(self._rebuild_script, partition, keys, (generation, who, now))
        return bool(reply[0] != 0)

    def _sweep(self, partition: int, start: Position, names: Sequence[str], wiped: int, becomes: int) -> None:
        """Remove these keys of an earlier generation."""
        keys = [self.key(partition, "position"), *names, self._nothing(partition)]
        reply = self._call(self._sweep_script, partition, keys, (start.generation, wiped, becomes))
        self._refuse_moved(partition, start, reply)

    def _names(self, partition: int) -> Iterator[str]:
        """All keys of a partition. SCAN goes through a server's whole database: one of its own is cheaper."""
        pattern = self.key(partition, "*")
        with self._translated():
            for name in self._nodes.of(partition).scan_iter(match=pattern, count=SWEEP_CHUNK):
                yield name.decode()

    def _guarded(
        self, script: Script, partition: int, position: Position, keys: Sequence[str], args: Sequence[Any]
    ) -> list[Any]:
        names = [self.key(partition, "position"), *keys]
        reply = self._call(script, partition, names, (position.generation, position.state, position.internal, *args))
        return self._refuse_moved(partition, position, reply)

    @staticmethod
    def _refuse_moved(partition: int, expected: Position, reply: list[Any]) -> list[Any]:
        """What a script returned behind its 1; PositionMoved if it returned 0, StoreDamaged if it returned 2."""
        if reply[0] == 1:
            return reply[1:]
        if reply[0] == 2:
            raise StoreDamaged(partition, f"{reply[1].decode()} was stored and is not there")
        got = "/".join(part.decode() if isinstance(part, bytes) else "none" for part in reply[1:])
        raise PositionMoved(partition, f"{expected.generation}/{expected.state}/{expected.internal}", got)

    def key(self, partition: int, rest: str) -> str:
        """The name of a partition's key in Redis."""
        return f"{self._namespace}:{{{partition}}}:{rest}"

    def _nothing(self, partition: int) -> str:
        """A key that is never there, which every script that writes names last.

        While a slot is on its way to another node of a cluster, Redis refuses who names one that may be at either end.
        So no script stops in the middle over a key that it has just removed, and none believes a SCAN that showed
        a part of the slot.
        """
        return self.key(partition, "nothing")

    def record_key(self, partition: int, key: Key) -> str:
        """The name in Redis of a stored record."""
        return f"{self._namespace}:{{{partition}}}:{key.kind}:{key.tenant}/{key.id}"


class _ApplyCall:
    """Keys and operations of one call of apply.lua; indexes into KEYS count the position, which comes first."""

    def __init__(self, store: RedisStore, partition: int) -> None:
        self._store = store
        self._partition = partition
        self._blocks: dict[str, int] = {}
        self.keys: list[str] = [store.key(partition, "deadlines"), store.key(partition, "records")]
        self.keys += (store.key(partition, f"unfinished:{state}") for state in UNFINISHED)
        self.operations: list[str | bytes | int] = []

    def add(self, write: Stored) -> None:
        key = write.key
        at = self._declare(self._store.record_key(self._partition, key))
        if isinstance(write, StoredRun):
            block = self._block(key.tenant)
            if write.value is None:
                self.operations += ("no-run", at, block, key.id, str(key))
            else:
                assert write.state is not None, "a document has a state"
                assert write.changed_at is not None, "and a time of its last change"
                state, awaited = STATE_INDEX[write.state], UNFINISHED_INDEX[write.state] if write.unfinished else 0
                self.operations += ("run", at, block, key.id, str(key), write.value, state, awaited, write.changed_at)
        elif write.value is None:
            self.operations += ("no-record", at, str(key))
        else:
            self.operations += ("record", at, str(key), write.value, "" if write.due is None else write.due)

    def _declare(self, name: str) -> int:
        self.keys.append(name)
        return len(self.keys) + 1

    def _block(self, tenant: str) -> int:
        """Where a tenant's index keys begin: all of its runs, then those of each state."""
        block = self._blocks.get(tenant)
        if block is None:
            block = self._blocks[tenant] = self._declare(self._store.key(self._partition, f"runs:{tenant}"))
            for state in STATES:
                self._declare(self._store.key(self._partition, f"runs:{tenant}:{state}"))
        return block


def read_offsets(text: str | None) -> dict[str, int]:
    """A position's `offsets`, by topic; none where they cannot be read: they are a second witness only."""
    try:
        offsets = json.loads(text or "{}")
        return {str(topic): int(offset) for topic, offset in offsets.items()}
    except (AttributeError, TypeError, ValueError):
        return {}


def _parse_member(member: bytes) -> Key:
    kind, tenant, id = split_internal_key(member.decode())
    return Key(KINDS[kind], tenant, id)
