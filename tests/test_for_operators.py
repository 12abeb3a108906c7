"""docs/for-operators.md: its tables are the program's, and its commands do what it says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from kafka import KafkaProducer
from redis import Redis

from contracts.letters import REASONS, REMEDIES
from tests.pages import commands_listed, commands_there, dead_links
from tests.processes import install, running
from tests.servers.plugin import Space
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from worker import book, errors

ROOT = Path(__file__).parent.parent
PATH = ROOT / "docs" / "for-operators.md"
PAGE = PATH.read_text()
WAIT_S = 30.0
PARTITIONS = 2


def test_the_tables_are_up_to_date() -> None:
    assert book.main(["--check"]) == 0


def test_a_table_that_is_out_of_date_is_said_to_be_and_made_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    stale, good = tmp_path / "for-operators.md", tmp_path / "README.md"
    stale.write_text(PAGE.replace("`too_large`", "`too_much`"))
    good.write_text((ROOT / "README.md").read_text())
    monkeypatch.setattr(book, "PAGES", (stale, good))
    assert book.main(["--check"]) == 1
    assert capsys.readouterr().err == "for-operators.md is out of date: run python -m worker.book\n"
    assert book.main([]) == 0
    assert stale.read_text() == PAGE
    assert book.main(["--check"]) == 0


def test_every_table_that_is_made_is_on_one_page_once() -> None:
    pages = "".join(path.read_text() for path in book.PAGES)
    assert sorted(re.findall(r"<!-- made: (\w+) -->", pages)) == sorted(book.MADE)
    assert pages.count("<!-- end -->") == len(book.MADE)


def test_there_is_something_to_do_about_every_reason() -> None:
    assert tuple(REMEDIES) == REASONS


def test_the_environment_does_not_show_in_the_table_of_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_PROJECTOR_TOPICS__PREFIX", "elsewhere")
    assert book.main(["--check"]) == 0


def test_every_command_is_named_and_no_other() -> None:
    assert commands_listed(PAGE) == commands_there()


def test_every_exit_code_is_explained() -> None:
    table = PAGE.partition("| exit code |")[2].partition("\n\n")[0]
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == {0, *codes}


def test_metrics_and_events_that_the_text_names_are_there() -> None:
    made = set(re.findall(r"^\| `(\w+)`", "\n".join("\n".join(make()) for make in book.MADE.values()), re.MULTILINE))
    text = re.sub(r"<!-- made.*?<!-- end -->", "", PAGE, flags=re.DOTALL)
    named = set(
        re.findall(r"`(restore_projector_\w+|RESTORE_PROJECTOR_\w+__\w+|(?:partition|server|merge)_\w+)`", text)
    )
    assert named
    assert named <= made


def test_files_and_sections_that_are_named_are_there() -> None:
    assert dead_links(PATH) == []


def test_the_commands_show_a_dead_letter_and_restore_a_partition(
    real_kafka: KafkaServer, redis_server: RedisServer, space: Space
) -> None:
    if shutil.which("kcat") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no kcat")
    settings = install(real_kafka, redis_server, space.prefix, PARTITIONS)
    (kcat,) = re.findall(r"^kcat .*$", PAGE, re.MULTILINE)
    topic = settings.topic_names.dead_letters
    kcat = kcat.replace("localhost:9092", real_kafka.bootstrap_servers)
    kcat = kcat.replace("restore.projection.dead-letters.v1", topic)
    (key,) = re.findall(r"^redis-cli DEL '(.*)'$", PAGE, re.MULTILINE)
    position = key.replace("restore:", f"{space.namespace}:")

    with running(settings), Redis.from_url(redis_server.url) as client:
        producer = KafkaProducer(**settings.kafka.client_options(), metrics_enabled=False)
        headers = [("content-type", b"application/cloudevents+json")]
        producer.send(settings.topic_names.restore_runs, b"{", key=b"t-1", headers=headers, partition=0).get(WAIT_S)
        producer.close()
        wait_until(lambda: "dl_reason=not_json" in shown_by(kcat), WAIT_S, lambda: f"a dead letter: {shown_by(kcat)}")

        former = client.hget(position, "generation")
        assert former is not None
        assert client.delete(position) == 1
        wait_until(lambda: client.hget(position, "status") == b"ready", WAIT_S, "the partition is restored")
        assert client.hget(position, "generation") != former


def shown_by(command: str) -> str:
    return subprocess.run(shlex.split(command), capture_output=True, text=True, check=True, timeout=WAIT_S).stdout
