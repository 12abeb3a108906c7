"""The sentence above everything, and what makes it say that all is well."""

from __future__ import annotations

import pytest

from tests.worker.status.sights import idle, partition, reported, survey
from worker.status.facts import Letters, Survey


@pytest.mark.parametrize(
    ("seen", "well", "sentence"),
    [
        (survey(partition()), True, "All is well: 1 partition on 1 worker, caught up."),
        (survey(partition(), partition(number=1)), True, "All is well: 2 partitions on 1 worker, all caught up."),
        (
            survey(idle(partition(), 90_000), partition(number=1)), True,
            "All is well: 2 partitions on 1 worker, 1 caught up, 1 idle.",
        ),
        (survey(partition(owner=None), group_state=None), True, "All is well: 1 partition, caught up."),
        (
            survey(partition(owner=None), partition(number=1, store=None), partition(number=2)), False,
            "Something is wrong with 2 of 3 partitions: 1 owned by nobody, 1 restoring.",
        ),
        (
            survey(partition(letters=Letters(1))), False,
            "All partitions are well, and 1 dead letter is to be seen to.",
        ),
        (
            survey(partition(letters=Letters(5_000, more=True)), partition(number=1, letters=Letters(2))), False,
            "All partitions are well, and 5,002 and more dead letters are to be seen to.",
        ),
        (
            survey(partition(letters=Letters(1, settled=False))), False,
            "All partitions are well, and up to 1 dead letter is to be seen to.",
        ),
        (survey(partition(letters=None)), True, "All is well: 1 partition on 1 worker, caught up."),
        (
            survey(partition(store=None), store_error="Redis at redis://r cannot be reached: refused"), False,
            "Something is wrong: Redis at redis://r cannot be reached: refused.",
        ),
    ],
)  # fmt: skip
def test_one_sentence_says_whether_all_is_well(seen: Survey, well: bool, sentence: str) -> None:
    report = reported(seen)
    assert (report.well, report.sentence) == (well, sentence)


def test_who_has_dead_letters_is_told_how_to_see_them() -> None:
    (note,) = reported(survey(partition(letters=Letters(3)))).notes
    assert note.next == "restore-projector deadletters list"
    assert not reported(survey(partition())).notes


def test_only_what_is_late_and_was_not_seen_to_move_is_looked_at_again() -> None:
    assert not reported(survey(partition(), partition(number=1, owner=None))).rows[0].undecided
    assert reported(survey(partition(store=None))).rows[0].undecided
