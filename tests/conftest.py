"""Fixtures for all tests: servers, and installations of the worker on them."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers.plugin", "tests.installation"]

# How long an example takes says nothing on a machine that has servers to run besides.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
