"""What Redis has against what the log says, without either."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.decision import STATES, encode
from projections.record import Key
from tests.projections.builders import Fold, restore_that_went_well
from worker.operators.comparing import compare_position, compare_record, compare_sizes
from worker.operators.differences import KINDS, Difference
from worker.operators.ledger import Expected, Ledger, digest_of, key_of, name_of
from worker.operators.rebuild import Progress, Standing, lost_orders, progress_of
from worker.operators.sights import Sight, Standpoint
from worker.ports import LAYOUT, Ends, StoredInternal, StoredRun

RUN = Key("run", "t-1", "rr-1")
SNAPSHOT = Key("snapshot", "t-1", "es-1")
VALUE = encode(Fold(*restore_that_went_well()).document())
DOCUMENT = StoredRun(RUN, VALUE, "completed_with_evidence", 70)
ENDS = Ends(10, 20, 100, 200)
POSITION = {
    "generation": "g-1", "state": "50", "internal": "60", "status": "ready", "wiped": "1", "log_id": "life-1",
    "applied_at": "7", "policy": "1", "layout": str(LAYOUT), "deadlines": "1", "records": "2",
}  # fmt: skip
AT = Standpoint(POSITION, deadlines=1, records=2)
AS_IT_IS = Sight(RUN, VALUE, listed=True, score=70, states={"completed_with_evidence": 70})


def ledger(*records: Any) -> Ledger:
    made = Ledger()
    for offset, record in enumerate(records):
        made.take(record, offset)
    return made


def differences(sight: Sight, expected: Expected | None) -> list[tuple[str, str]]:
    return [(found.name, found.key) for found in compare_record(0, expected, sight)]


def expected() -> Expected | None:
    return ledger(DOCUMENT).expected(name_of(RUN))


# The ledger


@pytest.mark.parametrize("unfinished", [True, False])
@pytest.mark.parametrize("state", STATES)
def test_a_ledger_gives_back_what_it_packed(state: Any, unfinished: bool) -> None:
    record = StoredRun(RUN, VALUE, state, 1_762_000_000_000, unfinished)

    assert ledger(record, record._replace(key=Key("run", "t-1", "rr-2"))).expected(b"run:t-1/rr-2") == Expected(
        digest_of(VALUE), 1, state, unfinished, 1_762_000_000_000
    )


@pytest.mark.parametrize("due", [None, 0, 253_402_300_799_999])
def test_a_deadline_of_the_first_moment_is_one(due: int | None) -> None:
    found = ledger(StoredInternal(SNAPSHOT, b"{}", due)).expected(name_of(SNAPSHOT))

    assert found == Expected(digest_of(b"{}"), 0, None, False, due)


def test_the_last_record_of_a_key_counts_and_a_tombstone_is_none() -> None:
    later = StoredRun(RUN, b"later", "failed", 80)

    assert ledger(DOCUMENT, later).expected(name_of(RUN)) == Expected(digest_of(b"later"), 1, "failed", False, 80)
    assert ledger(DOCUMENT, StoredRun(RUN, None)).expected(name_of(RUN)) is None


def test_what_was_looked_at_is_looked_at_again_when_a_later_record_comes() -> None:
    made = ledger(DOCUMENT, StoredInternal(SNAPSHOT, b"{}"))
    made.tick(name_of(RUN))
    assert list(made.names()) == [name_of(SNAPSHOT)]
    made.take(DOCUMENT, 7)
    assert set(made.names()) == {name_of(RUN), name_of(SNAPSHOT)}
    assert list(made.names("snapshot")) == [name_of(SNAPSHOT)]


def test_a_ledger_of_a_tenant_leaves_the_others_out() -> None:
    made = Ledger(lambda key: key.tenant == "t-2")
    made.take(DOCUMENT, 0)
    assert len(made) == 0


@pytest.mark.parametrize("name", [b"run:t-1", b"run:t-1/", b"run:/rr-1", b"run:t/a/b", b"walk:t-1/rr-1", b"\xff", b""])
def test_a_name_that_is_no_records_is_none(name: bytes) -> None:
    assert key_of(name) is None


def test_a_records_name_is_its_own() -> None:
    assert [key_of(name_of(key)) for key in (RUN, SNAPSHOT)] == [RUN, SNAPSHOT]


# Records


def test_what_is_as_the_log_says_differs_in_nothing() -> None:
    assert differences(AS_IT_IS, expected()) == []


def test_a_key_that_is_there_by_neither_is_no_difference() -> None:
    assert differences(Sight(RUN, None, listed=False, score=None), None) == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"value": None}, [("lost_key", "run:t-1/rr-1")]),
        ({"value": b"x"}, [("changed_key", "run:t-1/rr-1")]),
        ({"listed": False}, [("not_listed", "records")]),
        ({"score": None}, [("missing_index_entry", "runs:t-1")]),
        ({"score": 71}, [("wrong_index_entry", "runs:t-1")]),
        ({"states": {}}, [("missing_index_entry", "runs:t-1:completed_with_evidence")]),
        (
            {"states": {"completed_with_evidence": 70, "failed": 70}},
            [("extra_index_entry", "runs:t-1:failed")],
        ),
        ({"unfinished": {"in_progress": 70}}, [("extra_index_entry", "unfinished:in_progress")]),
    ],
)
def test_each_part_that_differs_is_told(changes: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert differences(replace(AS_IT_IS, **changes), expected()) == found


def test_what_the_log_does_not_have_must_be_nowhere() -> None:
    assert differences(AS_IT_IS, None) == [
        ("extra_key", "run:t-1/rr-1"),
        ("listed_without_key", "records"),
        ("extra_index_entry", "runs:t-1"),
        ("extra_index_entry", "runs:t-1:completed_with_evidence"),
    ]


def test_a_document_changed_by_hand_is_told_from_an_older_one() -> None:
    document = Fold(*restore_that_went_well()).document()
    causes = []
    for changed in (document | {"state": "failed"}, document | {"revision": 1}):
        (found,) = compare_record(0, expected(), replace(AS_IT_IS, value=encode(changed)))
        causes.append(found.likely)
    assert "its decision does not follow from its own facts" in causes[0]
    assert "is from an older copy" in causes[1]


# The position


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, None),
        ({"state": "x"}, "no_position"),
        ({"layout": "1"}, "other_layout"),
        ({"log_id": "life-2"}, "other_topics"),
        ({"state": "101"}, "outside_the_log"),
        ({"internal": "19"}, "outside_the_log"),
        ({"state": "10", "internal": "200"}, None),
    ],
)
def test_a_position_that_cannot_be_followed_from_says_why(changes: dict[str, str], name: str | None) -> None:
    found = compare_position(3, replace(AT, fields=POSITION | changes), ENDS, "life-1")
    assert (found and found.name) == name


def test_without_a_position_there_is_nothing_to_follow_from() -> None:
    found = compare_position(3, Standpoint({}, 0, 0), ENDS, "life-1")
    assert found is not None
    assert (found.name, found.partition, found.got) == ("no_position", 3, "none")


def test_sizes_that_are_not_those_that_were_left_are_told() -> None:
    assert list(compare_sizes(0, AT)) == []
    found = list(compare_sizes(0, replace(AT, deadlines=0, records=3)))
    assert [(one.key, one.expected, one.got) for one in found] == [
        ("deadlines", "1 members", "0 members"),
        ("records", "2 members", "3 members"),
    ]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_says_what_to_do(name: Any) -> None:
    difference = Difference(name, 3, "run:t-1/rr-1", "this", "that", run=("t-1", "rr-1"))
    assert difference.remedy.startswith("restore-projector")
    assert difference.to_json()["likely_cause"] == KINDS[difference.name].cause


def test_text_from_outside_is_harmless() -> None:
    told = Difference("extra_key", 0, "run:t/\x1b[2J", "none", "\x1b[31m").to_json()
    assert "\x1b" not in "".join(map(str, told.values()))


# How far a restore has come


@pytest.mark.parametrize(
    ("standing", "progress"),
    [
        (Standing(), Progress("nothing", 0, 270)),
        (Standing("g-ordered", 50, 60, ordered=True), Progress("ordered", 0, 270)),
        (Standing("g-wiping", 10, 20), Progress("removing", 0, 270)),
        (Standing("g", 50, 60), Progress("reading", 80, 270)),
        (Standing("g", 100, 200, ready=True), Progress("ready", 270, 270)),
        (Standing("g", 120, 220, ready=True), Progress("ready", 270, 270)),
    ],
)
def test_progress_is_told_by_the_position(standing: Standing, progress: Progress) -> None:
    assert progress_of(standing, ENDS) == progress


def test_an_order_that_redis_has_forgotten_is_lost() -> None:
    before = {0: Standing("g", 1, 1, ready=True), 1: Standing("h", 1, 1, ready=True), 2: Standing()}
    now = {0: Standing("g", 1, 1, ready=True), 1: Standing("i", 1, 1, ready=True), 2: Standing("k", 1, 1)}
    assert [lost.partition for lost in lost_orders(before, now)] == [0]
