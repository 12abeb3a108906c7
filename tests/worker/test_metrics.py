from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from worker.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_labelled_series_exist_from_the_start_at_zero() -> None:
    found = samples(Metrics())

    assert found["restore_projector_records_total", (("outcome", "stale"), ("topic_role", "ops"))] == 0
    assert found["restore_projector_dead_letters_total", (("reason", "too_large"),)] == 0
    assert found["restore_projector_changes_published_total", (("state", "removed"),)] == 0
    assert found["restore_projector_partitions", (("state", "restoring"),)] == 0


def test_what_is_counted_is_exposed() -> None:
    metrics = Metrics()

    metrics.records.labels("restore_runs", "applied").inc(3)
    metrics.transaction_seconds.observe(0.004)

    found = samples(metrics)
    assert found["restore_projector_records_total", (("outcome", "applied"), ("topic_role", "restore_runs"))] == 3
    assert found["restore_projector_transaction_seconds_bucket", (("le", "0.005"),)] == 1


def test_workers_of_one_process_do_not_add_up() -> None:
    first, second = Metrics(), Metrics()

    first.recoveries.inc()

    assert samples(second)["restore_projector_recoveries_total", ()] == 0


def test_every_metric_has_the_prefix_a_meaning_and_a_base_unit() -> None:
    families = [f for f in Metrics().registry.collect() if not f.name.startswith("process_")]

    assert all(family.name.startswith("restore_projector_") for family in families)
    assert all(family.documentation.endswith(".") for family in families)
    assert not [f.name for f in families if f.name.endswith(("_ms", "_milliseconds", "_kilobytes", "_minutes"))]


def test_no_label_takes_values_from_outside() -> None:
    labels = {name for family in Metrics().registry.collect() for sample in family.samples for name in sample.labels}

    assert labels <= {"topic_role", "outcome", "reason", "state", "kind", "server", "le"}
