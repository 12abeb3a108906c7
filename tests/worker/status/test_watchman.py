"""The metrics about all partitions: what `status` says, and nothing once it cannot be said."""

from __future__ import annotations

from structlog.testing import capture_logs

from tests.processes import install
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from tests.worker.status.sights import NOW, partition, reported, survey, waiting
from worker.logs import Events, silent_events
from worker.metrics import Metrics
from worker.settings import KafkaSettings, Settings
from worker.status.facts import Letters
from worker.status.watchman import Watchman, forget, show

WAIT_S = 30.0


def values(metrics: Metrics, name: str) -> dict[str, float]:
    """The series of a metric that are not 0, by their labels."""
    return {
        ",".join(sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        if family.name == f"restore_projector_{name}"
        for sample in family.samples
        if sample.value
    }


def test_what_a_report_says_is_in_the_metrics() -> None:
    metrics = Metrics()
    late = partition(waiting(7, 45_000), number=1, letters=Letters(2), store=None)
    show(reported(survey(partition(), late, overdue={"in_progress": 3})), metrics)
    assert values(metrics, "partition_condition") == {"0,caught_up": 1, "1,restoring": 1}
    assert values(metrics, "lag_records") == {"1": 7}
    assert values(metrics, "lag_seconds") == {"1": 45}
    assert values(metrics, "open_dead_letters") == {"1": 2}
    assert values(metrics, "runs_overdue") == {"in_progress": 3}
    assert values(metrics, "survey_timestamp_seconds") == {"": NOW / 1000}
    assert values(metrics, "store_behind_records") == {}


def test_a_condition_that_has_passed_is_no_longer_said() -> None:
    metrics = Metrics()
    show(reported(survey(partition(owner=None))), metrics)
    show(reported(survey(partition())), metrics)
    assert values(metrics, "partition_condition") == {"0,caught_up": 1}


def test_of_what_could_not_be_looked_at_nothing_is_said() -> None:
    metrics = Metrics()
    show(reported(survey(partition(waiting(7, 45_000), owner=None, letters=Letters(2)))), metrics)
    forget(metrics)
    for name in ("partition_condition", "lag_records", "lag_seconds", "open_dead_letters", "store_behind_records"):
        assert values(metrics, name) == {}


def test_a_thread_keeps_them_up_to_date(real_kafka: KafkaServer, redis_server: RedisServer, space: Space) -> None:
    metrics = Metrics()
    settings = install(real_kafka, redis_server, space.prefix, 2)
    with Watchman(settings, metrics, silent_events(), every_s=0.1, first_after_s=0):
        wait_until(lambda: values(metrics, "partition_condition"), WAIT_S, "a first look")
        assert values(metrics, "partition_condition") == {"0,owned_by_nobody": 1, "1,owned_by_nobody": 1}
        first = values(metrics, "survey_timestamp_seconds")
        wait_until(lambda: values(metrics, "survey_timestamp_seconds") != first, WAIT_S, "another look")


def test_a_look_that_fails_is_told_once() -> None:
    import structlog

    settings = Settings.model_construct(kafka=KafkaSettings(bootstrap_servers="localhost:1"))
    metrics = Metrics()
    show(reported(survey(partition())), metrics)
    with capture_logs() as told:
        watchman = Watchman(settings, metrics, Events(structlog.get_logger()), every_s=0.01, first_after_s=0)
        with watchman:
            wait_until(lambda: not values(metrics, "partition_condition"), WAIT_S, "nothing is said of partitions")
    assert [(entry["event"], entry["error"]) for entry in told] == [("survey_failed", "KafkaUnreachable")]
