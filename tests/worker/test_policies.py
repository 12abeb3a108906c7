"""Two versions of the rules in one installation: who may decide where, and what a newer one decides again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from contracts.decision import decode, encode
from projections.rules import POLICY
from tests.versions import decided_by
from tests.worker.fakes import TOPICS, FakeLog
from tests.worker.site import RUNS, Running, Site
from worker.errors import DecidedByNewer, KafkaUnreachable, RecordTooLarge
from worker.loop import Limits
from worker.offset_metadata import metadata_of, read_metadata
from worker.partition import Phase
from worker.policies import completed, found_policies, touched
from worker.ports import Committed, Output, Policies

NO_COUNTS: Final[dict[str, Any]] = {"metadata": {"counts": {"total": 12}}}
"""What version 2 wants reviewed, and version 1 does not."""


class Installation(Site):
    """A site whose workers are of different versions."""

    def turns(self, version: int, worker: Running, until: Callable[[], object], limit: int = 400) -> None:
        with decided_by(version):
            self.until(until, worker, limit=limit)

    def old(self, runs: int = 1, **fields: Any) -> Running:
        """A worker of version 1 that has decided completed runs with current evidence, and has nothing left to do."""
        for n in range(1, runs + 1):
            self.send(id=f"rr-{n}", **fields)
        self.clock.pass_s(0.1)
        self.send("operation_run")
        self.clock.pass_s(0.1)
        self.send("evidence_snapshot")
        worker = self.worker()
        self.turns(1, worker, lambda: self.is_settled(worker))
        return worker

    def newer(self, *, limits: Limits | None = None) -> Running:
        """A worker of version 2, started and done."""
        worker = self.worker(name="newer", limits=limits)
        self.turns(2, worker, lambda: worker.notes.of("recomputed"))
        return worker

    def committed(self) -> Policies:
        return self.broker.committed[RUNS, 0].policies

    def records(self) -> list[dict[str, Any]]:
        return [decode(r.value) for r in self.broker.records(TOPICS.decision_state) if r.value is not None]


@pytest.fixture
def site() -> Installation:
    return Installation()


# Deciding again


def test_a_newer_version_decides_everything_again_and_publishes_what_differs(site: Installation) -> None:
    site.old(**NO_COUNTS)
    assert site.states()[-1] == "completed_with_evidence"
    site.newer()
    document = site.document()
    assert (document["state"], document["policy"]) == ("needs_review", 2)
    change = site.changes()[-1]
    assert (change["from_state"], change["to_state"]) == ("completed_with_evidence", "needs_review")
    assert change["origin"] == "recompute"


def test_what_would_differ_in_its_policy_alone_is_not_published_again(site: Installation) -> None:
    site.old()
    before = site.records()
    newer = site.newer()
    assert site.records() == before
    assert site.store.copies[0].status.policy == 2, "the store says who decided last"
    assert newer.notes.of("recomputed") == [(0, len(before), 0)]
    assert site.committed() == Policies(2, 2)


def test_other_words_are_published_without_a_change_of_state(site: Installation) -> None:
    """Version 2 says more about a run that failed."""
    site.old(status="failed")
    changes = len(site.changes())
    site.newer()
    assert "It names operation op-1." in site.document()["diagnostics"]["because"]
    assert site.document()["policy"] == 2
    assert len(site.changes()) == changes


def test_a_recompute_is_a_revision_at_stream_time(site: Installation) -> None:
    site.old(**NO_COUNTS)
    before = site.document()
    site.newer()
    after = site.document()
    stream_time = site.broker.committed[RUNS, 0].stream_time
    assert after["revision"] == before["revision"] + 1
    assert after["updated_at"] == after["changed_at"] == site.changes()[-1]["changed_at"]
    assert read_metadata(metadata_of(stream_time, Policies(2, 2)))[0] == stream_time


def test_it_is_done_once_and_not_again_at_the_next_take_over(site: Installation) -> None:
    site.old(**NO_COUNTS)
    newer = site.newer()
    newer.log.rebalance([0])
    newer.notes.told.clear()
    site.turns(2, newer, lambda: newer.notes.of("running"))
    assert newer.notes.of("recomputing") == []


def test_many_runs_are_decided_again_in_slices_with_live_events_between_them(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.loop.SLICE_RUNS", 2)
    site.old(runs=9, **NO_COUNTS)
    newer = site.worker(name="newer")
    newer.log.fetch = 4
    site.turns(2, newer, lambda: newer.notes.of("recomputing"))
    site.send("restore_run", 2, id="rr-live", operation_run_id=None, **NO_COUNTS)
    site.turns(2, newer, lambda: newer.notes.of("recomputed") and site.is_settled(newer))
    of_live = next(n for n, change in enumerate(site.changes()) if change["restore_run_id"] == "rr-live")
    again = [n for n, change in enumerate(site.changes()) if change["origin"] == "recompute"]
    assert len(again) == 9
    assert of_live < again[-1]
    assert {site.document(f"rr-{n}")["state"] for n in range(1, 10)} == {"needs_review"}


def test_a_live_event_that_comes_first_is_not_blamed_for_what_the_rules_have_changed(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever alerts on live changes would be woken by a new rule."""
    site.old(**NO_COUNTS)
    monkeypatch.setattr("worker.loop.Worker._recompute", lambda _: None)  # never comes to it
    newer = site.worker(name="newer")
    site.turns(2, newer, lambda: newer.notes.of("recomputing"))
    site.send("restore_run", 2, **NO_COUNTS)
    site.turns(2, newer, lambda: site.is_settled(newer))
    assert [(c["to_state"], c["origin"]) for c in site.changes()[-1:]] == [("needs_review", "recompute")]
    assert site.document()["revision"] == site.changes()[-1]["revision"] + 1


def test_an_event_that_changes_a_state_by_itself_is_live_all_the_same(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.old(**NO_COUNTS)
    monkeypatch.setattr("worker.loop.Worker._recompute", lambda _: None)
    newer = site.worker(name="newer")
    site.turns(2, newer, lambda: newer.notes.of("recomputing"))
    site.send("restore_run", 2, status="failed", **NO_COUNTS)
    site.turns(2, newer, lambda: site.is_settled(newer))
    assert [(c["to_state"], c["origin"]) for c in site.changes()[-2:]] == [
        ("needs_review", "recompute"),
        ("failed", "live"),
    ]


def test_a_crash_in_the_middle_loses_nothing_and_doubles_nothing(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.loop.SLICE_RUNS", 2)
    site.old(runs=6, **NO_COUNTS)
    newer = site.worker(name="newer")
    site.turns(2, newer, lambda: [c for c in site.changes() if c["origin"] == "recompute"])
    newer.log.lose_answer("publish", KafkaUnreachable("kafka", "timed out"))
    site.turns(2, newer, lambda: newer.notes.of("recovering"))
    second = site.worker(name="second")
    site.turns(2, second, lambda: second.notes.of("recomputed"))
    again = [c["restore_run_id"] for c in site.changes() if c["origin"] == "recompute"]
    assert sorted(again) == [f"rr-{n}" for n in range(1, 7)]
    assert site.committed() == Policies(2, 2)


def test_it_goes_on_from_where_it_was_committed_to_have_come(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.loop.TELL_S", 0.0)
    site.old(runs=8)
    newer = site.worker(name="newer")
    newer.log.fetch = 3
    site.turns(2, newer, lambda: site.broker.committed[RUNS, 0].policies.reached)
    reached = site.committed().reached
    assert site.committed() == Policies(2, 1, reached)
    second = site.worker(name="second")
    site.turns(2, second, lambda: second.notes.of("recomputed"))
    looked = second.notes.of("recomputed")[0][1]
    behind = [r for r in site.broker.records(TOPICS.decision_state) if r.offset >= reached]
    assert looked == len(behind)
    assert reached > 0


def test_what_an_older_policy_had_reached_counts_for_nothing() -> None:
    assert found_policies([Committed(1, 0, Policies(1, 0, 40))], None) == Policies(1, 0, 40)
    with decided_by(2):
        assert found_policies([Committed(1, 0, Policies(1, 0, 40))], None) == Policies(1, 0)


def test_an_empty_partition_has_nothing_to_decide_again(site: Installation) -> None:
    worker = site.worker()
    site.turns(2, worker, lambda: worker.notes.of("running"))
    assert worker.notes.of("recomputing") == []


def test_a_document_that_kafka_does_not_take_by_its_size_stays_as_it_is_and_holds_up_nothing(
    site: Installation,
) -> None:
    site.old(runs=6, **NO_COUNTS)
    before = site.document("rr-4")
    written = FakeLog.begin

    def refuses(log: FakeLog, outputs: Sequence[Output]) -> tuple[object, list[int]]:
        if any((o.key or b"").endswith(b"rr-4") and b'"policy":2' in (o.value or b"") for o in outputs):
            raise RecordTooLarge(TOPICS.decision_state)
        return written(log, outputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeLog, "begin", refuses)
        newer = site.newer()
    assert newer.notes.of("passed_over") == [("rr-4",)]
    assert site.document("rr-4") == before
    assert {site.document(f"rr-{n}")["state"] for n in (1, 2, 3, 5, 6)} == {"needs_review"}
    assert site.committed() == Policies(2, 2)


# Refusing


def test_an_older_version_stops_at_a_partition_that_a_newer_one_has_touched(site: Installation) -> None:
    old = site.old(**NO_COUNTS)
    site.newer()
    old.log.rebalance([0, 1])
    site.send(partition=1)
    site.turns(1, old, lambda: old.notes.of("stopped") and site.changes(partition=1))
    assert old.phases == {0: Phase.STOPPED, 1: Phase.RUNNING}
    assert old.notes.of("stopped") == [("policy", 0)]
    assert (RUNS, 0) in old.log.paused


def test_that_is_known_without_the_store(site: Installation) -> None:
    """Redis is a view that can be wiped."""
    old = site.old(**NO_COUNTS)
    site.newer()
    site.store.copies.clear()
    old.log.rebalance([0])
    site.turns(1, old, lambda: old.notes.of("stopped"))
    assert site.store.copies == {}


def test_where_offsets_were_reset_and_the_store_was_wiped_the_documents_say_it(site: Installation) -> None:
    old = site.old(**NO_COUNTS)
    site.newer()
    site.store.copies.clear()
    for place, committed in site.broker.committed.items():
        site.broker.committed[place] = replace(committed, policies=Policies())
    before = len(site.records())
    old.log.rebalance([0])
    site.turns(1, old, lambda: old.notes.of("stopped"))
    assert old.phases == {0: Phase.STOPPED}
    assert len(site.records()) == before


def test_where_offsets_were_reset_the_store_says_it(site: Installation) -> None:
    old = site.old(**NO_COUNTS)
    site.newer()
    for place, committed in site.broker.committed.items():
        site.broker.committed[place] = replace(committed, policies=Policies())
    old.log.rebalance([0])
    site.turns(1, old, lambda: old.notes.of("stopped"))


def test_a_newer_version_that_has_published_nothing_yet_has_touched_nothing(
    site: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that dies as it starts leaves the older ones at their work."""
    old = site.old()
    monkeypatch.setattr("worker.loop.Worker._recompute", lambda _: None)
    newer = site.worker(name="newer")
    site.turns(2, newer, lambda: newer.notes.of("running"))
    old.log.rebalance([0])
    site.turns(1, old, lambda: len(old.notes.of("running")) == 2)
    assert site.store.copies[0].status.policy == POLICY


def test_when_it_is_given_the_partition_again_it_looks_again(site: Installation) -> None:
    old = site.old(**NO_COUNTS)
    site.newer()
    for expected in (1, 2):
        old.log.rebalance([0])
        site.turns(1, old, lambda n=expected: len(old.notes.of("stopped")) == n)  # type: ignore[misc]


def test_a_record_of_a_newer_format_stops_the_partition_too(site: Installation) -> None:
    worker = site.old()
    copy = site.store.copies[0]
    for key, value in copy.values.items():
        if key.kind == "operation":
            copy.values[key] = encode({"format": 2, **decode(value)})
    site.send("operation_run", 2)
    site.turns(1, worker, lambda: worker.notes.of("stopped"))
    assert worker.notes.of("stopped") == [("internal record format", 0)]


def test_the_refusal_says_what_is_to_be_done() -> None:
    assert str(DecidedByNewer(3, "policy", 2, 1)) == (
        "partition 3 was decided with policy 2, and this version has only policy 1: an older version must not decide"
        " again what a newer one has decided; run a newer version in its place"
    )


def test_what_an_older_version_decides_is_not_complete_for_a_newer_one_any_more() -> None:
    assert touched(completed(Policies(0, 0))) == Policies(POLICY, POLICY)
    assert touched(Policies(1, 7)).complete == POLICY


# The metadata of offsets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("17", (17, Policies(1, 1))),
        ("17/2/1", (17, Policies(2, 1))),
        ("17/2/1/40", (17, Policies(2, 1, 40))),
        ("17/2/1/40/9", (17, Policies(2, 1, 40))),
        ("17/2", (0, Policies())),
        ("", (0, Policies())),
        (None, (0, Policies())),
        ("reset by hand", (0, Policies())),
        ("-1/2/3", (0, Policies())),
    ],
)
def test_metadata_of_any_version_is_read(text: str | None, expected: tuple[int, Policies]) -> None:
    assert read_metadata(text) == expected


@pytest.mark.parametrize("policies", [Policies(), Policies(1, 1), Policies(2, 1), Policies(2, 1, 40)])
def test_metadata_is_read_as_it_was_written(policies: Policies) -> None:
    assert read_metadata(metadata_of(1_793_527_200_000, policies)) == (1_793_527_200_000, policies)


def test_an_input_whose_offset_was_reset_alone_says_nothing() -> None:
    known, reset = Committed(9, 5, Policies(2, 2)), Committed(0, 0)
    with decided_by(2):
        assert found_policies([reset, known, known, known], None) == Policies(2, 2)
