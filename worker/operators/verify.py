"""Redis against the two compacted topics against a fresh decision, while workers run.

A worker's script writes records and moves the position at once. So at any moment the store must hold exactly what the
log says below its position: not about what the log says, and not a while later. A look at Redis is therefore one script
that tells some records *and* the position at that moment; the ledger (`worker.operators.ledger`) is then led up to
exactly this position, by reading on in the log, and compared. However busy it is, nothing is compared that does not
belong together, and nobody has to wait for anybody.

What differs is a suspicion all the same. The cleaner may remove a record between the one that was read and the one that
replaces it; and where the position itself is wrong, nothing is what it should be. So, last, the store is waited for
until it has all that the log had when the suspicions were written down, and each is looked at again. What then differs,
differs.

Records that name each other are looked at together, by the same script, until nothing new is named; so links and facts
are compared at one moment as well.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any, Final, TypeVar

from contracts.decision import STATES
from contracts.events import Record
from contracts.ids import ID_PATTERN
from contracts.times import format_time
from projections.closure import named_by
from projections.formats import NewerFormat
from projections.record import Key, OperationRecord, decode_record
from projections.record import Record as StoreRecord
from projections.rules import POLICY, UNFINISHED
from projections.workspace import Workspace
from worker.errors import ProjectorError
from worker.nodes import Nodes
from worker.operators.comparing import compare_position, compare_record, compare_sizes
from worker.operators.decisions import compare_decisions
from worker.operators.differences import Difference, Name
from worker.operators.ledger import Ledger, digest_of, key_of, name_of
from worker.operators.redo_log import RedoLog, Tail
from worker.operators.sights import Sight, Standpoint, StoreSight
from worker.ports import Ends, Stored
from worker.reading import StoreReader
from worker.restore import decoded_internal, decoded_run, internal_key_of, run_key_of

NONE_OF_OURS: Final = (AttributeError, KeyError, TypeError, ValueError)
"""What reading bytes raises that are no record of ours."""
Answer = TypeVar("Answer")
Item = TypeVar("Item")

CHUNK: Final = 100
"""Records that are looked at together with all that they name."""
MAX_LOOK: Final = 1_000
"""Records in one look, unless a single operation has more: some 10 ms in which Redis answers nobody else."""
MAX_ROUNDS: Final = 6
"""Looks until records that name each other are together; more than two only where links change meanwhile."""
MAX_BEGINNINGS: Final = 4
"""How often a partition is begun when its store is restored in full meanwhile, or goes back."""
TENANTS: Final = 50
"""Tenants whose indexes are asked for at once."""
LOOK_AGAIN_S: Final = 0.1
SETTLE_S: Final = 60.0
"""How long a position may stand still, with records behind it, while there are workers: a session time-out (10 s by
default), what is left of a killed worker's transaction, and a restore that another partition of the worker needs."""
ALONE_S: Final = 1.0
"""The same while the group has no member."""
ASK_MEMBERS_S: Final = 0.5
TELL_EVERY: Final = 1_000
KEPT: Final = 1_000
"""Differences of a partition that are kept to be shown; all are counted."""


class Moved(Exception):
    """The store is another one than when the partition was begun: restored in full, or gone back."""


@dataclass(slots=True)
class Found:
    """What verifying has found.

    `keys`, `runs`: how many were compared. `places`: differences by partition and kind; `shown`: the first of them.
    """

    keys: int = 0
    runs: int = 0
    places: Counter[tuple[int, Name]] = field(default_factory=Counter)
    shown: list[Difference] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)
    """Partitions with a difference that a full restore cures."""
    decisions: list[tuple[int, str, str]] = field(default_factory=list)
    """Partition, tenant and run of decisions that are to be taken again."""
    newer: set[int] = field(default_factory=set)
    """Partitions in which a newer version has decided, of whose decisions this one can say nothing."""

    def add(self, difference: Difference) -> None:
        self.places[difference.partition, difference.name] += 1
        if len(self.shown) < KEPT:
            self.shown.append(difference)
        if difference.kind.cure == "rebuild":
            self.broken.add(difference.partition)
        elif difference.kind.cure == "recompute" and difference.run is not None:
            self.decisions.append((difference.partition, *difference.run))

    def merge(self, other: Found) -> None:
        """Add what was found in another partition."""
        self.keys += other.keys
        self.runs += other.runs
        self.places += other.places
        self.shown += other.shown
        self.broken |= other.broken
        self.decisions += other.decisions
        self.newer |= other.newer

    def outside(self, partitions: AbstractSet[int]) -> Found:
        """What was found in other partitions than these."""
        return Found(
            places=Counter({place: times for place, times in self.places.items() if place[0] not in partitions}),
            shown=[difference for difference in self.shown if difference.partition not in partitions],
            broken=self.broken - partitions,
            decisions=[decision for decision in self.decisions if decision[0] not in partitions],
            newer=self.newer - partitions,
        )

    @property
    def counts(self) -> Counter[Name]:
        """Differences by kind."""
        counts: Counter[Name] = Counter()
        for (_, name), times in self.places.items():
            counts[name] += times
        return counts

    @property
    def clean(self) -> bool:
        return not self.places


class Unreadable(ProjectorError):
    """The key of a record in one of the compacted topics is none of ours: no worker can restore from it either."""


Tell = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much there is of it (0: not known)."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A look at some records of a partition."""

    number: int
    keys: Sequence[Key]

    def __call__(self, sight: StoreSight) -> tuple[Standpoint, list[Sight]]:
        return sight.look(self.number, self.keys)


class Verifier:
    """Verifies partitions, one after the other. Every call may raise KafkaUnreachable, RedisUnreachable, Refused."""

    def __init__(self, log: RedoLog, store: StoreReader, namespace: str, tell: Tell) -> None:
        self.log = log
        self.tell = tell
        self.strays = Strays(self.ask, lambda names: self.tell("looking through Redis", names, 0))
        _, self.log_id = log.describe()
        self._store = store
        self._namespace = namespace
        self._sight: StoreSight | None = None

    def verify(self, number: int, tenants: AbstractSet[str] | None = None) -> Found:
        """Verify one partition; `tenants`: only what these have in it, and the position."""
        for _ in range(MAX_BEGINNINGS):
            with suppress(Moved):
                return _Partition(self, number, tenants).verify()
        found = Found()
        got = f"one that was begun anew {MAX_BEGINNINGS} times meanwhile"
        found.add(Difference("restoring", number, "position", "a copy that stays", got))
        return found

    def ask(self, question: Callable[[StoreSight], Answer]) -> Answer:
        """Ask Redis."""

        def asked(nodes: Nodes) -> Answer:
            if self._sight is None:
                self._sight = StoreSight(nodes, self._namespace)
            return question(self._sight)

        return self._store.ask(asked)

    def together(self, number: int, names: Sequence[bytes]) -> tuple[Standpoint, list[Sight], Workspace] | None:
        """These records and all that they name, at one moment; None if these are too many."""
        keys = dict.fromkeys(key for name in names if (key := key_of(name)) is not None)
        for rounds in count(1):
            at, sights = self.ask(_Look(number, list(keys)))
            workspace = _workspace(sights)
            missing = [named for key in list(keys) for named in _names(workspace, key) if named not in keys]
            if not missing or rounds == MAX_ROUNDS:
                return at, sights, workspace
            keys |= dict.fromkeys(missing)
            if len(keys) > MAX_LOOK and len(names) > 1:
                return None
        raise AssertionError("counting does not end")

    def members(self, number: int, tenants: Sequence[bytes]) -> Iterator[tuple[bytes, list[bytes] | None]]:
        """All indexes of a partition and their members, large ones in pieces; None for what is no index."""
        indexes = [b"records", b"deadlines", *(f"unfinished:{state}".encode() for state in UNFINISHED)]
        yield from self._walk(number, indexes)
        for chunk in batched(tenants, TENANTS):
            of_tenants = [
                name for t in chunk for name in (b"runs:" + t, *(b"runs:%b:%b" % (t, s.encode()) for s in STATES))
            ]
            yield from self._walk(number, of_tenants)

    def _walk(self, number: int, indexes: Sequence[bytes]) -> Iterator[tuple[bytes, list[bytes] | None]]:
        cursors = dict.fromkeys(indexes, 0)
        while cursors:
            told = self.ask(lambda sight: sight.members(number, cursors))  # noqa: B023  it is asked at once
            cursors = {}
            for index, (cursor, members) in told.items():
                yield index, members
                if cursor:
                    cursors[index] = cursor

    def take(self, ledger: Ledger, record: Record) -> bool:
        """Take a record of the log into a ledger; whether a newer version has decided it. Raises Unreadable.

        A worker refuses such a record (`worker.restore`). Here it is one that Redis is to have like any other.
        """
        key = self.key(record)
        newer = False
        try:
            stored: Stored
            if key.kind == "run":
                stored, policy = decoded_run(record)
                newer = policy > POLICY
            else:
                stored = decoded_internal(record)
            ledger.take(stored, record.offset)
        except (*NONE_OF_OURS, NewerFormat) as error:
            assert record.value is not None, "a tombstone can be read"
            ledger.take_unread(key, record.value, record.offset)
            newer = newer or isinstance(error, NewerFormat)
        return newer

    def key(self, record: Record) -> Key:
        """Whose record of the log it is. Raises Unreadable."""
        try:
            return run_key_of(record) if record.topic == self.log.state_topic else internal_key_of(record)
        except ValueError as error:
            raise Unreadable(
                f"{record.topic} partition {record.partition} offset {record.offset}: expected a key of ours, got one"
                f" that cannot be read: {error!r:.200}"
            ) from error


@dataclass(slots=True)
class Stray:
    """What a walk through Redis has met of a partition: names that its set of records lacks, tenants with indexes."""

    names: list[bytes] = field(default_factory=list)
    tenants: set[bytes] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Scan:
    """A step of a walk through a server's keys."""

    node: str
    cursor: int

    def __call__(self, sight: StoreSight) -> tuple[int, dict[int, list[bytes]]]:
        return sight.scan(self.node, self.cursor)


class Strays:
    """Names that are in no set of records, of all partitions at once, as SCAN always goes through a whole database.

    What is written or removed meanwhile may be among them: they are suspects.
    """

    def __init__(self, ask: Callable[[Callable[[StoreSight], Any]], Any], tell: Callable[[int], None]) -> None:
        self._ask = ask
        self._tell = tell
        self._found: dict[int, Stray] | None = None

    def of(self, number: int) -> Stray:
        """Of a partition; the first time it goes through all of Redis."""
        if self._found is None:
            self._found = {}
            self._scan(self._found)
        return self._found.get(number) or Stray()

    def _scan(self, found: dict[int, Stray]) -> None:
        seen = 0
        for node in self._ask(lambda sight: sight.nodes()):
            cursor: int | None = None
            while cursor != 0:
                cursor, names = self._ask(_Scan(node, cursor or 0))
                seen += sum(map(len, names.values()))
                self._tell(seen)
                for number, of_partition in names.items():
                    self._sort(found.setdefault(number, Stray()), number, of_partition)

    def _sort(self, stray: Stray, number: int, names: Sequence[bytes]) -> None:
        records = []
        for name in names:
            index = INDEX_OF_TENANT.fullmatch(name)
            if index is not None:
                stray.tenants.add(index[1])
            elif name not in OWN_NAMES:
                records.append(name)
        stray.names += self._ask(lambda sight: sight.unlisted(number, records))


INDEX_OF_TENANT: Final = re.compile(rf"runs:({ID_PATTERN})(?::(?:{'|'.join(STATES)}))?".encode())
OWN_NAMES: Final = frozenset({b"position", b"records", b"deadlines", *(f"unfinished:{s}".encode() for s in UNFINISHED)})


class _Partition:
    """One partition, from its beginning. `Moved` from any call: begin anew."""

    def __init__(self, verifier: Verifier, number: int, tenants: AbstractSet[str] | None) -> None:
        self._all = verifier
        self._number = number
        self._found = Found()
        self._tenants = tenants
        self._ledger = Ledger(None if tenants is None else lambda key: key.tenant in tenants)
        self._tail: Tail | None = None
        self._generation = ""
        self._at = (0, 0)
        self._suspects: dict[bytes, None] = {}
        self._stray: list[Difference] = []
        self._asked_at = -ASK_MEMBERS_S
        self._alone = False

    def verify(self) -> Found:
        at = self._wait_until_ready()
        if at is None:
            return self._found
        ends = self._all.log.ends([self._number])[self._number]
        wrong = compare_position(self._number, at, ends, self._all.log_id)
        if wrong is not None:
            self._found.add(wrong)
            return self._found
        self._judge_policy(at)
        self._generation, self._at = at.generation, (ends.low_state, ends.low_internal)
        self._tail = self._all.log.tail(self._number, *self._at)
        self._follow(at)
        self._found.keys = len(self._ledger)
        self._first_look()
        self._look_for_strays()
        self._second_look()
        return self._found

    # Where the store stands

    def _look(self, keys: Sequence[Key] = ()) -> tuple[Standpoint, list[Sight]]:
        return self._all.ask(_Look(self._number, keys))

    def _wait_until_ready(self) -> Standpoint | None:
        """The position once it is ready, or cannot be read; None if it does not come on, which is then told."""
        since, before = time.monotonic(), None
        while True:
            at, _ = self._look()
            if not at.readable or at.ready:
                return at
            if at.fields != before:
                since, before = time.monotonic(), at.fields
            self._all.tell("waiting until it is restored", 0, 0)
            if self._is_over(since):
                got = f"restoring since {_moment(at.number('status_since'))}, generation {at.generation}"
                self._found.add(Difference("restoring", self._number, "position", "a position that is ready", got))
                return None
            time.sleep(LOOK_AGAIN_S)

    def _is_over(self, since: float) -> bool:
        """Whether nothing is to be expected any more of a position that has stood still since then."""
        now = time.monotonic()
        if now - self._asked_at >= ASK_MEMBERS_S:
            self._asked_at = now
            self._alone = self._all.log.members() == 0
        return now - since > (ALONE_S if self._alone else SETTLE_S)

    def _judge_policy(self, at: Standpoint) -> None:
        policy = at.number("policy") or 0
        if policy > POLICY:
            self._found.newer.add(self._number)
        elif policy < POLICY:
            expected, got = f"decided by policy {POLICY}", f"by policy {policy}"
            self._found.add(Difference("older_policy", self._number, "position", expected, got))

    def _follow(self, at: Standpoint) -> None:
        """Lead the ledger up to exactly this position."""
        if not at.readable or at.generation != self._generation:
            raise Moved
        state, internal = at.offsets
        if state < self._at[0] or internal < self._at[1]:
            raise Moved
        assert self._tail is not None, "the partition was begun"
        total = state - self._at[0] + internal - self._at[1]
        for done, record in enumerate(self._tail.below(state, internal)):
            self._take(record)
            if done % TELL_EVERY == TELL_EVERY - 1:
                self._all.tell("reading Kafka", done, total)
        self._at = (state, internal)

    def _take(self, record: Record) -> None:
        """Into the ledger. A record whose key is none of ours can be of no tenant, and Redis cannot have it."""
        try:
            if self._all.take(self._ledger, record):
                self._found.newer.add(self._number)
        except Unreadable as error:
            if self._tenants is None:
                where = (record.key or b"").decode(errors="replace")
                self._stray.append(Difference("unreadable", self._number, where, "a record of ours", str(error)))

    # What is there

    def _first_look(self) -> None:
        """All records, each once, with what they name; operations first, as most is named by them."""
        total = len(self._ledger)
        done = 0
        for names in (self._ledger.names("operation"), self._ledger.names()):
            while chunk := list(islice(names, CHUNK)):
                for name, differences in self._examine(chunk):
                    self._ledger.tick(name)
                    done += 1
                    self._found.runs += name.startswith(b"run:")
                    if differences:
                        self._suspects[name] = None
                self._all.tell("comparing", min(done, total), total)

    def _examine(self, names: Sequence[bytes]) -> Iterator[tuple[bytes, list[Difference]]]:
        """What is wrong of these records and of those that they name."""
        together = self._all.together(self._number, names)
        if together is None:
            half = len(names) // 2
            yield from self._examine(names[:half])
            yield from self._examine(names[half:])
            return
        at, sights, workspace = together
        self._follow(at)
        found: dict[bytes, list[Difference]] = {}
        for sight in sights:
            name = name_of(sight.key)
            found[name] = list(compare_record(self._number, self._ledger.expected(name), sight))
            if is_unread(workspace, sight) and not found[name] and not is_of_newer_format(sight):
                found[name].append(_unreadable(self._number, sight))
        good = {s.key for s in sights if not (_is_broken(found[name_of(s.key)]) or is_unread(workspace, s))}
        complete = whole(workspace, good)
        if len(complete) < len(sights):
            workspace = only(workspace, complete)
        decide = self._number not in self._found.newer
        for difference in compare_decisions(self._number, workspace, decide=decide):
            found[difference.key.encode()].append(difference)
        yield from found.items()

    # What should not be there

    def _look_for_strays(self) -> None:
        """Names in Redis, and members of indexes, that the log does not have: suspects, too."""
        strays = self._all.strays.of(self._number)
        for name in strays.names:
            key = key_of(name)
            if key is not None:
                self._suspect(key)
            elif self._tenants is None:
                where = name.decode(errors="replace")
                self._stray.append(Difference("extra_key", self._number, where, "no such key", "a key of unknown use"))
        tenants = strays.tenants | self._ledger.tenants()
        if self._tenants is not None:
            tenants &= {tenant.encode() for tenant in self._tenants}
        for done, (index, members) in enumerate(self._all.members(self._number, sorted(tenants))):
            self._all.tell("looking through indexes", done, len(tenants) * (len(STATES) + 1))
            if members is None:
                where = index.decode(errors="replace")
                self._stray.append(
                    Difference("wrong_index", self._number, where, f"a {_type_of(index)}", "a key of another type")
                )
                continue
            for member in members:
                self._suspect_member(index, member)

    def _suspect(self, key: Key) -> None:
        name = name_of(key)
        if name not in self._ledger and (self._tenants is None or key.tenant in self._tenants):
            self._suspects[name] = None

    def _suspect_member(self, index: bytes, member: bytes) -> None:
        key = _member_key(index, member)
        if key is not None:
            self._suspect(key)
        elif self._tenants is None:
            where, what = index.decode(errors="replace"), member.decode(errors="replace")
            self._stray.append(Difference("extra_index_entry", self._number, where, f"{what} not there", "it is there"))

    # What remains

    def _second_look(self) -> None:
        ends = self._all.log.ends([self._number])[self._number]
        later = self._settle(ends)
        at, _ = self._look()
        self._follow(at)
        for difference in (*compare_sizes(self._number, at), *self._stray):
            self._found.add(difference)
        from_behind = 0
        told: set[bytes] = set()
        for chunk in batched(self._suspects, CHUNK):
            for name, differences in self._examine(chunk):
                if name in told:
                    continue
                told.add(name)
                if later is not None and name in later:
                    from_behind += self._is_from_behind(name, later[name])
                    continue
                for difference in differences:
                    self._found.add(difference)
        if later is not None:
            self._tell_behind(at, ends, from_behind)

    def _settle(self, ends: Ends) -> dict[bytes, set[int]] | None:
        """Wait until the store has all that is below these ends: None; else what there is behind it."""
        assert self._tail is not None, "the partition was begun"
        since, before = time.monotonic(), self._at
        while True:
            at, _ = self._look()
            self._follow(at)
            if not self._tail.has_any_below(ends.high_state, ends.high_internal):
                return None
            if self._at != before:
                since, before = time.monotonic(), self._at
            self._all.tell("waiting until Redis is where Kafka is", 0, 0)
            if self._is_over(since):
                return self._behind(ends)
            time.sleep(LOOK_AGAIN_S)

    def _behind(self, ends: Ends) -> dict[bytes, set[int]]:
        """Digests of what the log has behind the store's position, which stands still, by name."""
        later: dict[bytes, set[int]] = {}
        for record in self._all.log.tail(self._number, *self._at).below(ends.high_state, ends.high_internal):
            with suppress(Unreadable):
                digests = later.setdefault(name_of(self._all.key(record)), set())
                if record.value is not None:
                    digests.add(digest_of(record.value))
        self._tail = self._all.log.tail(self._number, *self._at)
        return later

    def _is_from_behind(self, name: bytes, digests: set[int]) -> bool:
        """Whether Redis has a document that lies behind its position; what an internal record says may come again."""
        key = key_of(name)
        if key is None or key.kind != "run":
            return False
        _, (sight,) = self._look([key])
        if sight.value is None:
            return False
        digest, expected = digest_of(sight.value), self._ledger.expected(name)
        return digest in digests and (expected is None or expected.digest != digest)

    def _tell_behind(self, at: Standpoint, ends: Ends, from_behind: int) -> None:
        state, internal = at.offsets
        expected = f"decision-state {ends.high_state}, internal {ends.high_internal}, where Kafka is"
        got = f"decision-state {state}, internal {internal}, written last {_moment(at.number('applied_at'))}"
        if from_behind:
            got = f"{got}, and {from_behind:,} documents from behind it"
            self._found.add(Difference("gone_back", self._number, "position", expected, got))
        else:
            cause = NOBODY_THERE if self._alone else None
            self._found.add(Difference("behind", self._number, "position", expected, got, cause))


NOBODY_THERE: Final = "no worker runs; or an older copy was put back, a dump or a replica that lagged and took over"


def whole(workspace: Workspace, good: set[Key]) -> set[Key]:
    """Those of the good ones that name only good ones: what is broken is told already, and would tear others."""
    while torn := {key for key in good if any(named not in good for named in _names(workspace, key))}:
        good = good - torn
    return good


def only(workspace: Workspace, keys: set[Key]) -> Workspace:
    fewer = Workspace()
    for key in keys:
        fewer.load(key, workspace.find(key))
    return fewer


def _workspace(sights: Iterable[Sight]) -> Workspace:
    """The records of sights; None for what cannot be read."""
    workspace = Workspace()
    for sight in sights:
        record: StoreRecord | None = None
        if sight.value is not None:
            with suppress(*NONE_OF_OURS, NewerFormat):
                record = decode_record(sight.key, sight.value)
        workspace.load(sight.key, record)
    return workspace


def is_unread(workspace: Workspace, sight: Sight) -> bool:
    """Whether there is something that cannot be read."""
    return sight.value is not None and workspace.find(sight.key) is None


def is_of_newer_format(sight: Sight) -> bool:
    """Whether a newer version has written it, in a format that this one cannot read."""
    try:
        with suppress(*NONE_OF_OURS):
            decode_record(sight.key, sight.value or b"")
    except NewerFormat:
        return True
    return False


def _unreadable(number: int, sight: Sight) -> Difference:
    name = name_of(sight.key).decode()
    got = f"{len(sight.value or b'')} bytes that this version cannot read"
    return Difference("unreadable", number, name, "a record of ours", got)


def _names(workspace: Workspace, key: Key) -> Iterator[Key]:
    """What a record names, kept snapshots among it."""
    if not workspace.knows(key):
        return
    yield from named_by(workspace, key)
    record = workspace.find(key)
    if isinstance(record, OperationRecord):
        yield from (Key("snapshot", key.tenant, id) for id in record.snapshots)


def _is_broken(differences: Iterable[Difference]) -> bool:
    """Whether the bytes themselves are not those of the log."""
    return any(difference.name in {"changed_key", "extra_key", "lost_key"} for difference in differences)


def _type_of(index: bytes) -> str:
    return "set" if index == b"records" else "sorted set"


def _moment(ms: int | None) -> str:
    return "nobody knows when" if ms is None else format_time(ms)


def _member_key(index: bytes, member: bytes) -> Key | None:
    """The record that a member of an index is of; None if it can be of none."""
    if index == b"records":
        return key_of(member)
    if index.startswith(b"unfinished:"):
        return key_of(b"run:" + member)
    if index == b"deadlines":
        kind, _, rest = member.partition(b"/")
        return key_of(kind + b":" + rest)
    tenant = index.split(b":")[1]
    return key_of(b"run:" + tenant + b"/" + member)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of at most so many."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
