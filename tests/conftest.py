"""Fixtures for all tests: servers, and installations of the worker on them."""

from __future__ import annotations

import random
import sys

import kafka.consumer
import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers.plugin", "tests.installation"]

# How long an example takes says nothing on a machine that has servers to run besides.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


# Threads of kafka-python draw random waits while they reconnect, from the numbers that a test's seed decides. They get
# numbers of their own, or what one test left connecting would change what another one generates.
assert kafka.consumer
for module in [module for name, module in sys.modules.items() if name.startswith("kafka.")]:
    if getattr(module, "random", None) is random:
        setattr(module, "random", random.Random())  # noqa: B010  a module has no such attribute for mypy


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long outages are for `make test-outages`, so that `make test` stays a matter of minutes."""
    if "outage" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("outage")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
