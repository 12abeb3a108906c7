"""The servers of the tests that follow a real database, and the rule that those only run when they are asked for."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.debezium.capture import Site
from tests.debezium.connect import Connect
from tests.servers.plugin import started
from tests.servers.ports import KafkaServer

MARKER = "debezium"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Another PostgreSQL, Connect and 40 MB of jars are nothing for every run: `make test-debezium` asks for them."""
    if MARKER in config.option.markexpr:
        return
    others = [item for item in items if item.get_closest_marker(MARKER) is not None]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


@pytest.fixture(scope="session")
def site(real_kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Connect worker on the Kafka that all tests share."""
    directory = tmp_path_factory.mktemp("debezium")
    with ExitStack() as stack:
        connect = started(lambda: Connect(real_kafka.bootstrap_servers, directory), stack)
        yield Site(connect, real_kafka.bootstrap_servers, directory, f"test-{secrets.token_hex(5)}")
