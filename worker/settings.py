"""Every setting: its variable, its default, what is allowed, and what it is for.

Values come, the first that has one, from the environment, from the file `.env` in the working directory, and from
files in the folder that RESTORE_PROJECTOR_SECRETS_DIR names, each called as its variable and holding the value. An
empty value is none. A wrong value stops the program, and so does a variable of ours that does not exist: a misspelt
setting that is silently ignored is found out in production.
"""

from __future__ import annotations

import difflib
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FilePath,
    JsonValue,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from contracts.decision import State
from contracts.events import MAX_VALUE_BYTES
from contracts.ids import Partitioner
from contracts.topics import DEFAULT_PREFIX, Topics
from worker.errors import ConfigurationError

PREFIX = "RESTORE_PROJECTOR_"
SECRETS_DIR_VARIABLE = f"{PREFIX}SECRETS_DIR"
ENV_FILE = ".env"
MASK = "**********"
YEAR_MINUTES = 366 * 24 * 60

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "console"]

_IS_URL: dict[str, JsonValue] = {"format": "uri"}
"""Marks a secret of which all but the password may be shown."""

_SERVER = re.compile(r"(?:[^\s,:\[\]]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")


def _servers(text: str) -> str:
    for server in text.split(","):
        match = _SERVER.fullmatch(server.strip())
        if match is None or not 0 < int(match.group(1) or "9092") < 65536:
            raise ValueError("expected host:port, several separated by commas")
    return text


def _prefix(text: str) -> str:
    return Topics(text).prefix


def _redis_url(secret: SecretStr) -> SecretStr:
    parts = urlsplit(secret.get_secret_value())
    named = parts.hostname if parts.scheme in {"redis", "rediss"} else parts.path if parts.scheme == "unix" else None
    if not named:
        raise ValueError("expected redis://host:port/database, rediss:// for TLS, or unix:///path")
    _ = parts.port  # raises ValueError for one out of range
    from redis import ConnectionPool  # which takes a while, and most commands need no store

    try:
        ConnectionPool.from_url(secret.get_secret_value()).make_connection()  # it does not connect
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected options that a client of Redis knows ({error})") from None
    return secret


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class _Group(BaseModel):
    # Values of secrets must not show in pydantic's own messages either.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KafkaSettings(_Group):
    """How Kafka is reached, and as whom."""

    bootstrap_servers: Annotated[str, AfterValidator(_servers)] = Field(
        "localhost:9092", description="host:port of one or more brokers, separated by commas."
    )
    group_id: str = Field(
        "restore-projector",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Consumer group, and the beginning of the transactional id; its workers share the partitions.",
    )
    instance: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="A name of this process that stays the same over restarts and that no other process has, e.g. the"
        " pod's name. With it a restarted worker goes on within a second; without, a random one is taken.",
    )
    partitioner: Partitioner = Field(
        "murmur2",
        description="How the producers of the inputs choose a tenant's partition: murmur2 (Java, Kafka Connect,"
        " kafka-python, librdkafka's murmur2_random), crc32 (librdkafka's default), fnv1a (sarama).",
    )
    session_timeout_ms: int = Field(
        10_000, ge=1000, le=1_800_000, description="How long a silent worker keeps its partitions."
    )
    heartbeat_interval_ms: int = Field(
        1000,
        ge=100,
        le=600_000,
        description="At most a third of the session time-out; how fast a rebalance is noticed.",
    )
    fetch_max_wait_ms: int = Field(
        50, ge=1, le=10_000, description="How long a broker may hold a fetch that finds nothing."
    )
    transaction_timeout_ms: int = Field(
        10_000,
        ge=1000,
        le=900_000,
        description="How long a dead worker's open transaction can hide newer records from readers.",
    )
    security_protocol: Annotated[SecurityProtocol, BeforeValidator(_upper)] = Field(
        "PLAINTEXT", description="PLAINTEXT, SSL (TLS), SASL_PLAINTEXT or SASL_SSL (SASL over TLS)."
    )
    ssl_cafile: FilePath | None = Field(
        None, description="File (PEM) of the authorities to trust; without it, the system's."
    )
    ssl_certfile: FilePath | None = Field(None, description="File (PEM) of our own certificate, for mutual TLS.")
    ssl_keyfile: FilePath | None = Field(None, description="File (PEM) of our own certificate's key.")
    ssl_password: SecretStr | None = Field(None, description="Password of that key.")
    ssl_check_hostname: bool = Field(True, description="Whether a broker's certificate must name the broker's host.")
    sasl_mechanism: Annotated[SaslMechanism, BeforeValidator(_upper)] | None = Field(
        None, description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; needed with SASL_PLAINTEXT and SASL_SSL."
    )
    sasl_username: str | None = Field(None, description="User name for SASL.")
    sasl_password: SecretStr | None = Field(None, description="Password for SASL.")

    @model_validator(mode="after")
    def _fits_together(self) -> KafkaSettings:
        problems = [*_timing_problems(self), *_security_problems(self)]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def client_options(self) -> dict[str, Any]:
        """What every client of kafka-python is given: where Kafka is, and how to get in."""
        options: dict[str, Any] = {
            "bootstrap_servers": [server.strip() for server in self.bootstrap_servers.split(",")],
            "security_protocol": self.security_protocol,
        }
        if "SSL" in self.security_protocol:
            options |= {
                "ssl_cafile": _path(self.ssl_cafile),
                "ssl_certfile": _path(self.ssl_certfile),
                "ssl_keyfile": _path(self.ssl_keyfile),
                "ssl_password": _secret(self.ssl_password),
                "ssl_check_hostname": self.ssl_check_hostname,
            }
        if "SASL" in self.security_protocol:
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": _secret(self.sasl_password),
            }
        return options


def _timing_problems(kafka: KafkaSettings) -> Iterator[str]:
    if kafka.heartbeat_interval_ms * 3 > kafka.session_timeout_ms:
        yield (
            f"{PREFIX}KAFKA__HEARTBEAT_INTERVAL_MS is {kafka.heartbeat_interval_ms}: expected at most a third of"
            f" {PREFIX}KAFKA__SESSION_TIMEOUT_MS, which is {kafka.session_timeout_ms}"
        )


def _security_problems(kafka: KafkaSettings) -> Iterator[str]:
    given = {name: getattr(kafka, f"sasl_{name}") for name in ("mechanism", "username", "password")}
    if "SASL" in kafka.security_protocol:
        for name, value in given.items():
            if value is None:
                yield (
                    f"{PREFIX}KAFKA__SASL_{name.upper()} is not set: {PREFIX}KAFKA__SECURITY_PROTOCOL"
                    f" {kafka.security_protocol} needs it"
                )
    elif any(value is not None for value in given.values()):
        # A password that is given and not used means that somebody believes the connection to be protected.
        yield (
            f"{PREFIX}KAFKA__SECURITY_PROTOCOL is {kafka.security_protocol}: expected SASL_SSL or SASL_PLAINTEXT,"
            f" as {PREFIX}KAFKA__SASL_… is set"
        )
    files = (kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile)
    if "SSL" not in kafka.security_protocol and any(file is not None for file in files):
        yield (
            f"{PREFIX}KAFKA__SECURITY_PROTOCOL is {kafka.security_protocol}: expected SSL or SASL_SSL,"
            f" as {PREFIX}KAFKA__SSL_… is set"
        )
    if kafka.ssl_keyfile is not None and kafka.ssl_certfile is None:
        yield f"{PREFIX}KAFKA__SSL_CERTFILE is not set: {PREFIX}KAFKA__SSL_KEYFILE needs it"
    yield from _unreadable(kafka)


def _unreadable(kafka: KafkaSettings) -> Iterator[str]:
    """Files that TLS cannot use. Found out by its first connection otherwise, which says little, and for a key without
    its password would ask whoever is at the terminal.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if kafka.ssl_cafile is not None:
        try:
            context.load_verify_locations(kafka.ssl_cafile)
        except OSError as error:
            yield f"{PREFIX}KAFKA__SSL_CAFILE is {str(kafka.ssl_cafile)!r}: expected certificates in PEM ({error})"
    if kafka.ssl_certfile is not None:
        try:
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile, _secret(kafka.ssl_password) or "")
        except OSError as error:
            yield (
                f"{PREFIX}KAFKA__SSL_CERTFILE is {str(kafka.ssl_certfile)!r}: expected a certificate in PEM, its key in"
                f" the same file or in {PREFIX}KAFKA__SSL_KEYFILE, opened by {PREFIX}KAFKA__SSL_PASSWORD ({error})"
            )


class TopicsSettings(_Group):
    """What the eight topics are called."""

    prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        DEFAULT_PREFIX, description="What every topic's name begins with, before a dot."
    )


class RedisSettings(_Group):
    """How the store is reached, and what its keys begin with."""

    url: Annotated[SecretStr, AfterValidator(_redis_url)] = Field(
        SecretStr("redis://localhost:6379/0"),
        description="redis://user:password@host:port/database, rediss:// for TLS, unix:///path for a socket; of a"
        " cluster any node.",
        json_schema_extra=_IS_URL,
    )
    namespace: str = Field(
        "restore",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="What every key begins with, before a colon; installations that share a Redis differ in it.",
    )
    timeout_ms: int = Field(2000, ge=50, le=60_000, description="How long to wait for a connection, and for an answer.")

    @property
    def address(self) -> str:
        """The URL with its password masked: for logs, messages and `config`."""
        return masked_url(self.url.get_secret_value())


class LimitsSettings(_Group):
    """What is bounded. The defaults come from measurements and from what Kafka takes by default."""

    value_bytes: int = Field(
        MAX_VALUE_BYTES, ge=1024, le=64 * 1024 * 1024, description="A larger input value is a dead letter (too_large)."
    )
    batch_records: int = Field(
        5000, ge=1, le=100_000, description="At most so many input records become one transaction."
    )
    merge_wait_ms: int = Field(
        30_000,
        ge=0,
        le=600_000,
        description="How long the merge waits for an input whose records do not come or whose transaction stays open.",
    )
    deletion_memory_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="How long deletions of snapshots, and of operations that no run names, are remembered, in stream"
        " time: longer than a source may redeliver. Deletions of runs are remembered for ever.",
    )
    unstable_exit_ms: int = Field(
        90_000,
        ge=10_000,
        le=3_600_000,
        description="The worker ends when its group has not been stable for so long, to be started afresh.",
    )


class OverdueSettings(_Group):
    """After how long a restore of which something is still awaited is overdue; None: never. A field for each state."""

    not_executed_minutes: int | None = Field(
        None,
        ge=1,
        le=YEAR_MINUTES,
        description="How long a restore may be in preparation before it is overdue; unset: as long as its owner wants.",
    )
    in_progress_minutes: int | None = Field(
        240,
        ge=1,
        le=YEAR_MINUTES,
        description="How long a restore may be in progress before it is overdue: longer than the longest takes.",
    )
    completed_proof_incomplete_minutes: int | None = Field(
        1440,
        ge=1,
        le=YEAR_MINUTES,
        description="How long a completed restore may wait for its proof before it is overdue.",
    )

    def limit_ms(self, state: State) -> int | None:
        """How long a restore may be in a state of `projections.rules.UNFINISHED`; None: for ever."""
        minutes: int | None = getattr(self, f"{state}_minutes")
        return None if minutes is None else minutes * 60_000


class HttpSettings(_Group):
    """Health and metrics of `run`."""

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on; 0.0.0.0 for all. What is served needs no password.",
    )
    port: int | None = Field(
        None, ge=0, le=65535, description="Port of /livez, /readyz and /metrics; unset: none, 0: any free one."
    )


class LogSettings(_Group):
    """What is logged, and how. Logs go to standard error."""

    level: Annotated[LogLevel, BeforeValidator(_lower)] = Field(
        "info", description="debug, info, warning or error: the least severe that is logged."
    )
    format: Annotated[LogFormat, BeforeValidator(_lower)] = Field(
        "auto", description="json (a line each), console (for people), or auto: console on a terminal, else json."
    )


class Settings(BaseSettings):
    """All settings. Take them from `load_settings`, which explains what is wrong with them."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicsSettings = TopicsSettings()
    redis: RedisSettings = RedisSettings()
    limits: LimitsSettings = LimitsSettings()
    overdue: OverdueSettings = OverdueSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @property
    def topic_names(self) -> Topics:
        return Topics(self.topics.prefix)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """One source of ours for the three of pydantic: secret files are named as variables, and origins are known."""
        _ = env_settings, dotenv_settings, file_secret_settings
        return init_settings, _Variables(settings_cls)


@dataclass(frozen=True, slots=True)
class Given:
    """A variable's value, and where it was found: `environment`, or a file's path."""

    value: str
    origin: str


def given_variables(environment: Mapping[str, str] | None = None) -> dict[str, Given]:
    """The variables of ours that are set anywhere and not empty, by their names in upper case.

    Ours are those of a group and a name. For a service called as this software, Kubernetes sets
    RESTORE_PROJECTOR_PORT, RESTORE_PROJECTOR_SERVICE_HOST and more, which mean nothing here.

    Raises ConfigurationError when the secrets folder is named and is not there.
    """
    environment = os.environ if environment is None else environment
    sources: list[tuple[str, Mapping[str, str | None]]] = [
        ("environment", environment),
        (ENV_FILE, dotenv_values(ENV_FILE)),
    ]
    found: dict[str, Given] = {}
    for origin, values in sources:
        for name, value in values.items():
            if value and _is_ours(name.upper()):
                found.setdefault(name.upper(), Given(value, origin))
    if SECRETS_DIR_VARIABLE in found:
        for name, given in _secret_files(Path(found[SECRETS_DIR_VARIABLE].value)):
            found.setdefault(name, given)
    return found


def _is_ours(name: str) -> bool:
    return name == SECRETS_DIR_VARIABLE or (name.startswith(PREFIX) and "__" in name)


def _secret_files(folder: Path) -> Iterator[tuple[str, Given]]:
    if not folder.is_dir():
        raise ConfigurationError(f"{SECRETS_DIR_VARIABLE} is {str(folder)!r}: expected a folder")
    for path in sorted(folder.iterdir()):
        if _is_ours(path.name.upper()) and path.is_file():
            value = path.read_text(encoding="utf-8").rstrip("\r\n")
            if value:
                yield path.name.upper(), Given(value, str(path))


class _Variables(EnvSettingsSource):
    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): given.value for name, given in given_variables().items()}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, as `config` and the documentation show it. `value` and `default` are masked where secret."""

    variable: str
    value: str | None
    default: str | None
    origin: str
    description: str
    secret: bool


def describe_settings(settings: Settings) -> list[Setting]:
    """All settings in force, in the order of their definition; `origin` is `default` or where the value was found."""
    given = given_variables()
    defaults = Settings.model_construct()
    rows = []
    for path, group, field in _fields():
        variable = variable_of((group, field))
        info = path.model_fields[field]
        origin = given[variable].origin if variable in given else "default"
        rows.append(
            Setting(
                variable=variable,
                value=_shown(info, getattr(getattr(settings, group), field)),
                default=_shown(info, getattr(getattr(defaults, group), field)),
                origin=origin,
                description=info.description or "",
                secret=_is_secret(info),
            )
        )
    return rows


def _fields() -> Iterator[tuple[type[BaseModel], str, str]]:
    for group, info in Settings.model_fields.items():
        model = info.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        for field in model.model_fields:
            yield model, group, field


def variable_of(location: tuple[str | int, ...]) -> str:
    """The environment variable of a field: ("kafka", "group_id") → RESTORE_PROJECTOR_KAFKA__GROUP_ID."""
    return PREFIX + "__".join(str(part) for part in location).upper()


def masked_url(url: str) -> str:
    """The URL with a mask in place of its password, also one given as `?password=`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    place = parts.netloc
    if "@" in place:
        login, _, host = place.rpartition("@")
        user, colon, _ = login.partition(":")
        place = f"{user}{colon}{MASK if colon else ''}@{host}"
    query = "&".join(
        f"{name}={MASK if 'password' in name.lower() else quote(value)}" for name, value in parse_qsl(parts.query)
    )
    return urlunsplit((parts.scheme, place, parts.path, query, ""))


def _shown(field: FieldInfo, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, SecretStr):
        return _masked(field, value.get_secret_value())
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _path(file: Path | None) -> str | None:
    return None if file is None else str(file)


def _secret(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def load_settings() -> Settings:
    """The settings in force.

    Raises ConfigurationError; each line of its message names a variable, its value (masked if it is secret), and
    what is allowed.
    """
    given = given_variables()
    problems = list(_unknown(given))
    settings = None
    try:
        settings = Settings()
    except ValidationError as error:
        problems += _wrong(error, given)
    if settings is None or problems:
        raise ConfigurationError("\n".join(problems))
    return settings


def _unknown(given: Mapping[str, Given]) -> Iterator[str]:
    known = {variable_of((group, field)) for _, group, field in _fields()}
    for name, value in given.items():
        if name not in known and name != SECRETS_DIR_VARIABLE:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {close[0]}?" if close else "; `restore-projector config` lists them all"
            yield f"{name} ({value.origin}) is not a setting{hint}"


def _wrong(error: ValidationError, given: Mapping[str, Given]) -> Iterator[str]:
    fields = {(group, field): model.model_fields[field] for model, group, field in _fields()}
    for detail in error.errors(include_url=False):
        location = detail["loc"][:2]
        if detail["type"] == "extra_forbidden":
            continue  # told by _unknown, with a hint
        if location not in fields:
            yield str(detail["ctx"]["error"])  # of _fits_together, which names the variables itself
            continue
        variable = variable_of(location)
        field = fields[str(location[0]), str(location[1])]
        value = given[variable].value if variable in given else str(detail["input"])
        yield f"{variable} is {_quoted(field, value)}: expected {_expected(field, detail['msg'])}"


def _quoted(field: FieldInfo, value: str) -> str:
    return _masked(field, value) if _is_secret(field) else repr(value[:200])


def _masked(field: FieldInfo, secret: str) -> str:
    return masked_url(secret) if field.json_schema_extra == _IS_URL else MASK


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def _expected(field: FieldInfo, message: str) -> str:
    """What a field takes: from its bounds or pattern where it has them, else from pydantic's message."""
    bounds = {name: getattr(rule, name) for rule in field.metadata for name in ("ge", "le") if hasattr(rule, name)}
    if bounds:
        return "a whole number from {ge} to {le}".format(**bounds)
    if field.annotation is bool:
        return "true or false"
    pattern = next((rule.pattern for rule in field.metadata if hasattr(rule, "pattern")), None)
    if pattern is not None:
        return f"text of the form {pattern.strip('^$')}"
    return re.sub(r"^(Value error, )?(expected |Input should be |Path does not point to )?", "", message)
