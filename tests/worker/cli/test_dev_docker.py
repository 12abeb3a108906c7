"""`dev` on containers: what it asks an engine for, and that it takes all of it back. The engine is a stand-in."""

from __future__ import annotations

import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers.engine import StandIn, docker_engine
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from tests.worker.cli.dev_process import WAIT_S, dev
from worker.servers.docker import KAFKA_IMAGE, REDIS_IMAGE
from worker.servers.local_kafka import KAFKA_VERSION
from worker.settings import PREFIX

IMAGES = {KAFKA_IMAGE, REDIS_IMAGE}


@pytest.fixture
def socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the engine listens; the name of a Unix socket must be short."""
    return tmp_path_factory.mktemp("engine") / "engine.sock"


def test_auto_takes_containers_where_an_engine_answers_and_removes_them(
    real_kafka: KafkaServer, redis_server: RedisServer, space: Space, socket: Path, tmp_path: Path
) -> None:
    host, _, port = real_kafka.bootstrap_servers.partition(":")
    redis = urlsplit(redis_server.url)
    engine = StandIn(
        set(IMAGES), {KAFKA_IMAGE: (host, int(port)), REDIS_IMAGE: (redis.hostname or "", redis.port or 6379)}
    )
    names = {"TOPICS__PREFIX": space.prefix, "KAFKA__GROUP_ID": space.group, "REDIS__NAMESPACE": space.namespace}
    settings = {f"{PREFIX}{name}": value for name, value in names.items()}
    with docker_engine(socket, engine) as variables, dev(tmp_path, **variables, **settings) as running:
        running.wait_until_ready()

        kafka_port, redis_port = (container.published[1] for container in engine.containers)
        assert running.out.startswith(
            "Servers in containers, gone at the end with their data:\n"
            f"  Apache Kafka {KAFKA_VERSION}, a container of {KAFKA_IMAGE}, at 127.0.0.1:{kafka_port}\n"
            f"  Redis, a container of {REDIS_IMAGE}, at redis://127.0.0.1:{redis_port}/0\n"
        )
        assert "for trying things" not in running.out
        assert not any(container.removed for container in engine.containers)
        assert running.ends(signal.SIGINT) == 0
    assert [container.image for container in engine.containers] == [KAFKA_IMAGE, REDIS_IMAGE]
    assert {container.published[0] for container in engine.containers} == {"127.0.0.1"}
    assert all(container.removed for container in engine.containers)
    assert engine.fetched == []


def test_ctrl_c_while_a_container_starts_removes_it(socket: Path, tmp_path: Path) -> None:
    engine = StandIn(set(IMAGES))
    with docker_engine(socket, engine) as variables, dev(tmp_path, "--servers", "docker", **variables) as running:
        wait_until(lambda: any(c.started for c in engine.containers), WAIT_S, lambda: running.out + running.err)

        assert running.ends(signal.SIGINT) == 0
        assert running.out == "Stopped.\n"
        assert running.err == ""
    assert [container.removed for container in engine.containers] == [True]


def test_ctrl_c_while_an_image_is_fetched_waits_for_nothing(socket: Path, tmp_path: Path) -> None:
    engine = StandIn(set())
    engine.fetching.clear()
    with docker_engine(socket, engine) as variables, dev(tmp_path, "--servers", "docker", **variables) as running:
        wait_until(lambda: engine.fetched, WAIT_S, lambda: running.out + running.err)

        assert running.ends(signal.SIGINT) == 0
        assert running.out == f"Docker fetches {KAFKA_IMAGE}, once …\nStopped.\n"
        assert running.err == ""
    assert engine.containers == []


def test_images_that_are_not_there_are_fetched_and_named(socket: Path, tmp_path: Path) -> None:
    engine = StandIn({KAFKA_IMAGE})
    with docker_engine(socket, engine) as variables, dev(tmp_path, "--servers", "docker", **variables) as running:
        wait_until(lambda: engine.containers, WAIT_S, lambda: running.out + running.err)

        assert running.out == f"Docker fetches {REDIS_IMAGE}, once …\n"
        assert running.ends(signal.SIGTERM) == 0
    assert engine.fetched == [REDIS_IMAGE]


def test_images_that_cannot_be_fetched_are_exit_code_2(socket: Path, tmp_path: Path) -> None:
    engine = StandIn(set(), no_network=True)
    with docker_engine(socket, engine) as variables, dev(tmp_path, "--servers", "docker", **variables) as running:
        assert running.ends() == 2
        first, second = running.err.splitlines()
        assert first.endswith(f"--servers docker cannot be had here: the Docker engine could not fetch {KAFKA_IMAGE}")
        assert "no such host" in second
    assert engine.containers == []
