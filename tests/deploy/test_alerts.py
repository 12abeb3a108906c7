from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.letters import REASONS
from tests.deploy.exported import problems
from tests.deploy.tools import DEPLOY, command, run
from worker.logs import Events
from worker.settings import Settings, describe_settings

RULES = DEPLOY / "prometheus" / "alerts.yaml"
CASES = Path(__file__).parent / "alerts.test.yaml"

(GROUP,) = yaml.safe_load(RULES.read_text())["groups"]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for rule in GROUP["rules"]}


def cases() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(CASES.read_text())
    return found


@pytest.fixture
def promtool() -> str:
    return command("promtool", "Debian's package prometheus")


def test_each_alert_fires_when_it_should_says_so_and_else_is_silent(promtool: str, tmp_path: Path) -> None:
    """Descriptions and links are left out: the same whatever happens, they would have to be repeated in each case."""
    rules = yaml.safe_load(RULES.read_text())
    for rule in rules["groups"][0]["rules"]:
        for same in ("description", "runbook_url"):
            del rule["annotations"][same]
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rules))
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(cases() | {"rule_files": ["alerts.yaml"]}))

    run(promtool, "test", "rules", tmp_path / "cases.yaml")


def test_prometheus_takes_the_rules(promtool: str) -> None:
    assert f"{len(ALERTS)} rules found" in run(promtool, "check", "rules", RULES)


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    checked = [case for test in cases()["tests"] for case in test["alert_rule_test"]]

    assert {case["alertname"] for case in checked if case["exp_alerts"]} == set(ALERTS)
    assert {case["alertname"] for case in checked if not case["exp_alerts"]} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_asks_for_metrics_that_a_worker_exports(name: str) -> None:
    assert list(problems(ALERTS[name]["expr"])) == []


def test_the_cases_have_series_that_a_worker_exports() -> None:
    series = [one["series"] for test in cases()["tests"] for one in test["input_series"]]

    assert [problem for one in series for problem in problems(one)] == []


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_urgent_it_is_what_happened_and_what_to_do(name: str) -> None:
    alert = ALERTS[name]

    assert name.startswith("RestoreProjector")
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert all(alert["annotations"][text].endswith((".", "?")) for text in ("summary", "description"))


def test_what_the_texts_name_exists() -> None:
    """Metrics and settings, and in brackets what is found in the log or in a dead letter."""
    settings = {setting.variable for setting in describe_settings(Settings.model_construct())}
    in_brackets = {*vars(Events), *REASONS}
    for name, alert in ALERTS.items():
        text = " ".join(alert["annotations"].values())
        for metric in re.findall(r"restore_projector_\w+", text):
            assert list(problems(metric)) == [], name
        for setting in re.findall(r"RESTORE_PROJECTOR_\w+", text):
            assert setting in settings, name
        for words in re.findall(r"\(([a-z]+_[a-z_]+(?:, [a-z_]+)*)\)", text):
            unknown = [w for w in words.split(", ") if w not in in_brackets and not w.startswith("restore_projector_")]
            assert unknown == [], name
