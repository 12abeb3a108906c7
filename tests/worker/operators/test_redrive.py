"""Which letters can be redriven, with which edits, and what is left of them."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from contracts.events import Record
from contracts.ids import partition_of
from contracts.letters import Reason, letter_headers
from contracts.topics import Topics
from tests.traffic import message, run
from worker.operators.edits import Edit, EditFailed, batches, edited, through, with_header, with_value
from worker.operators.letters import Entry
from worker.operators.redrive import Judge, Redriven, redrive, set_aside_again
from worker.settings import LimitsSettings, Settings

TOPICS = Topics()
SETTINGS = Settings.model_construct(limits=LimitsSettings(value_bytes=1_024))
PARTITIONS = 4
PARTITION = partition_of("t-1", PARTITIONS, "murmur2")


def letter(status: str = "finished", reason: Reason = "schema_violation", **fields: Any) -> Entry:
    """A restore run's event that was set aside."""
    good = message(run("t-1", "rr-1", 2, status), TOPICS)
    headers = tuple((name, value or b"") for name, value in good.headers)
    source = Record(good.topic, PARTITION, 7, 1, good.key, good.value, headers)._replace(**fields)
    detail = "$.status: expected a status, got something else"
    record = Record(
        TOPICS.dead_letters, PARTITION, 120, 2, source.key, source.value, tuple(letter_headers(source, reason, detail))
    )
    return Entry.of(record)


def planned(*entries: Entry, edits: Sequence[Edit] = (), anyway: bool = False) -> Redriven:
    plan = Redriven()
    redrive(entries, Judge(SETTINGS, PARTITIONS), edits, None, plan, anyway=anyway)
    return plan


def test_what_can_be_read_by_now_is_sent() -> None:
    plan = planned(letter("completed"))
    assert (plan.sent.total(), plan.left) == (1, 0)


def test_what_would_be_set_aside_again_is_left_out_and_it_is_said_why() -> None:
    plan = planned(letter())
    assert (plan.sent.total(), plan.left) == (0, 1)
    ((name, detail),) = plan.unreadable.first
    assert name == f"{PARTITION}:120"
    assert detail.startswith("$.status: expected one of draft, ")


def test_it_is_sent_if_that_is_asked_for() -> None:
    assert planned(letter(), anyway=True).sent.total() == 1


def test_the_limits_are_those_of_the_settings() -> None:
    large = letter("completed", value=b"{" + b" " * 1_024 + b"}")
    assert planned(large).unreadable.reasons == {"too_large": 1}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (Entry.of(Record(TOPICS.dead_letters, 0, 1, 2, b"t-1", b"{}")), "it does not say where its record lay"),
        (letter(topic=TOPICS.ops), "it was a command of the ops topic: give the command again, and dismiss this"),
        (
            letter(partition=PARTITION + 1),
            f"expected a record of partition {PARTITION}, where it is, got one of {PARTITION + 1}",
        ),
    ],
)
def test_what_cannot_be_redriven_is_left_out_even_so(entry: Entry, why: str) -> None:
    plan = planned(entry, anyway=True)
    assert (plan.sent.total(), plan.left) == (0, 1)
    assert [detail for _, detail in plan.impossible.first] == [why]


def test_many_are_counted_and_the_first_are_named() -> None:
    plan = planned(*(letter() for _ in range(25)))
    assert (len(plan.unreadable), len(plan.unreadable.first)) == (25, 10)


def test_a_value_is_replaced_and_the_place_is_not() -> None:
    (record,) = edited([letter()], [with_value(b"{}")])
    assert (record.value, record.topic, record.partition, record.offset) == (b"{}", TOPICS.restore_runs, PARTITION, 7)


def test_a_header_is_set_instead_of_all_of_its_name() -> None:
    (record,) = edited([letter()], [with_header("CE_Sequence", "9")])
    assert [header for header in record.headers if header[0].lower() == "ce_sequence"] == [("CE_Sequence", b"9")]


def filter_of(code: str) -> Edit:
    """A program that does this to each `told`."""
    lines = ["import json, sys", "for line in sys.stdin:", "  told = json.loads(line)", f"  {code}"]
    return through(shlex.join([sys.executable, "-c", "\n".join([*lines, "  print(json.dumps(told))"])]))


def test_a_program_edits_the_values_of_many_letters_and_is_told_what_they_are() -> None:
    entries = [letter(offset=7), letter(offset=8)]
    first, second = edited(entries, [filter_of("told['value'] = json.dumps([told['value'], *told.values()])")])

    assert json.loads(first.value or b"") == [
        text := (entries[0].record.value or b"").decode(), f"{PARTITION}:120", TOPICS.restore_runs, "t-1",
        "schema_violation", entries[0].detail, text,
    ]  # fmt: skip
    assert (first.offset, second.offset) == (7, 8)
    mended = filter_of("told['value'] = told['value'].replace('finished', 'completed')")
    assert planned(*entries, edits=[mended]).sent.total() == 2


def test_a_value_that_is_no_text_goes_through_a_program_unchanged() -> None:
    entries = [letter(value=bytes(range(256))), letter(value=None), letter(value=b"")]
    assert [record.value for record in edited(entries, [filter_of("pass")])] == [bytes(range(256)), None, b""]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (filter_of("sys.exit('no\x1b[31m')"), "exit code 1: no\N{REPLACEMENT CHARACTER}[31m"),
        (through("/nowhere/program"), "No such file or directory"),
        (filter_of("print()"), "expected a line for each of 1 letters, got 2"),
        (
            filter_of("told['letter'] = '0:0'"),
            f'expected an object with "letter": "{PARTITION}:120" and a "value", got',
        ),
        (filter_of("del told['value']"), 'and a "value", got {"letter": '),
        (filter_of("told['value'] = json.loads(told['value'])"), 'and a "value", got {"letter": '),
    ],
)
def test_a_program_that_fails_ends_it_and_nothing_of_its_batch_is_sent(edit: Edit, said: str) -> None:
    plan = Redriven()
    with pytest.raises(EditFailed, match=f", given {PARTITION}:120 to {PARTITION}:120: ") as failed:
        redrive([letter()], Judge(SETTINGS, PARTITIONS), [edit], None, plan)
    assert said in str(failed.value)
    assert not plan.sent


def test_a_batch_has_a_limit_of_letters_and_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.operators.edits.BATCH_LETTERS", 3)
    monkeypatch.setattr("worker.operators.edits.BATCH_BYTES", 10)
    sizes = [1, 1, 1, 1, 9, 1, 11, 2, 2]
    made = [
        [len(entry.record.value or b"") for entry in batch] for batch in batches(letter(value=b"x" * n) for n in sizes)
    ]
    assert made == [[1, 1, 1], [1, 9], [1], [11], [2, 2]]


@pytest.mark.parametrize("command", ["", "'"])
def test_what_is_no_command_is_told_at_once(command: str) -> None:
    with pytest.raises(EditFailed, match="expected a program and its arguments, got"):
        through(command)


def test_a_letter_that_went_through_it_before_was_redriven() -> None:
    first = letter()
    again = first.record._replace(
        offset=121, headers=tuple(letter_headers(first.source, "not_json", "$: expected x, got y"))
    )
    kept = set_aside_again([first, Entry.of(again)])
    assert (kept.reasons, kept.first) == ({"not_json": 1}, [(f"{PARTITION}:121", "$: expected x, got y")])
