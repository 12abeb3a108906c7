"""Fixtures for all tests: servers, and installations of the worker on them."""

from __future__ import annotations

pytest_plugins = ["tests.servers.plugin", "tests.installation"]
