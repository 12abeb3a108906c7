"""What moved between surveys."""

from __future__ import annotations

from dataclasses import replace

from tests.worker.status.sights import NOW, STORE, an_input, partition, survey
from worker.status.facts import PartitionFacts
from worker.status.motion import WINDOW, Motion, Tracker


def motions(*looks: tuple[int, PartitionFacts]) -> list[Motion]:
    tracker = Tracker()
    return [tracker.track(survey(facts, at=NOW + at))[0] for at, facts in looks]


def at_offset(committed: int, readable: int = 1_000) -> PartitionFacts:
    return partition(an_input(committed=committed, readable=readable))


def test_a_first_look_knows_of_no_motion() -> None:
    assert motions((0, at_offset(10))) == [Motion()]


def test_speeds_are_records_a_second() -> None:
    _, second = motions((0, at_offset(10, 500)), (2_000, at_offset(110, 540)))
    assert second == Motion(moved_at=NOW + 2_000, taken=50.0, arrived=20.0, restored=0.0)


def test_what_stands_still_was_seen_to_move_when_it_last_did() -> None:
    looks = motions((0, at_offset(10)), (1_000, at_offset(20)), (2_000, at_offset(20)), (3_000, at_offset(20)))
    assert [motion.moved_at for motion in looks] == [None, NOW + 1_000, NOW + 1_000, NOW + 1_000]


def test_what_never_moved_was_never_seen_to() -> None:
    _, second = motions((0, at_offset(10)), (1_000, at_offset(10, 2_000)))
    assert (second.moved_at, second.taken, second.arrived) == (None, 0.0, 1_000.0)


def test_a_store_that_is_written_to_moves() -> None:
    restoring = partition(store=replace(STORE, restoring=True))
    further = partition(store=replace(STORE, restoring=True, state=540))
    _, second = motions((0, restoring), (1_000, further))
    assert (second.moved_at, second.restored) == (NOW + 1_000, 500.0)


def test_a_store_that_begins_anew_is_measured_from_its_beginning() -> None:
    anew = partition(store=replace(STORE, generation="g2", state=300, internal=0))
    _, second = motions((0, partition()), (1_000, anew))
    assert second.restored == 300.0


def test_a_speed_is_that_of_the_last_surveys() -> None:
    looks = [(at * 1_000, at_offset(10)) for at in range(WINDOW)]
    looks += [((WINDOW + at) * 1_000, at_offset(20 + at * 100, 10_000)) for at in range(WINDOW)]
    assert motions(*looks)[-1].taken == 100.0


def test_each_partition_has_a_motion_of_its_own() -> None:
    tracker = Tracker()
    still = partition(number=1)
    tracker.track(survey(at_offset(10), still))
    found = tracker.track(survey(at_offset(20), still, at=NOW + 1_000))
    assert (found[0].moved_at, found[1].moved_at) == (NOW + 1_000, None)
