"""Fixtures for all tests: servers, and installations of the worker on them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers.plugin", "tests.installation"]

# How long an example takes says nothing on a machine that has servers to run besides.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long outages are for `make test-outages`, so that `make test` stays a matter of minutes."""
    if "outage" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("outage")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
