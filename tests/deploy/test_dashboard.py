from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.exported import exported, problems, selectors
from tests.deploy.prometheus import Prometheus, scraping
from tests.deploy.test_alerts import ALERTS, RULES
from tests.deploy.tools import DEPLOY
from tests.worker.status.sights import partition, reported, survey
from worker.metrics import Metrics
from worker.status.watchman import show

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
PANELS: dict[str, dict[str, Any]] = {p["title"]: p for p in DASHBOARD["panels"] if p["type"] != "row"}
VARIABLES: dict[str, dict[str, Any]] = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
QUERIES: dict[str, tuple[str, str]] = {
    f"{title} {target['refId']}": (target["expr"], target["legendFormat"])
    for title, panel in PANELS.items()
    for target in panel["targets"]
}
CHOSEN = {"$job": ".*", "$instance": ".*", "$__rate_interval": "1m"}


def as_asked(expression: str) -> str:
    """The query as Grafana sends it, with everything chosen."""
    for variable, value in CHOSEN.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, f"a variable that is not known: {expression}"
    return expression


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    metrics = Metrics()
    metrics.last_turn_timestamp_seconds.set_to_current_time()
    show(reported(survey(partition())), metrics)
    with scraping(metrics, tmp_path_factory.mktemp("prometheus"), RULES) as prometheus:
        yield prometheus


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_asks_for_metrics_that_a_worker_exports(name: str) -> None:
    assert list(problems(QUERIES[name][0])) == []


@pytest.mark.parametrize("name", QUERIES)
def test_prometheus_has_an_answer_to_a_query_and_the_legend_is_in_it(prometheus: Prometheus, name: str) -> None:
    expression, legend = QUERIES[name]

    result = prometheus.query(as_asked(expression))

    assert result
    for label in re.findall(r"{{(\w+)}}", legend):
        assert all(label in element["metric"] for element in result), f"no label {label} in {result[0]}"
    several = len(result) > 1
    assert not several or "{{" in legend, f"{len(result)} series that are called the same"


def test_prometheus_evaluates_all_alert_rules_and_none_fires_at_a_worker_that_is_new(prometheus: Prometheus) -> None:
    rules = {rule["name"]: rule for rule in prometheus.rules()}

    assert set(rules) == set(ALERTS)
    assert not [rule for rule in rules.values() if rule.get("lastError")]
    assert not [name for name, rule in rules.items() if rule["state"] == "firing"]


def test_every_metric_of_a_worker_is_on_the_dashboard() -> None:
    shown = {selector.metric for expression, _ in QUERIES.values() for selector in selectors(expression)}
    families = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in shown}
    measured = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in exported() if name.startswith("restore_")}

    assert {name for name in measured if not name.endswith("_created")} <= families


def test_a_panel_has_a_title_of_its_own_says_what_it_shows_and_is_where_no_other_is() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len(PANELS) == len([panel for panel in DASHBOARD["panels"] if panel["type"] != "row"])
    assert all(panel["description"].endswith(".") for panel in PANELS.values())
    for one, other in itertools.combinations(DASHBOARD["panels"], 2):
        a, b = one["gridPos"], other["gridPos"]
        apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart_x or apart_y, f"{one['title']} and {other['title']} overlap"


def test_nothing_names_a_data_source_of_somebody() -> None:
    """It is chosen on the dashboard, so that the file works in any Grafana."""
    sources = re.findall(r'"uid": "([^"]+)"', json.dumps({"panels": DASHBOARD["panels"], "variables": VARIABLES}))

    assert set(sources) == {"${datasource}"}
    assert VARIABLES["datasource"]["type"] == "datasource"


def test_the_variables_are_taken_from_a_metric_that_a_worker_exports() -> None:
    for name in ("job", "instance"):
        assert list(problems(VARIABLES[name]["definition"])) == []
        assert VARIABLES[name]["query"]["query"] == VARIABLES[name]["definition"]
