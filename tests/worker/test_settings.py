from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from contracts.topics import Topics
from projections.rules import UNFINISHED
from tests.security.certificates import Authority
from tests.worker.clean import without_settings
from worker.errors import ConfigurationError
from worker.settings import (
    KafkaSettings,
    RedisSettings,
    Settings,
    describe_settings,
    load_settings,
    masked_url,
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_settings(monkeypatch, tmp_path)


def set_variables(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"RESTORE_PROJECTOR_{name}", value)


def complaint(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    set_variables(monkeypatch, **variables)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    return str(caught.value)


def test_everything_has_a_default() -> None:
    settings = load_settings()

    assert settings.kafka.bootstrap_servers == "localhost:9092"
    assert settings.kafka.partitioner == "murmur2"
    assert settings.redis.url.get_secret_value() == "redis://localhost:6379/0"
    assert settings.limits.value_bytes == 524_288
    assert settings.http.port is None


def test_the_environment_sets_values(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, TOPICS__PREFIX="staging", HTTP__PORT="9090", LOG__LEVEL="DEBUG")

    settings = load_settings()

    assert settings.topic_names == Topics("staging")
    assert settings.http.port == 9090
    assert settings.log.level == "debug"


def test_every_state_in_which_something_is_awaited_has_a_time_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore in preparation may wait as long as its owner wants, unless that is set."""
    assert {state: load_settings().overdue.limit_ms(state) for state in UNFINISHED} == {
        "not_executed": None,
        "in_progress": 4 * 3_600_000,
        "completed_proof_incomplete": 24 * 3_600_000,
    }
    set_variables(monkeypatch, OVERDUE__NOT_EXECUTED_MINUTES="2")
    assert load_settings().overdue.limit_ms("not_executed") == 120_000


def test_a_time_after_which_everything_is_overdue_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaint(monkeypatch, OVERDUE__IN_PROGRESS_MINUTES="0") == (
        "RESTORE_PROJECTOR_OVERDUE__IN_PROGRESS_MINUTES is '0': expected a whole number from 1 to 527040"
    )


def test_an_empty_value_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, HTTP__PORT="", TOPICS__PREFIX="")

    assert load_settings() == Settings()


def test_the_environment_goes_before_the_env_file_and_that_before_secret_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name, value in (("GROUP_ID", "from-secret"), ("INSTANCE", "from-secret"), ("SASL_USERNAME", "from-secret")):
        (secrets / f"RESTORE_PROJECTOR_KAFKA__{name}").write_text(f"{value}\n")
    (tmp_path / ".env").write_text(
        f"RESTORE_PROJECTOR_SECRETS_DIR={secrets}\n"
        "RESTORE_PROJECTOR_KAFKA__GROUP_ID=from-file\nRESTORE_PROJECTOR_KAFKA__INSTANCE=from-file\n"
        "RESTORE_PROJECTOR_KAFKA__SECURITY_PROTOCOL=SASL_PLAINTEXT\nRESTORE_PROJECTOR_KAFKA__SASL_MECHANISM=PLAIN\n"
        "RESTORE_PROJECTOR_KAFKA__SASL_PASSWORD=s\n"
    )
    set_variables(monkeypatch, KAFKA__GROUP_ID="from-environment")

    kafka = load_settings().kafka

    assert (kafka.group_id, kafka.instance, kafka.sasl_username) == ("from-environment", "from-file", "from-secret")


def test_a_secrets_folder_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaint(monkeypatch, SECRETS_DIR="/nowhere") == (
        "RESTORE_PROJECTOR_SECRETS_DIR is '/nowhere': expected a folder"
    )


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("KAFKA__BOOTSTRAP_SERVERS", "host:port", "host:port, several separated by commas"),
        ("KAFKA__BOOTSTRAP_SERVERS", "a:1,b:70000", "host:port, several separated by commas"),
        ("KAFKA__PARTITIONER", "random", "'murmur2', 'crc32' or 'fnv1a'"),
        ("KAFKA__GROUP_ID", "a b", "text of the form [A-Za-z0-9._-]{1,200}"),
        ("KAFKA__SSL_CAFILE", "/nowhere", "a file"),
        ("KAFKA__SSL_CHECK_HOSTNAME", "perhaps", "true or false"),
        ("KAFKA__SESSION_TIMEOUT_MS", "10s", "a whole number from 1000 to 1800000"),
        ("LIMITS__VALUE_BYTES", "0", "a whole number from 1024 to 67108864"),
        ("HTTP__PORT", "65536", "a whole number from 0 to 65535"),
        ("LOG__LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("REDIS__NAMESPACE", "a:b", "text of the form [A-Za-z0-9._-]{1,64}"),
    ],
)
def test_a_wrong_value_names_its_variable_itself_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    assert (
        complaint(monkeypatch, **{variable: value}) == f"RESTORE_PROJECTOR_{variable} is {value!r}: expected {expected}"
    )


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = complaint(monkeypatch, HTTP__PORT="x", LOG__LEVEL="y", TOPICS__PREFIX=".z").splitlines()

    assert len(said) == 3


def test_a_misspelt_variable_is_refused_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaint(monkeypatch, KAFKA__BOOTSTRAP_SERVER="x:1") == (
        "RESTORE_PROJECTOR_KAFKA__BOOTSTRAP_SERVER (environment) is not a setting;"
        " did you mean RESTORE_PROJECTOR_KAFKA__BOOTSTRAP_SERVERS?"
    )


def test_what_kubernetes_sets_for_a_service_of_this_name_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, PORT="tcp://10.0.0.1:80", SERVICE_HOST="10.0.0.1", PORT_80_TCP_ADDR="10.0.0.1")

    assert load_settings() == Settings()


def test_a_wrong_redis_url_is_shown_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    said = complaint(monkeypatch, REDIS__URL="http://reader:geheim@cache:6379/0")

    assert "geheim" not in said
    assert said.startswith("RESTORE_PROJECTOR_REDIS__URL is http://reader:**********@cache:6379/0: expected redis://")


@pytest.mark.parametrize("url", ["redis://cache:port/0", "redis://cache:99999", "redis://", "unix://", "cache:6379"])
def test_a_redis_url_needs_a_scheme_a_host_and_a_port_that_exists(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert complaint(monkeypatch, REDIS__URL=url).startswith("RESTORE_PROJECTOR_REDIS__URL is ")


@pytest.mark.parametrize(
    "url", ["redis://cache", "rediss://u:p@cache:6380/3", "unix:///run/redis.sock", "redis://[::1]:1"]
)
def test_redis_urls_of_all_three_schemes_are_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    set_variables(monkeypatch, REDIS__URL=url)

    assert load_settings().redis.url.get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://cache:6379/0", "redis://cache:6379/0"),
        ("redis://:geheim@cache/0", "redis://:**********@cache/0"),
        ("rediss://user:ge@heim@cache/0", "rediss://user:**********@cache/0"),
        ("redis://cache/0?password=geheim&db=3", "redis://cache/0?password=**********&db=3"),
        ("redis://[geheim", "**********"),
    ],
)
def test_a_masked_url_shows_all_but_the_password(url: str, masked: str) -> None:
    assert masked_url(url) == masked


def test_secrets_are_in_no_representation_of_the_settings() -> None:
    settings = Settings(
        kafka=KafkaSettings(
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username="worker",
            sasl_password=SecretStr("geheim"),
            ssl_password=SecretStr("geheim"),
        ),
        redis=RedisSettings(url=SecretStr("redis://:geheim@cache/0")),
    )

    assert "geheim" not in f"{settings} {settings!r} {settings.model_dump_json()} {describe_settings(settings)}"
    assert settings.redis.address == "redis://:**********@cache/0"


def test_sasl_and_tls_become_options_of_every_client(tmp_path: Path) -> None:
    authorities = Authority(tmp_path, "authority", "").file
    kafka = KafkaSettings(
        bootstrap_servers="a:1, b:2",
        security_protocol="SASL_SSL",
        ssl_cafile=authorities,
        sasl_mechanism="SCRAM-SHA-256",
        sasl_username="worker",
        sasl_password=SecretStr("geheim"),
    )

    assert kafka.client_options() == {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "SASL_SSL",
        "ssl_cafile": str(authorities),
        "ssl_certfile": None,
        "ssl_keyfile": None,
        "ssl_password": None,
        "ssl_check_hostname": True,
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "worker",
        "sasl_plain_password": "geheim",
    }


def test_files_that_tls_cannot_use_are_refused_at_once(tmp_path: Path) -> None:
    """The first connection would say less, and for a key without its password ask whoever is at the terminal."""
    nothing = tmp_path / "nothing.pem"
    nothing.touch()
    own = Authority(tmp_path, "authority", "geheim").issue("worker")

    cases: list[tuple[dict[str, Any], str]] = [
        ({"ssl_cafile": nothing}, "SSL_CAFILE"),
        ({"ssl_certfile": nothing}, "SSL_CERTFILE"),
        ({"ssl_certfile": own.certificate}, "SSL_KEYFILE"),
        ({"ssl_certfile": own.certificate, "ssl_keyfile": own.guarded_key}, "SSL_PASSWORD"),
        ({"ssl_certfile": own.certificate, "ssl_keyfile": own.guarded_key, "ssl_password": "false"}, "SSL_PASSWORD"),
    ]
    for given, name in cases:
        with pytest.raises(ValidationError, match=f"RESTORE_PROJECTOR_KAFKA__{name}"):
            KafkaSettings.model_validate({"security_protocol": "SSL", **given})


def test_a_plain_connection_has_no_options_besides() -> None:
    assert KafkaSettings().client_options() == {
        "bootstrap_servers": ["localhost:9092"],
        "security_protocol": "PLAINTEXT",
    }


def test_sasl_needs_a_mechanism_and_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    said = complaint(monkeypatch, KAFKA__SECURITY_PROTOCOL="SASL_SSL", KAFKA__SASL_USERNAME="worker").splitlines()

    assert [line.split(":")[0] for line in said] == [
        "RESTORE_PROJECTOR_KAFKA__SASL_MECHANISM is not set",
        "RESTORE_PROJECTOR_KAFKA__SASL_PASSWORD is not set",
    ]


def test_a_password_that_would_not_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said = complaint(monkeypatch, KAFKA__SASL_PASSWORD="geheim")

    assert "RESTORE_PROJECTOR_KAFKA__SECURITY_PROTOCOL is PLAINTEXT: expected SASL_SSL or SASL_PLAINTEXT" in said
    assert "geheim" not in said


def test_heartbeats_must_be_faster_than_a_third_of_the_session_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    said = complaint(monkeypatch, KAFKA__HEARTBEAT_INTERVAL_MS="4000")

    assert said.startswith("RESTORE_PROJECTOR_KAFKA__HEARTBEAT_INTERVAL_MS is 4000: expected at most a third")


def test_every_setting_is_described_and_says_where_its_value_is_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("RESTORE_PROJECTOR_REDIS__NAMESPACE=other\n")
    set_variables(monkeypatch, KAFKA__INSTANCE="worker-0")

    rows = {row.variable.removeprefix("RESTORE_PROJECTOR_"): row for row in describe_settings(load_settings())}

    assert all(row.description.endswith(".") for row in rows.values())
    assert (rows["KAFKA__INSTANCE"].value, rows["KAFKA__INSTANCE"].origin) == ("worker-0", "environment")
    assert (rows["REDIS__NAMESPACE"].value, rows["REDIS__NAMESPACE"].origin) == ("other", ".env")
    assert rows["HTTP__PORT"].origin == "default"
    assert rows["KAFKA__SASL_PASSWORD"].secret
