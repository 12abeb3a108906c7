"""The compose file, without an engine to run it: its schema, and each setting and command against the real thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka.admin import ConfigResource, ConfigResourceType
from pydantic import SecretStr

from tests.deploy.commands import options
from tests.deploy.guarded import GuardedKafka
from tests.deploy.settings import taken
from tests.deploy.test_image import FINAL, PROJECT
from tests.deploy.tools import DEPLOY, command, run
from tests.servers.plugin import MakesRedis
from worker.cli.run import STOP_LIMIT_S
from worker.fitness import check_redis
from worker.servers.local_kafka import KAFKA_VERSION
from worker.settings import RedisSettings

COMPOSE = DEPLOY / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
OURS = ["topics", "worker", "traffic"]
SERVERS = ["kafka", "redis"]


def test_it_is_a_compose_file() -> None:
    check = command("check-jsonschema", "the wheel of that name")
    run(check, "--builtin-schema", "vendor.compose-spec", COMPOSE)


def test_every_port_is_open_on_loopback_only() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert set(ports) == {"kafka", "redis", "worker"}
    assert all(port.startswith("127.0.0.1:") for of_one in ports.values() for port in of_one)


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_has_settings_that_the_worker_takes(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = taken(FINAL.variables("ENV") | SERVICES[name]["environment"], monkeypatch, tmp_path)

    host, _, port = settings.kafka.bootstrap_servers.partition(":")
    assert f"INTERNAL://{host}:{port}" in _kafka("ADVERTISED_LISTENERS") and f"INTERNAL://:{port}" in _kafka(
        "LISTENERS"
    )
    assert settings.redis.address.startswith("redis://redis:6379")
    assert settings.kafka.instance is None, "copies of a service would fence each other"


def _kafka(name: str) -> list[str]:
    value: str = SERVICES["kafka"]["environment"][f"KAFKA_{name}"]
    return value.split(",")


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_runs_the_image_of_this_version_with_few_rights(name: str) -> None:
    service = SERVICES[name]

    assert service["image"] == f"{PROJECT['name']}:{PROJECT['version']}"
    assert (COMPOSE.parent / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == (
        DEPLOY / "Dockerfile"
    )
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", ["topics", "traffic"])
def test_a_command_is_one_that_we_have(name: str) -> None:
    assert options(SERVICES[name]["command"])


def test_the_worker_starts_when_the_topics_are_made_and_redis_answers() -> None:
    assert SERVICES["worker"]["depends_on"] == {
        "topics": {"condition": "service_completed_successfully"},
        "redis": {"condition": "service_healthy"},
    }
    assert SERVICES["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert all("test" in SERVICES[name]["healthcheck"] for name in SERVERS)
    assert "healthcheck" not in SERVICES["worker"], "the image's own is used"


def test_the_worker_has_time_to_end_in_order() -> None:
    assert int(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > STOP_LIMIT_S


def test_the_kafka_is_the_one_that_is_tested_with() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_kafka_knows_each_of_its_settings(guarded_kafka: GuardedKafka) -> None:
    """Kafka starts with settings that it does not know, as if they were not there."""
    given = {
        name.removeprefix("KAFKA_").lower().replace("_", ".")
        for name in SERVICES["kafka"]["environment"]
        if name.startswith("KAFKA_")
    }
    with guarded_kafka.admin() as admin:
        (broker,) = admin.describe_cluster()["brokers"]
        resource = ConfigResource(ConfigResourceType.BROKER, str(broker["broker_id"]))
        (known,) = admin.describe_configs([resource], config_filter="all")["broker"].values()

    assert given - set(known) == set()


def test_redis_is_started_as_the_worker_needs_it(private_redis: MakesRedis) -> None:
    program, *words = SERVICES["redis"]["command"]
    assert program == "redis-server"
    given = {name.removeprefix("--").replace("-", "_"): value for name, value in zip(*[iter(words)] * 2, strict=True)}
    given.pop("save")  # with an empty value, which tests give each of their servers

    server = private_redis(**given)

    assert check_redis(RedisSettings(url=SecretStr(server.url))) == []
