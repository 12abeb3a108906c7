"""Text from outside reaches a terminal and a log only as what it is: text. Nothing in it is a command to either."""

from __future__ import annotations

import io
import json
import logging
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st
from kafka import KafkaConsumer, KafkaProducer

from contracts.printable import printable, printable_json, printable_lines, printable_value
from tests.processes import install
from tests.security.conftest import Given
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from tests.worker.clean import logging_restored
from tests.worker.cli.conftest import Command
from worker.cli import _say
from worker.cli.explain import show as show_explanation
from worker.errors import KafkaUnreachable, Unfit
from worker.logs import configure_logs
from worker.settings import LogSettings, Settings

HOSTILE: Final = "a\x1b[2J\x1b]0;owned\x07b\x9b31mc\u202ed\u2066e\rf\ng\u2028h\x7fi\u200bj\ud83d"
"""Clears a screen, names a window, colours, turns the direction, returns, breaks lines, deletes, hides, is half."""
SENT: Final = HOSTILE[:-1]
"""What UTF-8 can carry of it."""


def assert_harmless(text: str) -> None:
    left = [unicodedata.name(c, hex(ord(c))) for c in text if not c.isprintable() and c != "\n"]
    assert not left


def test_what_is_not_printable_is_replaced_and_all_else_stays() -> None:
    assert printable("Ünïcode 日本 ✓ 'quoted'") == "Ünïcode 日本 ✓ 'quoted'"
    assert_harmless(printable(HOSTILE))
    assert "\n" not in printable(HOSTILE)
    assert printable(HOSTILE).startswith("a\ufffd[2J\ufffd]0;owned\ufffdb\ufffd31mc\ufffdd\ufffde\ufffdf\ufffdg")
    assert printable_lines("one\x1b\ntwo\r\n") == "one\ufffd\ntwo\ufffd\n"
    assert printable_value({HOSTILE: [HOSTILE, 1, None]}) == {printable(HOSTILE): [printable(HOSTILE), 1, None]}


@for_any(
    st.recursive(
        st.text(st.characters()) | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_means_the_same_when_it_is_harmless(value: Any) -> None:
    for indent in (None, 2):
        shown = printable_json(json.dumps(value, ensure_ascii=False, indent=indent))
        assert json.loads(shown) == json.loads(json.dumps(value))  # two half surrogates in a row are one character
        assert_harmless(shown)


def _break() -> None:
    raise LookupError(HOSTILE)


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_log_has_one_harmless_line_for_each_event_and_harmless_tracebacks(format: str) -> None:
    with logging_restored():
        out = io.StringIO()
        events = configure_logs(LogSettings.model_validate({"format": format}), out)
        events.server_unreachable("Kafka", address=HOSTILE, error=KafkaUnreachable("kafka", HOSTILE))
        events.dead_letter(reason="not_json", topic=HOSTILE, partition=0, offset=1, tenant=HOSTILE)
        events.failed(Unfit(HOSTILE))
        assert len(out.getvalue().splitlines()) == 3
        with pytest.raises(LookupError) as fault:
            _break()
        events.failed(fault.value)

    assert_harmless(out.getvalue())


def test_what_a_library_logs_is_harmless() -> None:
    with logging_restored():
        out = io.StringIO()
        configure_logs(LogSettings(format="console"), out)
        logging.getLogger("kafka.client").warning("broker says %s", HOSTILE)

    assert_harmless(out.getvalue())


def test_errors_are_harmless(capsys: pytest.CaptureFixture[str], command: Command) -> None:
    _say(f"Kafka refuses: {HOSTILE}")
    said = capsys.readouterr().err
    result = command("decide", "-", stdin=json.dumps({"restore_run": {"id": SENT, SENT: 1}}))

    assert_harmless(said + result.err + result.out)
    assert result.code == 2


def test_an_explanation_is_harmless_whatever_the_store_holds(
    capsys: pytest.CaptureFixture[str], command: Command
) -> None:
    facts = {"restore_run": {"id": "rr-1", "tenant_id": "t-1", "status": "draft", "is_dry_run": False}}
    document = json.loads(command("decide", "-", "--json", stdin=json.dumps(facts)).out)
    for field in ("status", "reason", "impact"):
        document[field] = HOSTILE
    document["tenant_id"] = document["restore_run_id"] = HOSTILE

    for as_json in (False, True):
        show_explanation(document, json=as_json)
        assert_harmless(capsys.readouterr().out)


@pytest.fixture
def installed(real_kafka: KafkaServer, redis_server: RedisServer, space: Space, given: Given) -> Settings:
    settings = install(real_kafka, redis_server, space.prefix, 1)
    given(settings)
    return settings


@pytest.fixture
def stranger(installed: Settings) -> Iterator[None]:
    """In our group under a name of its own, and with a transaction open."""
    options = {**installed.kafka.client_options(), "metrics_enabled": False}
    topic = installed.topic_names.restore_runs
    with (
        closing(KafkaConsumer(topic, group_id=installed.kafka.group_id, client_id=SENT, **options)) as member,
        closing(KafkaProducer(transactional_id=SENT, **options)) as producer,
    ):
        wait_until(lambda: member.poll(300) or member.assignment(), 20, "it is a member")
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, b"{}", partition=0).get(10)
        yield
        producer.abort_transaction()


@pytest.mark.usefixtures("stranger")
def test_status_shows_names_of_strangers_harmlessly(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.status.condition.OPEN_MS", 0)
    for words in (["status"], ["status", "--json"]):
        said = command(*words)
        assert said.code == 1, said.err
        assert "owned" in said.out
        assert_harmless(said.out + said.err)


def test_watch_shows_changes_harmlessly_whoever_wrote_them(installed: Settings, command: Command) -> None:
    change = {
        "tenant_id": SENT, "restore_run_id": SENT, "from_state": None, "to_state": "failed", "summary": SENT,
        "status": SENT, "reason": SENT, "impact": SENT, "revision": 1, "severity": "critical", "direction": "initial",
        "origin": SENT, "changed_at": "2026-11-01T10:01:00.000Z",
    }  # fmt: skip
    with closing(KafkaProducer(**installed.kafka.client_options(), metrics_enabled=False)) as producer:
        value = json.dumps(change, ensure_ascii=False).encode()
        producer.send(installed.topic_names.decision_changes, value, partition=0).get(10)

    for words in ([], ["--json"]):
        said = command("watch", "--since", "1h", "--no-follow", *words)
        assert said.code == 0, said.err
        assert "owned" in said.out
        assert_harmless(said.out + said.err)
        if words:
            assert json.loads(said.out) == change
