"""All that is known of one restore run, gathered for somebody without access: from Redis and from all eight topics.

Its records are found by what bears on the run (`worker.operators.selection`), in its tenant's partition alone, and only
they are kept in memory. Orders come last, as some are about dead letters and name nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Final

from contracts.commands import Forget, Recompute
from contracts.decision import decode
from contracts.events import Changed, Deleted, Ignored, Record, Rejected
from contracts.ids import partition_of
from contracts.incident import RECORDS_OF, SCHEMA, RecordsOf, bytes_to_json, record_to_json
from contracts.letters import read_letter
from contracts.orders import headers_of_order
from contracts.times import format_time
from contracts.topics import TOPICS, Role, Topics
from projections.inputs import InputDecoder
from projections.record import Key
from projections.rules import POLICY
from worker.operators.bearing import find_bearing, stored_records
from worker.operators.log import LogReader, Part
from worker.operators.selection import Bearing
from worker.operators.span import Extent, Span
from worker.ports import TopicPartition as Place
from worker.reading import StoreReader, partition_count
from worker.settings import Settings, describe_settings
from worker.status.lookout import Lookout
from worker.topics import DAY_MS, read_topics

Tell = Callable[[int], None]
"""Hears how many records are still to be looked at."""


class Gatherer:
    """Gathers one run's file. Every call may raise KafkaUnreachable, RedisUnreachable, Refused and Unfit."""

    def __init__(self, settings: Settings, tenant: str, run: str, now: int) -> None:
        self._settings = settings
        self._topics: Topics = settings.topic_names
        self._tenant = tenant
        self._run = run
        self._now = now
        self._partitions = partition_count(settings)
        self._partition = partition_of(tenant, self._partitions, settings.kafka.partitioner)
        limits = settings.limits
        self._inputs = InputDecoder(self._topics, self._partitions, settings.kafka.partitioner, limits.value_bytes)

    def gather(self, tell: Tell) -> dict[str, Any]:
        """The file as a JSON value (`contracts.incident.Incident`)."""
        with LogReader(self._settings.kafka) as reader, StoreReader(self._settings.redis) as store:
            bearing = self._bearing(reader, store)
            found = self._records(reader, bearing, tell)
            stored = self._stored(store, bearing)
        document = stored["records"].get(f"run:{self._tenant}/{self._run}")
        return {
            "schema": SCHEMA,
            "about": self._about(),
            "document": document if isinstance(document, dict) else None,
            **{what: [record_to_json(record) for record in records] for what, records in found.items()},
            "store": stored,
            "installation": self._installation(),
        }

    def _about(self) -> dict[str, Any]:
        limits = self._settings.limits
        return {
            "tenant_id": self._tenant,
            "restore_run_id": self._run,
            "made_at": format_time(self._now),
            "version": version("restore-projector"),
            "policy": POLICY,
            "prefix": self._settings.topics.prefix,
            "partition": self._partition,
            "partitions": self._partitions,
            "partitioner": self._settings.kafka.partitioner,
            "deletion_memory_ms": limits.deletion_memory_days * DAY_MS,
            "max_value_bytes": limits.value_bytes,
        }

    # What bears on the run

    def _bearing(self, reader: LogReader, store: StoreReader) -> Bearing:
        topics = [self._topics.name(row) for row in TOPICS if row.entity is not None]
        span = Span(0, 2**62, topics)
        extent = Extent(self._all_of(reader, topics), ())
        stored = stored_records(store, self._settings.redis.namespace, self._partition)

        def decode_event(record: Record) -> Any:
            return self._inputs.decode(record).event

        return find_bearing(reader, self._topics, span, extent, decode_event, stored, self._tenant, self._run)

    def _all_of(self, reader: LogReader, topics: Iterable[str]) -> dict[Place, Part]:
        places = [(topic, self._partition) for topic in topics]
        lows, ends = reader.begins(places), reader.ends(places)
        return {place: Part(lows[place], ends[place]) for place in places}

    # Records

    def _records(self, reader: LogReader, bearing: Bearing, tell: Tell) -> dict[RecordsOf, list[Record]]:
        picker = Picker(bearing, self._inputs)
        found: dict[RecordsOf, list[Record]] = {what: [] for what in RECORDS_OF}
        of = {self._topics.name(row): _PICKS[row.role] for row in TOPICS}
        for topics in ([topic for topic in of if topic != self._topics.ops], [self._topics.ops]):
            for records in reader.read(self._all_of(reader, topics)):
                for record in records:
                    what, wants = of[record.topic]
                    if wants(picker, record):
                        found[what].append(record)
                tell(reader.remaining())
        return found

    # Redis, and the rest

    def _stored(self, store: StoreReader, bearing: Bearing) -> dict[str, Any]:
        """Position and records in one step, so that they belong together."""
        keys = [Key("run", self._tenant, self._run), Key("deleted-run", self._tenant, self._run)]
        keys += [Key("operation", self._tenant, id) for id in sorted(bearing.operations)]
        keys += [Key("snapshot", self._tenant, id) for id in sorted(bearing.snapshots)]
        place = f"{self._settings.redis.namespace}:{{{self._partition}}}"
        names = [f"{key.kind}:{key.tenant}/{key.id}" for key in keys]

        def ask(nodes: Any) -> Any:
            with nodes.of(self._partition).pipeline(transaction=True) as step:
                step.hgetall(f"{place}:position")
                for name in names:
                    step.get(f"{place}:{name}")
                return step.execute()

        position, *values = store.ask(ask)
        return {
            "position": {name.decode(): value.decode(errors="replace") for name, value in position.items()},
            "records": {n: _value(value) for n, value in zip(names, values, strict=True) if value is not None},
        }

    def _installation(self) -> dict[str, Any]:
        settings = [
            {"variable": row.variable, "value": row.value, "from": row.origin}
            for row in describe_settings(self._settings)
        ]
        topics: Mapping[str, Any] = {name: asdict(state) for name, state in read_topics(self._settings).items()}
        return {"settings": settings, "topics": topics, "status": self._status()}

    def _status(self) -> dict[str, Any]:
        with Lookout(self._settings) as lookout:
            report = lookout.look()
        row = report.rows[self._partition]
        facts = asdict(row.facts)
        if row.facts.owner is not None:
            facts["owner"]["partitions"] = sorted(row.facts.owner.partitions)
        return {"condition": row.verdict.condition.name, "cause": row.verdict.finding.cause, **facts}


def _value(data: bytes) -> Any:
    """A stored record; what somebody has made unreadable as it is."""
    try:
        return decode(data)
    except ValueError:
        return bytes_to_json(data)


class Picker:
    """Which records are about a run. Pure; letters are to be shown to it before orders."""

    def __init__(self, bearing: Bearing, inputs: InputDecoder) -> None:
        self._bearing = bearing
        self._inputs = inputs
        self._letters: set[bytes] = set()

    def bears(self, record: Record) -> bool:
        """Of an input; of one that cannot be read and names nothing, whether the tenant's key and the run's id do."""
        if record.key != self._bearing.tenant.encode():
            return False
        event = self._inputs.decode(record).event
        if isinstance(event, Rejected) and event.marks is None:
            return self._bearing.run.encode() in (record.value or b"")
        return not isinstance(event, Recompute | Forget) and self._bearing.has(event)

    def is_order(self, record: Record) -> bool:
        """Of those about dead letters, the ones about letters that were found."""
        match self._inputs.decode(record).event:
            case Recompute() as event:
                return (event.tenant_id, event.id) == (self._bearing.tenant, self._bearing.run)
            case Forget() as event:
                return event.tenant_id == self._bearing.tenant and _names(self._bearing, event.kind, event.id)
            case Changed() | Deleted() | Ignored() | Rejected() as event:
                return headers_of_order(record).get("letter") in self._letters or self._bearing.has(event)

    def is_letter(self, record: Record) -> bool:
        try:
            letter = read_letter(record.headers)
        except ValueError:
            return False
        source = Record(
            letter.topic, letter.partition, letter.offset, letter.timestamp, record.key, record.value,
            tuple((name, value) for name, value in record.headers if not name.startswith("dl_")),
        )  # fmt: skip
        if not self.bears(source):
            return False
        self._letters.add(b"%d" % record.offset)
        return True

    def is_of_run(self, record: Record) -> bool:
        return record.key == f"{self._bearing.tenant}/{self._bearing.run}".encode()

    def is_internal(self, record: Record) -> bool:
        kind, _, rest = (record.key or b"").decode(errors="replace").partition("/")
        tenant, _, id = rest.partition("/")
        return tenant == self._bearing.tenant and _names(self._bearing, kind, id)


_PICKS: Final[Mapping[Role, tuple[RecordsOf, Callable[[Picker, Record], bool]]]] = {
    "restore_runs": ("inputs", Picker.bears),
    "operation_runs": ("inputs", Picker.bears),
    "evidence_snapshots": ("inputs", Picker.bears),
    "ops": ("orders", Picker.is_order),
    "decision_state": ("documents", Picker.is_of_run),
    "decision_changes": ("changes", Picker.is_of_run),
    "dead_letters": ("dead_letters", Picker.is_letter),
    "internal": ("internal", Picker.is_internal),
}
"""Of each topic, as what its records are in the file, and which of them."""


def _names(bearing: Bearing, kind: str, id: str) -> bool:
    ids: Mapping[str, Iterable[str]] = {
        "run": (bearing.run,),
        "deleted-run": (bearing.run,),
        "operation": bearing.operations,
        "snapshot": bearing.snapshots,
    }
    return id in ids.get(kind, ())
