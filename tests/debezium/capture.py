"""`python -m tests.debezium.capture`: have a real Debezium write all samples anew.

Each variant of `platform.py` gets a PostgreSQL of its own and its connector; its records go to `samples/<variant>/`. On
the tables of the example follow single changes that are worth a sample, to `samples/changes/` where they are accepted,
to `samples/refused/` where not. Takes about a minute.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic

from contracts.events import Record
from contracts.facts import ENTITIES, Entity
from contracts.topics import Topics
from tests.debezium.connect import Configuration, Connect
from tests.debezium.connector import example, localised, varied
from tests.debezium.platform import (
    CREATED,
    DELETED,
    EXAMPLE,
    UPDATED,
    VARIANTS,
    Variant,
    make_tables,
    set_up,
    tell,
)
from tests.debezium.postgres import Postgres, Session
from tests.debezium.samples import FOLDER, PARTITIONS, Sample, sampled, write_samples
from tests.servers.local_kafka import LocalKafka
from tests.servers.ports import Startable
from tests.servers.waiting import wait_until

S = TypeVar("S", bound=Startable)

ARRIVE_TIMEOUT_S: Final = 60.0
"""A change is in Kafka within a second; this is for a machine that is very busy."""
POLL_MS: Final = 200
OTHER_TOPICS: Final = ("__debezium-heartbeat.platform", "platform.public.debezium_signal")
"""What the connector writes besides our inputs."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where Debezium runs: a Connect worker, its Kafka, a folder for logs and secrets, a prefix of names of our own."""

    connect: Connect
    bootstrap_servers: str
    directory: Path
    prefix: str
    numbers: Iterator[int] = field(default_factory=itertools.count)


class Arrivals:
    """Reads the three input topics, each record once."""

    def __init__(self, site: Site, topics: Topics) -> None:
        self._entities = topics.entities
        self._came: list[Record] = []
        self._consumer = KafkaConsumer(
            bootstrap_servers=site.bootstrap_servers, enable_auto_commit=False, metrics_enabled=False
        )
        places = [TopicPartition(topic, number) for topic in self._entities for number in range(PARTITIONS)]
        self._consumer.assign(places)
        self._consumer.seek_to_beginning(*places)

    def next(self, count: int) -> list[Record]:
        """The next so many; those of a partition in their order."""
        wait_until(
            lambda: self._poll() >= count,
            ARRIVE_TIMEOUT_S,
            lambda: f"{count} records arrive: {[(r.topic, r.key, (r.value or b'')[:300]) for r in self._came]}",
        )
        came, self._came = sorted(self._came, key=lambda r: (r.topic, r.partition, r.offset)), []
        assert len(came) == count, f"{count} records, not {len(came)}: {[(r.topic, r.value) for r in came]}"
        return came

    def each(self, whats: list[str]) -> dict[Entity, list[Sample]]:
        """The next of every entity, of which each has the same changes."""
        found: dict[Entity, list[Sample]] = {entity: [] for entity in ENTITIES}
        for record in self.next(len(whats) * len(ENTITIES)):
            samples = found[self._entities[record.topic]]
            samples.append(sampled(whats[len(samples)], record))
        return found

    def close(self) -> None:
        self._consumer.close()

    def _poll(self) -> int:
        for records in self._consumer.poll(POLL_MS).values():
            self._came += [
                Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records
            ]
        return len(self._came)


def capture(site: Site, into: Path) -> None:
    """Write all samples into a folder."""
    for variant in VARIANTS:
        _capture_variant(site, variant, into / variant.name)
    capture_changes(site, into)


def _capture_variant(site: Site, variant: Variant, into: Path) -> None:
    """The story: what is there at first, then a second life's beginning, the first one's course and end."""
    with following(site, variant, lambda postgres: tell(postgres, CREATED, variant, variant.first)) as (postgres, come):
        found = [come.each(["snapshot"])]
        tell(postgres, CREATED, variant, variant.second)
        found.append(come.each(["create"]))
        tell(postgres, UPDATED, variant, variant.first)
        found.append(come.each(["update"]))
        tell(postgres, DELETED, variant, variant.first)
        found.append(come.each(["delete", "tombstone"] if variant.tombstones else ["delete"]))
    for entity in ENTITIES:
        write_samples(into / f"{entity}.json", [sample for part in found for sample in part[entity]])


@contextmanager
def following(
    site: Site,
    variant: Variant,
    before: Callable[[Postgres], None],
    extra: Configuration | None = None,
    while_made: Callable[[Postgres], None] | None = None,
) -> Iterator[tuple[Postgres, Arrivals]]:
    """A PostgreSQL with a variant's tables, and its connector.

    `before` is done before the connector comes, `while_made` while it prepares to take its snapshot.
    """
    prefix = f"{site.prefix}-{next(site.numbers)}"
    topics = Topics(prefix)
    with ExitStack() as stack:
        postgres = started(stack, Postgres(site.directory))
        make_tables(postgres, variant)
        set_up(postgres, revision=variant.revision)
        before(postgres)
        make_topics(site, topics.entities)
        settings = varied(localised(example(), postgres, prefix, site.directory), variant) | (extra or {})
        site.connect.put(prefix, settings)
        stack.callback(site.connect.remove, prefix)
        if while_made is not None:
            while_made(postgres)
        site.connect.wait_until_running(prefix)
        arrivals = Arrivals(site, topics)
        stack.callback(arrivals.close)
        yield postgres, arrivals


def started(stack: ExitStack, server: S) -> S:
    """A server that runs until the stack is closed."""
    stack.callback(server.close)
    server.start()
    return server


def make_topics(site: Site, inputs: Iterable[str] = ()) -> None:
    """What the connector writes, where it is not there yet: inputs, heartbeats, signals."""
    admin = KafkaAdminClient(bootstrap_servers=site.bootstrap_servers)
    topics = [*(NewTopic(name, PARTITIONS, 1) for name in inputs), *(NewTopic(name, 1, 1) for name in OTHER_TOPICS)]
    there = set(admin.list_topics())
    if missing := [topic for topic in topics if topic.name not in there]:
        admin.create_topics(missing)
    admin.close()


# Single changes

SIGNALS: Final = "debezium_signal"


@dataclass(frozen=True, slots=True)
class Change:
    """SQL, run as the owner of the tables, and what each of the records that follow from it is about."""

    folder: str
    name: str
    script: str
    whats: tuple[str, ...]


def _incremental_snapshot(table: str) -> str:
    """Ask Debezium to read a table's rows of tenant t-9 once more."""
    order = {
        "data-collections": [f"public.{table}"],
        "type": "incremental",
        "additional-conditions": [{"data-collection": f"public.{table}", "filter": "tenant_id = 't-9'"}],
    }
    return f"INSERT INTO {SIGNALS} VALUES ('{table}', 'execute-snapshot', $${json.dumps(order)}$$)"


CHANGES: Final = (
    Change(
        "changes", "moved_to_another_tenant",
        """
        INSERT INTO restore_runs (id, tenant_id, status) VALUES ('rr-moved', 't-1', 'draft');
        UPDATE restore_runs SET tenant_id = 't-2' WHERE id = 'rr-moved';
        """,
        ("create", "delete", "create"),
    ),
    Change(
        "changes", "renamed",
        """
        INSERT INTO restore_runs (id, tenant_id, status) VALUES ('rr-before', 't-1', 'draft');
        UPDATE restore_runs SET id = 'rr-after' WHERE id = 'rr-before';
        """,
        ("create", "delete", "create"),
    ),
    Change(
        "changes", "returned",
        """
        INSERT INTO restore_runs (id, tenant_id, status) VALUES ('rr-back', 't-1', 'draft');
        DELETE FROM restore_runs WHERE id = 'rr-back';
        INSERT INTO restore_runs (id, tenant_id, status) VALUES ('rr-back', 't-1', 'queued');
        """,
        ("create", "delete", "create"),
    ),
    Change(
        "changes", "twice_in_one_transaction",
        """
        BEGIN;
        INSERT INTO operation_runs (id, tenant_id, status) VALUES ('op-twice', 't-1', 'queued');
        UPDATE operation_runs SET status = 'running' WHERE id = 'op-twice';
        UPDATE operation_runs SET status = 'completed', outcome = 'failed' WHERE id = 'op-twice';
        COMMIT;
        """,
        ("create", "update", "update"),
    ),
    Change(
        "changes", "large_column_unchanged",
        """
        ALTER TABLE restore_runs ALTER COLUMN metadata SET STORAGE EXTERNAL;
        INSERT INTO restore_runs (id, tenant_id, status, metadata)
            SELECT 'rr-large', 't-1', 'running', jsonb_build_object('counts', '{"total": 3}'::jsonb,
                'log', (SELECT string_agg(md5(line::text), ' ') FROM generate_series(1, 70) line));
        UPDATE restore_runs SET status = 'failed' WHERE id = 'rr-large';
        """,
        ("create", "update"),
    ),
    Change(
        "changes", "null_where_there_is_a_default",
        "INSERT INTO operation_runs (id, tenant_id, status, outcome) VALUES ('op-null', 't-1', 'queued', NULL)",
        ("create",),
    ),
    Change(
        "changes", "read_again",
        f"""
        INSERT INTO restore_runs (id, tenant_id, status) VALUES ('rr-91', 't-9', 'draft'), ('rr-92', 't-9', 'queued');
        {_incremental_snapshot("restore_runs")}
        """,
        ("create", "create", "incremental snapshot", "incremental snapshot"),
    ),
    Change(
        "refused", "infinity",
        """
        INSERT INTO evidence_snapshots (id, tenant_id, status, expires_at)
            VALUES ('es-inf', 't-1', 'active', 'infinity');
        """,
        ("create",),
    ),
    Change(
        "refused", "without_replica_identity_full",
        """
        CREATE UNIQUE INDEX run_of_tenant ON restore_runs (tenant_id, id);
        ALTER TABLE restore_runs REPLICA IDENTITY USING INDEX run_of_tenant;
        UPDATE restore_runs SET attempt = 2 WHERE id = 'rr-large';
        DELETE FROM restore_runs WHERE id = 'rr-large';
        """,
        ("update", "delete"),
    ),
    Change(
        "refused", "time_without_zone",
        """
        ALTER TABLE operation_runs ALTER COLUMN started_at TYPE timestamp;
        INSERT INTO operation_runs (id, tenant_id, status, started_at)
            VALUES ('op-zone', 't-1', 'running', '2026-11-01 10:00:00');
        """,
        ("create",),
    ),
    Change(
        "refused", "read_again_without_revision",
        f"""
        INSERT INTO evidence_snapshots (id, tenant_id, status) VALUES ('es-91', 't-9', 'queued');
        DROP TRIGGER revision ON evidence_snapshots;
        ALTER TABLE evidence_snapshots DROP COLUMN revision;
        {_incremental_snapshot("evidence_snapshots")}
        """,
        ("create", "incremental snapshot"),
    ),
)  # fmt: skip


def capture_changes(site: Site, into: Path) -> None:
    """What happens to single rows and is worth a sample."""

    def signals(postgres: Postgres) -> None:
        postgres.sql(
            f"""
            CREATE TABLE {SIGNALS} (id text PRIMARY KEY, type text, data text);
            ALTER PUBLICATION restore_projector ADD TABLE {SIGNALS};
            GRANT SELECT, INSERT, DELETE ON {SIGNALS} TO debezium;
            """
        )

    extra = {"signal.data.collection": f"public.{SIGNALS}"}
    with following(site, EXAMPLE, signals, extra) as (postgres, arrivals):
        for change in CHANGES:
            postgres.sql(change.script)
            records = sorted(arrivals.next(len(change.whats)), key=_captured_at)
            samples = [sampled(*pair) for pair in zip(change.whats, records, strict=True)]
            write_samples(into / change.folder / f"{change.name}.json", samples)
    _capture_under_way(site, into)


def _capture_under_way(site: Site, into: Path) -> None:
    with ExitStack() as stack:
        change = _UnderWay(stack)
        with following(site, EXAMPLE, change.begin, while_made=change.go_on) as (_, arrivals):
            snapshot = arrivals.next(1)
            change.commit()
            samples = [sampled("snapshot", snapshot[0]), sampled("update", arrivals.next(1)[0])]
    write_samples(into / "changes" / "under_way_during_the_snapshot.json", samples)


def _captured_at(record: Record) -> int:
    """When Debezium came to it, which orders what went to different partitions."""
    return int(sampled("", record).change["ts_ns"])


class _UnderWay:
    """A change that is made before the snapshot is taken, and committed after it.

    PostgreSQL makes a slot in steps, and before each waits for the transactions that are open. One that begins in
    between may stay open; what it has written lies in the log *before* the position that the snapshot gets.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def begin(self, postgres: Postgres) -> None:
        """A row, and a first transaction that the making of a slot will wait for."""
        postgres.sql("INSERT INTO restore_runs (id, tenant_id, status) VALUES ('rr-race', 't-1', 'running')")
        self._first, self._second, self._writer = (self._stack.enter_context(postgres.session()) for _ in range(3))
        self._waited_for = _open_transaction(self._first)

    def go_on(self, postgres: Postgres) -> None:
        """While it waits for the first a second one begins, while it waits for that one the row is changed."""
        _wait_until_waited_for(postgres, self._waited_for)
        second = _open_transaction(self._second)
        self._first.run("COMMIT;")
        _wait_until_waited_for(postgres, second)
        self._writer.run("BEGIN; UPDATE restore_runs SET status = 'failed' WHERE id = 'rr-race';")
        self._second.run("COMMIT;")

    def commit(self) -> None:
        self._writer.run("COMMIT;")


def _open_transaction(session: Session) -> str:
    """Begin one, and return its number."""
    return session.run("BEGIN; SELECT pg_current_xact_id();")


def _wait_until_waited_for(postgres: Postgres, transaction: str) -> None:
    waiting = (
        f"SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid' AND transactionid = '{transaction}'"
    )
    wait_until(
        lambda: postgres.sql(f"SELECT EXISTS ({waiting})") == "t", ARRIVE_TIMEOUT_S, f"{transaction} is waited for"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=FOLDER, help="a folder for the samples (default: %(default)s)")
    into: Path = parser.parse_args().into
    with tempfile.TemporaryDirectory(prefix="restore-projector-") as scratch, ExitStack() as stack:
        directory = Path(scratch)
        kafka = started(stack, LocalKafka(directory))
        connect = started(stack, Connect(kafka.bootstrap_servers, directory))
        capture(Site(connect, kafka.bootstrap_servers, directory, "samples"), into)


if __name__ == "__main__":
    main()
