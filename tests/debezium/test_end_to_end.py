"""PostgreSQL → Debezium → Kafka → worker → Redis, with the files of deploy/debezium as they are.

One installation, and each test has a tenant of its own in it. When all are done, everything is checked: each row has
its document, and what is in Kafka and Redis is what the input asks for (`tests.consistency`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import pytest

from contracts.decision import decode
from tests.consistency import check
from tests.debezium.capture import Site, make_topics
from tests.debezium.connector import WHERE_THINGS_ARE, example, localised
from tests.debezium.platform import APPLICATION, EXAMPLE, make_tables, set_up
from tests.debezium.postgres import Postgres
from tests.installation import Live, a_live_installation
from tests.servers.plugin import started
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until

pytestmark = pytest.mark.debezium

CONNECTOR: Final = "restore-platform"
BEFORE: Final = "t-before"
SEEN_WITHIN_S: Final = 60.0
"""A document follows its row within a second; a killed Connect is missed for its session of six, and has to start."""


@dataclass(frozen=True, slots=True)
class Platform:
    """The source, and what comes of it."""

    postgres: Postgres
    live: Live

    def sql(self, script: str, **variables: str) -> None:
        """What the application does, which owns nothing."""
        self.postgres.sql(f"SET ROLE {APPLICATION};\n{script}", **variables)

    def rows(self) -> dict[str, tuple[str, int]]:
        """Status and revision of each restore run, by the name of its document."""
        said = self.postgres.sql("SELECT tenant_id || '/' || id, status, revision FROM restore_runs")
        fields = [line.split("|") for line in said.splitlines()]
        return {name: (status, int(revision)) for name, status, revision in fields}

    def documents(self) -> dict[str, tuple[str, int]]:
        """The same as the documents in Redis have it."""
        names = [*self.live.redis.scan_iter(match=f"{self.live.settings.redis.namespace}:*:run:*", count=1_000)]
        values = [value for value in self.live.redis.mget(names) if isinstance(value, bytes)] if names else []
        runs = [decode(value)["diagnostics"]["inputs"]["restore_run"] for value in values]
        return {f"{run['tenant_id']}/{run['id']}": (run["status"], run["sequence"]) for run in runs}

    def wait_until_all_is_there(self) -> None:
        wait_until(lambda: self.documents() == self.rows(), SEEN_WITHIN_S, self._difference)

    def _difference(self) -> str:
        rows, documents = self.rows(), self.documents()
        wrong = [name for name in rows | documents if rows.get(name) != documents.get(name)]
        examples = [(name, rows.get(name), documents.get(name)) for name in wrong[:5]]
        return f"the documents are those of the rows; {len(wrong)} are not, like {examples}"


@pytest.fixture(scope="module")
def platform(site: Site, real_kafka: KafkaServer, redis_server: RedisServer) -> Iterator[Platform]:
    with ExitStack() as stack:
        postgres = started(lambda: Postgres(site.directory), stack)
        make_tables(postgres, EXAMPLE)
        postgres.sql(f"INSERT INTO restore_runs (id, tenant_id, status) VALUES ('rr-old', '{BEFORE}', 'failed')")
        set_up(postgres, revision=True)
        live = stack.enter_context(a_live_installation(real_kafka, redis_server))
        make_topics(site)
        site.connect.make(CONNECTOR, localised(example(), postgres, live.settings.topics.prefix, site.directory))
        stack.callback(site.connect.remove, CONNECTOR)
        platform = Platform(postgres, live)
        yield platform
        platform.wait_until_all_is_there()
        check(live.settings)


def test_a_row_from_before_the_connector_has_its_document(platform: Platform) -> None:
    document = platform.live.wait_for_state(BEFORE, "rr-old", "failed")
    assert document["revision"] == 1


def test_a_restore_from_draft_to_evidence(platform: Platform, tenant: str) -> None:
    names = {"t": tenant, "run": f"rr-{tenant}", "op": f"op-{tenant}", "es": f"es-{tenant}"}

    def then(script: str, state: str) -> dict[str, Any]:
        platform.sql(script, **names)
        return platform.live.wait_for_state(tenant, names["run"], state)

    then("INSERT INTO restore_runs (id, tenant_id, status) VALUES (:'run', :'t', 'draft')", "not_executed")
    then(
        """
        BEGIN;
        INSERT INTO operation_runs (id, tenant_id, status, started_at) VALUES (:'op', :'t', 'running', now());
        UPDATE restore_runs SET status = 'running', operation_run_id = :'op', updated_at = now() WHERE id = :'run';
        COMMIT;
        """,
        "in_progress",
    )
    then(
        """
        BEGIN;
        UPDATE operation_runs SET status = 'completed', outcome = 'succeeded', completed_at = now() WHERE id = :'op';
        UPDATE restore_runs SET status = 'completed', metadata = '{"counts": {"total": 3, "succeeded": 3}}',
            result_attention = '{"state": "completed"}', updated_at = now() WHERE id = :'run';
        COMMIT;
        """,
        "completed_proof_incomplete",
    )
    document = then(
        """
        INSERT INTO evidence_snapshots (id, tenant_id, operation_run_id, status, generated_at, expires_at)
            VALUES (:'es', :'t', :'op', 'active', now() + interval '1 second', now() + interval '1 hour')
        """,
        "completed_with_evidence",
    )
    assert document["result_summary"]["text"] == "3 items: 3 succeeded"

    then("DELETE FROM evidence_snapshots WHERE id = :'es'", "completed_proof_incomplete")
    states = [decode(record.value or b"")["to_state"] for record in platform.live.changes(tenant, names["run"])]
    assert states == [
        "not_executed",
        "in_progress",
        "completed_proof_incomplete",
        "completed_with_evidence",
        "completed_proof_incomplete",
    ]


def test_a_deleted_row_takes_its_document_with_it(platform: Platform, tenant: str) -> None:
    platform.sql("INSERT INTO restore_runs (id, tenant_id, status) VALUES (:'t', :'t', 'cancelled')", t=tenant)
    platform.live.wait_for_state(tenant, tenant, "blocked_or_cancelled")

    platform.sql("DELETE FROM restore_runs WHERE id = :'t'", t=tenant)
    platform.live.wait_until_gone(tenant, tenant)

    platform.sql("INSERT INTO restore_runs (id, tenant_id, status) VALUES (:'t', :'t', 'queued')", t=tenant)
    platform.live.wait_for_state(tenant, tenant, "in_progress")


def test_a_row_that_moves_to_another_tenant_is_there_and_no_longer_here(platform: Platform, tenant: str) -> None:
    there = f"{tenant}-there"
    platform.sql("INSERT INTO restore_runs (id, tenant_id, status) VALUES (:'t', :'t', 'partial')", t=tenant)
    platform.live.wait_for_state(tenant, tenant, "needs_review")

    platform.sql("UPDATE restore_runs SET tenant_id = :'there' WHERE id = :'t'", t=tenant, there=there)
    platform.live.wait_for_state(there, tenant, "needs_review")
    platform.live.wait_until_gone(tenant, tenant)


def test_what_cannot_be_read_takes_a_claim_back_until_it_is_corrected(platform: Platform, tenant: str) -> None:
    platform.sql(
        """
        INSERT INTO operation_runs (id, tenant_id, status, outcome) VALUES (:'t', :'t', 'completed', 'succeeded');
        INSERT INTO evidence_snapshots (id, tenant_id, operation_run_id, status) VALUES (:'t', :'t', :'t', 'active');
        INSERT INTO restore_runs (id, tenant_id, status, operation_run_id) VALUES (:'t', :'t', 'completed', :'t');
        """,
        t=tenant,
    )
    platform.live.wait_for_state(tenant, tenant, "completed_with_evidence")

    platform.sql("UPDATE evidence_snapshots SET expires_at = 'infinity' WHERE id = :'t'", t=tenant)
    platform.live.wait_for(tenant, tenant, lambda document: document["diagnostics"]["rule"] == "input_unreadable")

    platform.sql("UPDATE evidence_snapshots SET expires_at = NULL WHERE id = :'t'", t=tenant)
    platform.live.wait_for_state(tenant, tenant, "completed_with_evidence")


def test_nothing_is_missing_after_connect_was_killed_in_the_middle(platform: Platform, site: Site, tenant: str) -> None:
    platform.sql(
        """
        INSERT INTO restore_runs (id, tenant_id, status)
            SELECT :'t' || '-' || n, :'t' || '-' || n % 7, 'running' FROM generate_series(1, 300) n
        """,
        t=tenant,
    )
    site.connect.kill()
    platform.sql(
        """
        UPDATE restore_runs SET status = 'completed' WHERE id LIKE :'t' || '-%' AND hashtext(id) % 3 <> 0;
        DELETE FROM restore_runs WHERE id LIKE :'t' || '-%' AND hashtext(id) % 5 = 0;
        """,
        t=tenant,
    )
    site.connect.start()
    site.connect.wait_until_running(CONNECTOR)
    platform.sql("UPDATE restore_runs SET status = 'failed' WHERE id LIKE :'t' || '-1%'", t=tenant)

    platform.wait_until_all_is_there()


def test_postgresql_may_drop_its_log_while_the_tables_are_quiet(platform: Platform) -> None:
    platform.postgres.sql("CREATE TABLE neighbour AS SELECT generate_series(1, 1000)")
    end = platform.postgres.sql("SELECT pg_current_wal_lsn()")
    behind = f"SELECT confirmed_flush_lsn < '{end}' FROM pg_replication_slots WHERE slot_name = 'restore_projector'"
    wait_until(lambda: platform.postgres.sql(behind) == "f", SEEN_WITHIN_S, "the connector confirms what is quiet")


@pytest.mark.usefixtures("platform")
def test_the_connector_that_ran_is_the_example(site: Site) -> None:
    run = site.connect.configuration(CONNECTOR)
    assert run.pop("name") == CONNECTOR
    assert run.keys() == example().keys()
    assert {name for name, value in example().items() if run[name] != value} <= set(WHERE_THINGS_ARE)
