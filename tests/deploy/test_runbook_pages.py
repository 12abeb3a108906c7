"""deploy/runbook.md: a section for each alert and each condition, and none for what there is not."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.deploy import kafka_tools
from tests.deploy.runbook import PAGE, PATH, SECTIONS, Section, commands, has, shows
from tests.deploy.test_alerts import ALERTS
from tests.pages import dead_links
from worker.logs import Events
from worker.servers.local_kafka import KAFKA_VERSION
from worker.status.condition import CONDITIONS

ALL = [pytest.param(section, id=title) for title, section in SECTIONS.items()]


def test_each_alert_has_a_section_which_says_how_urgent_it_is() -> None:
    named = {alert: severity for section in SECTIONS.values() for alert, severity in section.alerts.items()}

    assert named == {name: alert["labels"]["severity"] for name, alert in ALERTS.items()}


def test_each_condition_that_is_not_well_has_a_section_and_no_other() -> None:
    named = Counter(label for section in SECTIONS.values() for label in section.conditions)

    assert named == dict.fromkeys((condition.label for condition in CONDITIONS if not condition.well), 1)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_links_to_the_section_that_names_it(name: str) -> None:
    (section,) = (section for section in SECTIONS.values() if name in section.alerts)

    assert ALERTS[name]["annotations"]["runbook_url"] == f"deploy/runbook.md#{section.anchor}"


@pytest.mark.parametrize("section", ALL)
def test_a_section_is_about_something_and_says_why_what_to_type_and_whom_to_call(section: Section) -> None:
    assert section.alerts or section.conditions
    assert all(has(section, part) for part in ("Seen as", "Why", "Type", "Call"))
    for case in section.cases:
        assert case.steps
        assert all(step.commands for step in case.steps)


@pytest.mark.parametrize("section", ALL)
def test_a_section_that_is_about_a_condition_shows_what_status_says(section: Section) -> None:
    if section.conditions:
        assert all(case.looks for case in section.cases)


@pytest.mark.parametrize("section", ALL)
def test_events_that_a_section_names_are_logged(section: Section) -> None:
    assert section.events <= {*vars(Events)}


def test_the_table_lists_the_sections_in_their_order_with_what_they_are_about() -> None:
    rows = re.findall(r"^\| \[(.+?)\]\(#(.+?)\) \| (.*?) ?\| (.*?) ?\|$", PAGE, re.MULTILINE)
    expected = [
        (s.title, s.anchor, ", ".join(f"`{alert}`" for alert in s.alerts), ", ".join(sorted(s.conditions)))
        for s in SECTIONS.values()
    ]

    assert rows == expected


def test_files_and_sections_that_are_named_are_there() -> None:
    assert dead_links(PATH) == []


def test_names_that_commands_use_are_told_at_the_beginning() -> None:
    told = {name for line in commands() for name in re.findall(r"\b([A-Z]+)=", line)}

    assert {name for line in commands() for name in re.findall(r"\$([A-Z]+)", line)} == told


def test_the_tools_are_those_of_the_kafka_that_they_are_tried_on() -> None:
    assert kafka_tools.VERSION == KAFKA_VERSION


@pytest.mark.parametrize(
    ("said", "printed", "expected"),
    [
        ("It is stuck since 9:00:00 UTC (7 s): 1 record waits", "It is stuck since 10:00:01 UTC (1 min 2 s)", True),
        ("1 record waits, the oldest for 7 s", "3 records wait, the oldest for 40 s", True),
        ("1 record waits, the oldest\n  for 7 s", "3 records wait, … for 40 s", True),
        ("1 record waits", "3 records cannot", False),
        ("Partition 1 is slow", "Partition 3 is stuck", False),
        ("All is well: 4 partitions", "All is well: … on", False),
        ("a.b", "a.b", True),
        ("axb", "a.b", False),
    ],
)  # fmt: skip
def test_what_is_printed_fits_what_is_said_but_for_numbers(said: str, printed: str, expected: object) -> None:
    assert shows(said, printed) is expected
