"""What operators may ask of the worker, through the ops topic and so in order with everything else.

A command is a record with the header `op` and the tenant's key, on the tenant's partition:

    op: recompute    value {"restore_run_id": "rr-1"}; decide this run again from its stored facts
    op: replay       value and headers of a source record, and `rp_topic`, `rp_partition`, `rp_offset`, `rp_timestamp`:
                     take it again as if it came from there
    op: forget       value {"kind": …, "id": …, "what": "sequence" or "everything"}; forget the sequence of this stored
                     record, so that the next event of its entity is newer whatever its own, or the record itself
    op: dismiss      no value, and the key of a dead letter's source record, which may be anything: this dead letter is
                     seen to; it is for who lists dead letters, and the worker only takes note of it

Whoever asked and why may stand in the headers `actor` and `reason`, and `request` names one invocation of a command,
whose records all have it; they are for the trail, not for the worker. Where a command sees to a dead letter, `letter`
is that one's offset, in the same partition of the dead-letter topic.

A replayed record has headers of its own, and they may be called as a command's are. So a command's come behind them,
and only the last header of each name is the command's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeVar, get_args

from contracts.events import TRACEPARENT, Ignored, Record, Rejected
from contracts.ids import Partitioner, is_identifier, partition_of
from contracts.letters import Reason
from contracts.strict_json import NotJson, parse
from contracts.violations import NOTHING, InvalidInput, one_of, quote, show
from contracts.wire import AN_IDENTIFIER, read_identifier

REPLAY_HEADERS: Final = ("rp_topic", "rp_partition", "rp_offset", "rp_timestamp")
OWN_HEADERS: Final = frozenset({"op", "actor", "reason", "request", "letter", *REPLAY_HEADERS})
"""Headers of the command, which the replayed record did not have."""
MAX_NUMBER: Final = 2**63 - 1
"""The largest offset and the largest timestamp that Kafka has."""

Headers = dict[str, bytes | None]
"""Header values by name, the last of several; Kafka has headers without a value."""
Operation = Literal["recompute", "replay", "forget", "dismiss"]
OPERATIONS: Final[tuple[Operation, ...]] = get_args(Operation)

ForgetKind = Literal["run", "deleted-run", "operation", "snapshot"]
"""The kinds of records that the store has (`projections/record.py`)."""
FORGET_KINDS: Final[tuple[ForgetKind, ...]] = get_args(ForgetKind)
ForgetWhat = Literal["sequence", "everything"]
FORGET_WHAT: Final[tuple[ForgetWhat, ...]] = get_args(ForgetWhat)
Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True, slots=True)
class Recompute:
    """Decide a run again from its stored facts; only a difference is published (interfaces, section 10)."""

    tenant_id: str
    id: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget of a stored record its sequence, or with `what` "everything" that there ever was such an entity."""

    tenant_id: str
    kind: ForgetKind
    id: str
    what: ForgetWhat
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """Take a source record again. `record` is as it was in its own topic; `letter`: the dead letter that this sees to.

    `letter` is an offset of the dead-letter topic, in the record's partition.
    """

    record: Record
    letter: int | None = None


@dataclass(frozen=True, slots=True)
class Dismiss:
    """The dead letter at this offset, in the same partition of its topic, needs no work any more."""

    letter: int


Command = Recompute | Forget | Replay | Dismiss | Ignored | Rejected


class CommandDecoder:
    """Decodes records of the ops topic, which lie in their tenant's partition like all others."""

    def __init__(self, partitions: int, partitioner: Partitioner) -> None:
        self._partitions = partitions
        self._partitioner = partitioner

    def decode(self, record: Record) -> Command:
        """The command, or why it is none; never raises."""
        headers: Headers = dict(record.headers)
        operation = headers.get("op")
        if record.value is None and operation is None:
            return Ignored()
        try:
            return self._decode(operation, record, headers)
        except _Refused as refused:
            return Rejected(refused.reason, str(refused), traceparent=_traceparent(headers))

    def _decode(self, operation: bytes | None, record: Record, headers: Headers) -> Command:
        match operation:
            case b"recompute":
                run = _identifier(_order(record), "restore_run_id")
                return Recompute(self._tenant(record), run, _traceparent(headers))
            case b"forget":
                order = _order(record)
                kind, id = _choice(order, "kind", FORGET_KINDS), _identifier(order, "id")
                what = _choice(order, "what", FORGET_WHAT)
                return Forget(self._tenant(record), kind, id, what, _traceparent(headers))
            case b"replay":
                return _replay(record, headers)
            case b"dismiss":
                return _dismiss(headers)
            case other:
                raise _Refused("not_an_event", "header op", one_of(OPERATIONS), _show(other))

    def _tenant(self, record: Record) -> str:
        """The tenant whose key and whose partition the record has. Raises _Refused."""
        tenant = None if record.key is None else record.key.decode(errors="replace")
        if tenant is None or not is_identifier(tenant):
            raise _Refused("key_mismatch", "key", "a tenant id", _show(record.key))
        expected = partition_of(tenant, self._partitions, self._partitioner)
        if record.partition != expected:
            raise _Refused("partition_mismatch", "partition", str(expected), str(record.partition))
        return tenant


class _Refused(InvalidInput):
    """What came is no order, for this reason."""

    def __init__(self, reason: Reason, place: str, expected: str, got: str) -> None:
        super().__init__(place, expected, got)
        self.reason = reason


def _order(record: Record) -> object:
    try:
        return parse(record.value or b"")
    except NotJson as error:
        raise _Refused("not_json", "$", error.expected, error.got) from None


def _member(order: object, name: str) -> object:
    """What an order says under this name; what came where it is no object says nothing."""
    return order.get(name, NOTHING) if isinstance(order, dict) else order


def _identifier(order: object, name: str) -> str:
    found = read_identifier(_member(order, name)) if isinstance(order, dict) else None
    if found is None:
        raise _Refused("schema_violation", f"$.{name}", AN_IDENTIFIER, show(_member(order, name)))
    return found


def _choice(order: object, name: str, choices: tuple[Choice, ...]) -> Choice:
    came = _member(order, name)
    for choice in choices:
        if isinstance(order, dict) and came == choice:
            return choice
    raise _Refused("schema_violation", f"$.{name}", one_of(choices), show(came))


def _replay(record: Record, headers: Headers) -> Replay:
    topic = headers.get("rp_topic")
    if not topic:
        raise _Refused("not_an_event", "header rp_topic", "a topic's name", _show(topic))
    partition, offset, timestamp = (_needed(headers, name) for name in REPLAY_HEADERS[1:])
    if partition != record.partition:
        expected = f"{record.partition}, where this record is"
        raise _Refused("partition_mismatch", "header rp_partition", expected, str(partition))
    places = _places_of_the_commands(record.headers)
    own = tuple(header for at, header in enumerate(record.headers) if places.get(header[0]) != at)
    letter = _number(headers.get("letter")) if "letter" in places else None
    source = Record(topic.decode(errors="replace"), partition, offset, timestamp, record.key, record.value, own)
    return Replay(source, letter)


def _places_of_the_commands(headers: tuple[tuple[str, bytes], ...]) -> dict[str, int]:
    """Where a command's headers are among those of the record that it replays: the last of each name.

    `letter`, which not every command has, is the command's only behind its `op`: a source record must not close a
    dead letter.
    """
    last = {name: at for at, (name, _) in enumerate(headers) if name in OWN_HEADERS}
    if last.get("letter", -1) < last["op"]:
        last.pop("letter", None)
    return last


def _dismiss(headers: Headers) -> Dismiss:
    return Dismiss(_needed(headers, "letter"))


def _needed(headers: Headers, name: str) -> int:
    number = _number(headers.get(name))
    if number is None:
        expected = f"decimal digits, up to {MAX_NUMBER}"
        raise _Refused("not_an_event", f"header {name}", expected, _show(headers.get(name)))
    return number


def _number(text: bytes | None) -> int | None:
    """The number that decimal digits give; None if there are none or they give one that Kafka has not."""
    if text is None or not text.isdigit() or len(text) > len(str(MAX_NUMBER)) or int(text) > MAX_NUMBER:
        return None
    return int(text)


def _traceparent(headers: Headers) -> str | None:
    text = (headers.get("traceparent") or b"").decode(errors="replace")
    return text if TRACEPARENT.fullmatch(text) else None


def _show(text: bytes | None) -> str:
    return show(NOTHING) if text is None else quote(text.decode(errors="replace"))
