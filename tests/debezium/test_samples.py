"""What a real Debezium wrote is read as what it means, in every variant that is accepted. Needs no server.

`python -m tests.debezium.capture` writes the samples; `test_capture.py` looks whether they are still what comes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from contracts.events import Changed, Decoder, Deleted, Event, Ignored, Mark, Rejected
from contracts.facts import ENTITIES, NO_COUNTS, Counts, Entity, EvidenceSnapshot, OperationRun, RestoreRun
from contracts.forms import TABLES
from contracts.ids import partition_of
from contracts.times import parse_time
from contracts.topics import Topics
from tests.debezium.capture import CHANGES
from tests.debezium.platform import COUNTS, VARIANTS, Names, Variant
from tests.debezium.samples import FOLDER, PARTITIONS, Sample, read_samples

TOPIC: dict[Entity, str] = {entity: topic for topic, entity in Topics().entities.items()}
DECODER = Decoder(Topics(), PARTITIONS, "murmur2")
WITH_REVISION = [variant for variant in VARIANTS if variant.revision]
WITHOUT_REVISION = [variant for variant in VARIANTS if not variant.revision]

STARTED = parse_time("2026-11-01T09:58:00Z")
COMPLETED = parse_time("2026-11-01T10:00:00Z")

each_variant = pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
each_entity = pytest.mark.parametrize("entity", ENTITIES)


def story(variant: Variant, entity: Entity) -> dict[str, Sample]:
    return {sample.what: sample for sample in read_samples(FOLDER / variant.name / f"{entity}.json")}


def decode(sample: Sample, entity: Entity) -> Event:
    return DECODER.decode(sample.record(TOPIC[entity]))


def facts_at_first(variant: Variant, names: Names) -> dict[Entity, Any]:
    """What the story's first part says, without sequence and source."""
    tenant = variant.tenant
    return {
        "restore_run": RestoreRun(
            names.run, tenant, "running", False, names.operation, Counts(total=12), None, STARTED + 500, None, None
        ),
        "operation_run": OperationRun(names.operation, tenant, "running", "pending", STARTED, None, False, None, None),
        "evidence_snapshot": EvidenceSnapshot(
            names.snapshot, tenant, "generating", names.operation, None, None, False, None, None
        ),
    }


def facts_after_the_update(variant: Variant) -> dict[Entity, Any]:
    first = facts_at_first(variant, variant.first)
    return {
        "restore_run": first["restore_run"]._replace(
            status="completed",
            counts=Counts(**COUNTS),
            attention="completed_with_follow_up",
            updated_at=COMPLETED + 123,
        ),
        "operation_run": first["operation_run"]._replace(
            status="completed", outcome="succeeded", completed_at=COMPLETED
        ),
        "evidence_snapshot": first["evidence_snapshot"]._replace(
            status="active",
            generated_at=COMPLETED + 60_000,
            expires_at=parse_time("2027-11-01T10:01:00Z"),
        ),
    }


@each_variant
@each_entity
class TestTheStory:
    def test_every_change_is_the_entitys_whole_state(self, variant: Variant, entity: Entity) -> None:
        samples = story(variant, entity)
        expected = {
            "snapshot": facts_at_first(variant, variant.first)[entity],
            "create": facts_at_first(variant, variant.second)[entity],
            "update": facts_after_the_update(variant)[entity],
        }
        for what, facts in expected.items():
            event = decode(samples[what], entity)
            assert isinstance(event, Changed), event
            assert (event.entity, event.tenant_id, event.id) == (entity, variant.tenant, facts.id)
            assert event.facts.sequence == event.sequence
            assert event.facts.source == event.source
            assert event.facts._replace(sequence=None, source=None) == facts

    def test_a_deletion_names_what_is_gone(self, variant: Variant, entity: Entity) -> None:
        event = decode(story(variant, entity)["delete"], entity)
        assert isinstance(event, Deleted), event
        gone = facts_at_first(variant, variant.first)[entity]
        assert (event.entity, event.tenant_id, event.id) == (entity, variant.tenant, gone.id)

    def test_the_tombstone_after_a_deletion_says_nothing(self, variant: Variant, entity: Entity) -> None:
        tombstone = story(variant, entity).get("tombstone")
        assert (tombstone is not None) is variant.tombstones
        if tombstone is not None:
            assert tombstone.value is None
            assert isinstance(decode(tombstone, entity), Ignored)

    def test_the_key_is_the_tenant_and_decides_the_partition(self, variant: Variant, entity: Entity) -> None:
        for sample in story(variant, entity).values():
            assert sample.key == variant.tenant
            assert sample.partition == partition_of(variant.tenant, PARTITIONS, "murmur2")

    def test_the_samples_are_what_the_variant_says(self, variant: Variant, entity: Entity) -> None:
        """So that nothing above holds because of what was not captured."""
        samples = story(variant, entity)
        operations = {what: sample.change["op"] for what, sample in samples.items() if sample.value is not None}
        assert operations == {"snapshot": "r", "create": "c", "update": "u", "delete": "d"}
        for what in operations:
            wrapped = set(json.loads(samples[what].value or "")) == {"schema", "payload"}
            assert wrapped is variant.schemas
            row = samples[what].change["before" if what == "delete" else "after"]
            assert ("revision" in row) is variant.revision
            assert samples[what].change["source"]["table"] == TABLES[entity]
            assert isinstance(row["id"], int if variant.id_type == "bigint" else str)
        if entity == "restore_run":
            assert isinstance(samples["update"].change["after"]["metadata"], str)


@each_entity
class TestSequences:
    @pytest.mark.parametrize("variant", WITH_REVISION, ids=lambda variant: variant.name)
    def test_the_revision_where_the_table_has_one(self, variant: Variant, entity: Entity) -> None:
        """Drawn from one sequence: three rows at first, three more, then an update of the first three."""
        nth = ENTITIES.index(entity) + 1
        assert sequences(story(variant, entity), entity) == {
            "snapshot": nth,
            "create": 3 + nth,
            "update": 6 + nth,
            "delete": 6 + nth,  # the last one that the row had: a deletion also wins an equal one
        }

    @pytest.mark.parametrize("variant", WITHOUT_REVISION, ids=lambda variant: variant.name)
    def test_else_the_position_in_the_databases_log(self, variant: Variant, entity: Entity) -> None:
        samples = story(variant, entity)
        found = sequences(samples, entity)
        assert found == {what: samples[what].change["source"]["lsn"] for what in found}
        assert 0 < found["snapshot"] < found["create"] < found["update"] < found["delete"]


def sequences(samples: dict[str, Sample], entity: Entity) -> dict[str, int]:
    events = {what: decode(sample, entity) for what, sample in samples.items()}
    return {what: event.sequence for what, event in events.items() if isinstance(event, Changed | Deleted)}


def change(name: str, folder: str = "changes") -> tuple[list[Sample], list[Event]]:
    """What one change wrote, and what is read."""
    samples = read_samples(FOLDER / folder / f"{name}.json")
    entity_of = {table: entity for entity, table in TABLES.items()}
    return samples, [decode(sample, entity_of[sample.change["source"]["table"]]) for sample in samples]


def briefly(events: Sequence[Event]) -> list[tuple[str, str, str, int]]:
    """Kind, tenant, id, sequence."""
    assert all(isinstance(event, Changed | Deleted) for event in events), events
    return [
        (type(event).__name__, event.tenant_id, event.id, event.sequence)
        for event in events
        if isinstance(event, Changed | Deleted)
    ]


class TestChanges:
    def test_a_row_that_moves_to_another_tenant_is_gone_from_the_first(self) -> None:
        """Debezium's own doing, as the key is another."""
        _, events = change("moved_to_another_tenant")
        assert [event[:3] for event in briefly(events)] == [
            ("Changed", "t-1", "rr-moved"),
            ("Deleted", "t-1", "rr-moved"),
            ("Changed", "t-2", "rr-moved"),
        ]

    def test_a_row_whose_id_changes_is_another_entity(self) -> None:
        """As the id is a part of the key before the transform; with a key of the tenant alone the old one stayed."""
        _, events = change("renamed")
        assert [event[:3] for event in briefly(events)] == [
            ("Changed", "t-1", "rr-before"),
            ("Deleted", "t-1", "rr-before"),
            ("Changed", "t-1", "rr-after"),
        ]

    def test_a_row_that_comes_back_is_newer_than_its_deletion(self) -> None:
        _, events = change("returned")
        (_, _, _, created), (_, _, _, gone), (_, _, _, back) = briefly(events)
        assert created == gone < back

    def test_changes_of_one_transaction_are_in_order(self) -> None:
        samples, events = change("twice_in_one_transaction")
        found = [sequence for *_, sequence in briefly(events)]
        assert found == sorted(set(found))
        positions = [sample.change["source"]["lsn"] for sample in samples]
        assert positions == sorted(set(positions))

    def test_a_large_column_is_there_also_when_it_did_not_change(self) -> None:
        samples, events = change("large_column_unchanged")
        assert all(len(sample.change["after"]["metadata"]) > 2_000 for sample in samples)
        for event in events:
            assert isinstance(event, Changed) and isinstance(event.facts, RestoreRun), event
            assert event.facts.counts == Counts(total=3)

    def test_null_is_null_where_the_column_has_a_default(self) -> None:
        _, (event,) = change("null_where_there_is_a_default")
        assert isinstance(event, Changed) and isinstance(event.facts, OperationRun), event
        assert event.facts.outcome is None

    def test_rows_that_are_read_again_are_what_they_were(self) -> None:
        """An incremental snapshot: each row of the tenant comes, with its revision and without a position."""
        samples, events = change("read_again")
        assert briefly(events[2:]) == briefly(events[:2])
        for sample in samples[2:]:
            assert (sample.change["op"], sample.change["source"]["lsn"]) == ("r", None)

    def test_a_change_under_way_during_the_snapshot_is_newer_by_its_revision(self) -> None:
        """And older by its position: what a table without a revision has to do with."""
        samples, events = change("under_way_during_the_snapshot")
        (_, _, _, read), (_, _, _, changed) = briefly(events)
        assert read < changed
        positions = [sample.change["source"]["lsn"] for sample in samples]
        assert positions[0] > positions[1]


class TestWhatIsRefused:
    """Each of these is a fault of the database's set-up, and the detail leads there."""

    def refusals(self, name: str) -> list[Rejected]:
        _, events = change(name, "refused")
        assert all(isinstance(event, Rejected) for event in events), events
        return [event for event in events if isinstance(event, Rejected)]

    def test_infinity_is_no_time(self) -> None:
        (event,) = self.refusals("infinity")
        assert event.reason == "schema_violation"
        assert event.detail.startswith("$.after.expires_at: expected an RFC 3339 time")
        assert event.detail.endswith('got "infinity"')

    def test_a_time_without_zone_comes_as_a_number(self) -> None:
        (event,) = self.refusals("time_without_zone")
        assert event.reason == "schema_violation"
        assert event.detail.endswith("got 1793527200000000")

    def test_without_the_whole_old_row_a_large_column_is_missing(self) -> None:
        event, _ = self.refusals("without_replica_identity_full")
        assert event.reason == "schema_violation"
        assert event.detail.endswith('got "__debezium_unavailable_value"')

    def test_without_the_whole_old_row_a_deletion_has_no_revision(self) -> None:
        """It says 0, and would be older than all that is known."""
        samples, _ = change("without_replica_identity_full", "refused")
        assert samples[1].change["before"]["revision"] == 0
        _, event = self.refusals("without_replica_identity_full")
        assert event.reason == "missing_sequence"
        assert "REPLICA IDENTITY FULL" in event.detail
        assert event.marks == Mark("restore_run", "t-1", "rr-large", None)

    def test_a_row_that_is_read_again_has_no_position(self) -> None:
        samples, events = change("read_again_without_revision", "refused")
        assert isinstance(events[0], Changed)
        event = events[1]
        assert isinstance(event, Rejected), event
        assert (samples[1].change["op"], event.reason) == ("r", "missing_sequence")
        assert event.marks == Mark("evidence_snapshot", "t-9", "es-91", None)


def test_the_samples_are_those_that_the_script_captures() -> None:
    expected = {f"{variant.name}/{entity}" for variant in VARIANTS for entity in ENTITIES}
    expected |= {f"{change.folder}/{change.name}" for change in CHANGES}
    expected |= {"changes/under_way_during_the_snapshot"}
    assert {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.json")} == expected


def test_a_run_whose_metadata_is_null_has_no_counts() -> None:
    event = change("returned")[1][0]
    assert isinstance(event, Changed) and isinstance(event.facts, RestoreRun), event
    assert event.facts.counts == NO_COUNTS
