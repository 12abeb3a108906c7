"""The committed samples are what Debezium writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.debezium.capture import Site, capture
from tests.debezium.samples import FOLDER, Sample, read_samples

pytestmark = pytest.mark.debezium

OF_THE_MOMENT = ("ts_ms", "ts_us", "ts_ns", "lsn", "txId", "sequence")
"""Times and positions, which are others each time."""


def test_the_samples_are_what_comes(site: Site, tmp_path: Path) -> None:
    capture(site, tmp_path)

    paths = {path.relative_to(FOLDER) for path in FOLDER.rglob("*.json")}
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*.json")} == paths
    for path in paths:
        assert lasting(tmp_path / path, site.prefix) == lasting(FOLDER / path, "samples"), path


def lasting(path: Path, prefix: str) -> list[Any]:
    """What does not differ from capture to capture, the schema included."""
    return [
        [sample.what, sample.partition, sample.key, sample.headers, _value(sample, prefix)]
        for sample in read_samples(path)
    ]


def _value(sample: Sample, prefix: str) -> Any:
    """With ByLogicalTableRouter the names in the schema are the topic's."""
    if sample.value is None:
        return None
    value = json.loads(sample.value.replace(f"{prefix}-", "PREFIX-"))
    change = value.get("payload", value)
    for part in (change, change["source"]):
        for name in OF_THE_MOMENT:
            if part.get(name) is not None:
                part[name] = "of the moment"
    return value
