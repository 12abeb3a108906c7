"""The story of `demo`, without any server: what must come of it comes of it."""

from __future__ import annotations

import pytest

from contracts.decision import STATES
from contracts.topics import Topics
from tests.worker.told import Told
from worker.story import DEAD_LETTERS, EXPIRES_AFTER_MS, EXPLAINED, OUTCOMES, STALE, STORY, Outcome, Repeat, Teller

BEGIN = 1_800_000_000_000
STEP_MS = 140
END = BEGIN + len(STORY) * STEP_MS + EXPIRES_AFTER_MS


@pytest.fixture(scope="module")
def told() -> Told:
    topics = Topics()
    told, teller = Told(topics), Teller(topics)
    for number, step in enumerate(STORY):
        at = BEGIN + number * STEP_MS
        told.tell(teller.record(step, at), at)
    told.pass_time(END)
    return told


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.run)
def test_each_restore_goes_through_the_states_that_the_story_gives(told: Told, outcome: Outcome) -> None:
    assert told.states(outcome.tenant, outcome.run) == outcome.states


def test_nothing_comes_of_it_besides(told: Told) -> None:
    runs = {(change.body["tenant_id"], change.body["restore_run_id"]) for change in told.effects.changes}

    assert runs == {(outcome.tenant, outcome.run) for outcome in OUTCOMES}


def test_stale_records_dead_letters_and_expiries_are_those_of_the_story(told: Told) -> None:
    assert told.outcomes["stale"] == STALE
    assert tuple(letter.reason for letter in told.effects.letters) == DEAD_LETTERS
    assert told.effects.counts["expired"] == 1


def test_every_state_is_somebodys_last() -> None:
    assert {outcome.states[-1] for outcome in OUTCOMES} == {*STATES, None}


def test_what_makes_it_interesting_is_in_it() -> None:
    assert len(OUTCOMES) >= 12
    assert any(isinstance(step.what, Repeat) for step in STORY)
    assert {step.form for step in STORY} == {"binary", "structured", "debezium"}
    assert EXPLAINED in {(outcome.tenant, outcome.run) for outcome in OUTCOMES}
