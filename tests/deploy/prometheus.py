"""A Prometheus that scrapes a worker's endpoint, to ask it what it makes of queries and rules."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.tools import command
from tests.servers.waiting import wait_until
from worker.health import Health, HealthServer
from worker.metrics import Metrics
from worker.servers.processes import LOOPBACK, ChildProcess, free_port

SCRAPE_INTERVAL = "100ms"
START_TIMEOUT_S = 30.0


class Prometheus:
    def __init__(self, port: int) -> None:
        self._url = f"http://{LOOPBACK}:{port}/api/v1"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result, a vector: of each element `metric` (its labels) and `value`. Fails if the query is refused."""
        data = self._get("query?" + urllib.parse.urlencode({"query": expression}))
        result: list[dict[str, Any]] = data["result"]
        assert data["resultType"] == "vector", f"{expression} is a {data['resultType']}"
        return result

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def answers(self, expression: str) -> bool:
        try:
            return bool(self.query(expression))
        except OSError:
            return False

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"{self._url}/{path}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                raise
            raise AssertionError(error.read().decode()) from error


@contextmanager
def scraping(metrics: Metrics, directory: Path, rules: Path) -> Iterator[Prometheus]:
    """Prometheus once it has scraped the metrics several times, as of a job `restore-projector`."""
    binary = command("prometheus", "Debian's package prometheus")
    port = free_port()
    with HealthServer(LOOPBACK, 0, Health(), metrics) as worker:
        target = {"job_name": "restore-projector", "static_configs": [{"targets": [f"{LOOPBACK}:{worker.port}"]}]}
        timing = {"scrape_interval": SCRAPE_INTERVAL, "scrape_timeout": SCRAPE_INTERVAL, "evaluation_interval": "1s"}
        config = {"global": timing, "scrape_configs": [target], "rule_files": [str(rules)]}
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        process = ChildProcess(
            [
                binary,
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={LOOPBACK}:{port}",
            ],
            directory / "prometheus.log",
        )
        process.start()
        prometheus = Prometheus(port)
        try:
            wait_until(
                lambda: prometheus.answers("count_over_time(up[1m]) > 3"),
                START_TIMEOUT_S,
                lambda: f"Prometheus has scraped\n{process.last_words()}",
            )
            yield prometheus
        finally:
            process.stop()
