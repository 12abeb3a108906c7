"""Records of older formats are read and upgraded, of newer ones nothing is guessed; by formats made up for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.decision import SCHEMA, decode, encode
from projections.afresh import decided_afresh, is_decided_otherwise
from projections.formats import DOCUMENT, FAMILIES, INTERNAL, Family, Format, NewerFormat, upgraded
from projections.record import Key, RunRecord, SnapshotRecord, decode_record, encode_internal
from projections.rules import POLICY
from tests.projections.builders import Fold, operation, run, snapshot

PLACE = Key("snapshot", "t-1", "es-1")


def renamed(value: dict[str, Any]) -> dict[str, Any]:
    """Format 2 of the test: `is_kept` was called `kept`."""
    return {"is_kept" if name == "kept" else name: inner for name, inner in value.items()}


def restored(value: dict[str, Any]) -> dict[str, Any]:
    """Format 3: and is called so again, since this is what is read here."""
    return {"kept" if name == "is_kept" else name: inner for name, inner in value.items()}


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch) -> None:
    """Internal records have come to their third format."""
    family = replace(INTERNAL, formats=(*INTERNAL.formats, Format(2, 2, renamed), Format(3, 3, restored)))
    monkeypatch.setattr("projections.record.INTERNAL", family)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_formats_are_numbered_and_each_came_with_a_policy_of_its_own(family: Family) -> None:
    """Or older workers would go on in a partition that holds what they cannot read."""
    assert [format.number for format in family.formats] == list(range(1, family.present + 1))
    policies = [format.since_policy for format in family.formats]
    assert policies == sorted(set(policies))
    assert policies[-1] <= POLICY
    assert [format.upgrade is None for format in family.formats] == [True] + [False] * (family.present - 1)


def test_a_document_says_its_format_by_its_schema() -> None:
    assert f"restore.decision-state/{DOCUMENT.present}" == SCHEMA


def test_a_record_of_the_present_format_is_taken_as_it_is() -> None:
    value = {"sequence": 1}
    assert upgraded(INTERNAL, value) is value


@pytest.mark.usefixtures("third")
def test_an_older_record_takes_every_upgrade_in_turn() -> None:
    first = {"sequence": 1, "operation_run_id": "op-1", "kept": True, "deleted": False, "due": None}
    second = {"format": 2, **renamed(first)}
    for stored in (first, second):
        assert decode_record(PLACE, encode(stored)) == SnapshotRecord(1, "op-1", kept=True)


@pytest.mark.usefixtures("third")
def test_what_is_written_is_of_the_present_format_and_says_so() -> None:
    value = decode(encode_internal(SnapshotRecord(1, "op-1", kept=True)))
    assert value["format"] == 3
    assert decode_record(PLACE, encode(value)) == SnapshotRecord(1, "op-1", kept=True)


def test_the_first_format_names_no_number() -> None:
    assert "format" not in decode(encode_internal(SnapshotRecord(1, "op-1", kept=True)))


def test_of_a_newer_record_nothing_is_guessed() -> None:
    with pytest.raises(NewerFormat, match="internal record of format 2, and this version reads 1 and older"):
        decode_record(PLACE, encode({"format": 2, "sequence": 1}))


def test_a_document_of_an_older_format_is_read_and_differs_so_that_it_is_written_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its `schema` says which format it is."""
    document = Fold(run(), operation(), snapshot()).document()
    assert not is_decided_otherwise(document)

    def upgrade(value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "schema": "restore.decision-state/2"}

    second = replace(DOCUMENT, formats=(*DOCUMENT.formats, Format(2, 2, upgrade)))
    for module in ("record", "afresh"):
        monkeypatch.setattr(f"projections.{module}.DOCUMENT", second)
    monkeypatch.setattr("projections.afresh.SCHEMA", "restore.decision-state/2")
    assert is_decided_otherwise(document)
    assert decided_afresh(document)[1]["schema"] == "restore.decision-state/2"
    record = decode_record(Key("run", "t-1", "rr-1"), encode(document))
    assert isinstance(record, RunRecord)
    assert record.stored == document
