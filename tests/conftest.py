"""Fixtures for all tests; see `tests.servers` for the servers."""

from __future__ import annotations

pytest_plugins = ["tests.servers.plugin"]
