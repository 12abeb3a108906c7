"""What becomes of the loop's times in the metrics."""

from __future__ import annotations

from typing import Any

import pytest

from tests.worker.fakes import TOPICS, FakeClock
from tests.worker.site import Running, Site
from worker.health import Health
from worker.logs import silent_events
from worker.loop import POLL_TIMEOUT_MS, Limits, Worker
from worker.metrics import Metrics
from worker.reporter import Reporter

PUBLISHING_S, STORING_S, WAITED_S = 2.0, 5.0, 30.0


def observed(site: Site, limits: Limits | None = None) -> tuple[Running, Metrics]:
    """A worker that has taken its partition over, and its metrics."""
    metrics, running = Metrics(), site.worker()
    reporter = Reporter(TOPICS, metrics, Health(), silent_events(), site.clock)
    running.worker = Worker(running.log, site.store, site.clock, running.worker._inputs, TOPICS, reporter, limits)
    site.until(lambda: running.runs, running)
    return running, metrics


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    """Of a worker that found records half a minute old, and whose servers take their time."""
    site = Site()
    site.send_restore()
    site.clock.pass_s(WAITED_S)
    running, metrics = observed(site)
    _slow(monkeypatch, running.log, "publish", site.clock, PUBLISHING_S)
    _slow(monkeypatch, site.store, "apply", site.clock, STORING_S)
    site.settle(running)
    return metrics


def _slow(monkeypatch: pytest.MonkeyPatch, server: Any, call: str, clock: FakeClock, seconds: float) -> None:
    quick = getattr(server, call)

    def slow(*arguments: Any, **named: Any) -> Any:
        clock.pass_s(seconds)
        return quick(*arguments, **named)

    monkeypatch.setattr(server, call, slow)


def of(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"restore_projector_{name}")


def test_the_times_of_transactions_and_of_the_store_are_told_apart(metrics: Metrics) -> None:
    assert of(metrics, "transaction_seconds_count") == 1
    assert of(metrics, "transaction_seconds_sum") == pytest.approx(PUBLISHING_S)
    assert of(metrics, "store_seconds_count") == 1
    assert of(metrics, "store_seconds_sum") == pytest.approx(STORING_S)


def test_the_delay_of_what_is_published_is_that_of_the_oldest_record_of_a_batch(metrics: Metrics) -> None:
    """Up to the commit: the store comes after it. The oldest was sent 0.3 s before the wait, and a poll takes 0.5 s."""
    assert of(metrics, "publication_delay_seconds_count") == 1
    delay = of(metrics, "publication_delay_seconds_sum")
    assert delay == pytest.approx(0.3 + WAITED_S + PUBLISHING_S, abs=POLL_TIMEOUT_MS / 1000)


def test_what_was_committed_is_counted_though_the_store_fails() -> None:
    site = Site()
    site.send_restore()
    running, metrics = observed(site)
    site.store.fail("apply", ConnectionError("Redis is gone"))

    site.settle(running)

    labels = {"topic_role": "restore_runs", "outcome": "applied"}
    assert metrics.registry.get_sample_value("restore_projector_records_total", labels) == 1
    assert of(metrics, "recoveries_total") == 1


def test_a_worker_with_old_records_to_decide_is_as_far_behind_as_the_oldest_of_them() -> None:
    site = Site()
    site.send_restore()
    site.clock.pass_s(WAITED_S)
    running, metrics = observed(site, Limits(batch_records=1))

    site.until(lambda: running.log.transactions, running)

    assert of(metrics, "stream_time_lag_seconds") == pytest.approx(0.2 + WAITED_S, abs=1), "two of three are left"


def test_a_worker_that_has_just_decided_old_records_is_still_behind_as_more_may_come() -> None:
    site = Site()
    site.send_restore()
    site.clock.pass_s(WAITED_S)
    running, metrics = observed(site)

    site.until(lambda: running.log.transactions, running)

    assert of(metrics, "stream_time_lag_seconds") == pytest.approx(0.1 + WAITED_S, abs=1)


def test_a_worker_with_nothing_to_do_is_not_behind_however_long_nothing_came() -> None:
    site = Site()
    site.send_restore()
    running, metrics = observed(site)
    site.settle(running)

    site.clock.pass_s(3600)
    running.turn(2)

    assert of(metrics, "stream_time_lag_seconds") == 0


def test_a_record_that_is_the_first_for_an_hour_does_not_make_a_worker_an_hour_late() -> None:
    site = Site()
    site.send_restore()
    running, metrics = observed(site)
    site.settle(running)
    site.clock.pass_s(3600)
    running.turn(2)

    site.send("restore_run", 2)
    running.turn()

    assert of(metrics, "stream_time_lag_seconds") == pytest.approx(0, abs=1)


def test_a_worker_that_runs_nothing_is_not_behind() -> None:
    site = Site()
    site.send_restore()
    site.clock.pass_s(WAITED_S)
    running, metrics = observed(site, Limits(batch_records=1))
    site.until(lambda: running.log.transactions, running)
    running.log.fail("poll", ConnectionError("Kafka is gone"))

    running.turn()

    assert of(metrics, "stream_time_lag_seconds") == 0


def test_no_distribution_is_exported_and_never_fed(metrics: Metrics) -> None:
    histograms = [family for family in metrics.registry.collect() if family.type == "histogram"]

    assert histograms
    assert [family.name for family in histograms if not metrics.registry.get_sample_value(f"{family.name}_count")] == []
