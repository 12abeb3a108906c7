from __future__ import annotations

import inspect
import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.worker.clean import logging_restored
from worker.errors import KafkaUnreachable, OffsetOutOfRange, RedisUnreachable
from worker.logs import MAX_ERROR_LENGTH, Events, OncePerMinute, configure_logs, silent_events
from worker.settings import LogSettings

UNREACHABLE = KafkaUnreachable("broker:9092", "connection refused")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with logging_restored():
        yield


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def events(stream: io.StringIO) -> Events:
    return configure_logs(LogSettings(format="json"), stream)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_a_line_of_json_that_begins_with_when_how_bad_and_what(events: Events, stream: io.StringIO) -> None:
    events.partitions_assigned(partitions=[2, 0], generation=7)

    (line,) = lines(stream)
    assert list(line) == ["at", "level", "event", "partitions", "generation"]
    assert line["at"].endswith("Z")
    assert (line["level"], line["event"], line["partitions"]) == ("info", "partitions_assigned", [0, 2])


def test_auto_is_json_where_there_is_no_terminal(stream: io.StringIO) -> None:
    configure_logs(LogSettings(format="auto"), stream).stopping(signal="SIGTERM")

    assert lines(stream)[0]["signal"] == "SIGTERM"


def test_auto_is_coloured_on_a_terminal(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "isatty", lambda: True)

    configure_logs(LogSettings(format="auto"), stream).stopping(signal="SIGTERM")

    assert "\x1b[" in stream.getvalue()


def test_console_has_no_colours_in_a_file(stream: io.StringIO) -> None:
    configure_logs(LogSettings(format="console"), stream).stopping(signal="SIGTERM")

    assert "stopping" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()


def test_what_is_less_severe_than_the_level_is_not_logged(stream: io.StringIO) -> None:
    events = configure_logs(LogSettings(format="json", level="warning"), stream)

    events.stopping(signal="SIGTERM")
    events.dead_letter(reason="not_json", topic="in", partition=0, offset=1)

    assert [line["event"] for line in lines(stream)] == ["dead_letter"]


def test_an_error_that_was_foreseen_is_a_line_without_a_traceback(events: Events, stream: io.StringIO) -> None:
    events.recovering(UNREACHABLE, wait_ms=200)

    (line,) = lines(stream)
    assert (line["level"], line["error"], line["wait_ms"]) == ("warning", "KafkaUnreachable", 200)
    assert "broker:9092" in line["message"]
    assert "exception" not in line


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(stream: io.StringIO, format: Any) -> None:
    events = configure_logs(LogSettings(format=format), stream)
    try:
        _fail_with("payload")
    except RuntimeError as error:
        events.recovering(error)

    assert "_fail_with" in stream.getvalue()
    assert "the payload" not in stream.getvalue()


def _fail_with(what: str) -> None:
    text = f"the {what}"
    raise RuntimeError(len(text))


def test_a_message_that_a_server_made_up_is_cut(events: Events, stream: io.StringIO) -> None:
    events.recovering(RuntimeError("x" * 10_000))

    (line,) = lines(stream)
    assert len(line["message"]) == MAX_ERROR_LENGTH
    assert len(line["exception"][0]["exc_value"]) == MAX_ERROR_LENGTH


def test_a_server_that_is_away_is_told_once_and_then_that_it_is_back(stream: io.StringIO) -> None:
    clock = iter([10.0, 22.5])
    events = configure_logs(LogSettings(format="json"), stream)
    events._monotonic = lambda: next(clock)

    events.server_back("Kafka")
    for _ in range(3):
        events.server_unreachable("Kafka", address="broker:9092", error=UNREACHABLE)
    events.server_back("Kafka")
    events.server_back("Kafka")

    assert [line["event"] for line in lines(stream)] == ["server_unreachable", "server_back"]
    assert lines(stream)[1]["away_seconds"] == 12.5


def test_each_server_is_told_of_by_itself(events: Events, stream: io.StringIO) -> None:
    events.server_unreachable("Kafka", address="broker:9092", error=UNREACHABLE)
    events.server_unreachable("Redis", address="redis://cache", error=RedisUnreachable("redis://cache", "timeout"))

    assert [line["server"] for line in lines(stream)] == ["Kafka", "Redis"]


def test_a_stopped_partition_is_told_with_all_three_offsets(events: Events, stream: io.StringIO) -> None:
    error = OffsetOutOfRange("in", 3, 5, 10, 20)
    events.partition_stopped(partition=error.partition, kind=error.kind, detail=str(error))

    (line,) = lines(stream)
    assert (line["event"], line["partition"], line["kind"]) == ("partition_stopped", 3, "offset_out_of_range")
    assert "in partition 3: the committed offset is 5, the log holds 10 to 20" in line["detail"]


def test_libraries_are_heard_from_warnings_on_and_in_the_same_form(stream: io.StringIO) -> None:
    configure_logs(LogSettings(format="json"), stream)

    logging.getLogger("kafka.conn").info("quiet")
    logging.getLogger("kafka.conn").warning("node %s is away", 1)

    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("node 1 is away", "kafka.conn", "warning")


def test_a_busy_machine_is_no_warning_of_a_library(stream: io.StringIO) -> None:
    configure_logs(LogSettings(format="json"), stream)

    logging.getLogger("kafka.net.selector").warning("Task 1 ran for 0.113s (>0.100s threshold)")

    assert lines(stream) == []


def test_kafka_never_logs_at_its_debug_level_where_it_would_show_the_password(stream: io.StringIO) -> None:
    logging.getLogger("kafka.sasl").setLevel(logging.DEBUG)

    configure_logs(LogSettings(format="json", level="debug"), stream)
    logging.getLogger("kafka.sasl").debug("SaslAuthenticate(geheim)")
    logging.getLogger("kafka.sasl").info("authenticated")

    assert [line["event"] for line in lines(stream)] == ["authenticated"]


def test_a_library_that_repeats_itself_is_heard_once_a_minute() -> None:
    now = 0.0
    once = OncePerMinute(lambda: now)
    heard = []
    for now in (0.0, 10.0, 59.0, 60.0, 61.0):
        record = logging.LogRecord("kafka.conn", logging.WARNING, "conn.py", 7, "node %s is away", (now,), None)
        if once.filter(record):
            heard.append(now)

    assert heard == [0.0, 60.0]


def test_silent_events_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    silent_events().recovering(RuntimeError("x"))

    assert capsys.readouterr() == ("", "")


def _methods() -> list[tuple[str, Callable[..., None]]]:
    return [(name, method) for name, method in inspect.getmembers(Events, inspect.isfunction) if name[0] != "_"]


@pytest.mark.parametrize(("name", "method"), _methods())
def test_an_event_is_called_as_its_method_and_has_a_meaning(name: str, method: Callable[..., None]) -> None:
    assert f'"{name}"' in inspect.getsource(method)
    assert inspect.getdoc(method)
