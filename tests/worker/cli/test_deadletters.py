"""`deadletters` on real servers: what is listed and shown, and what becomes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from contracts.decision import decode
from projections.inputs import InputDecoder
from tests.consistency import check
from tests.consistency.checking import wait_for_rest
from tests.consistency.fold import fold
from tests.consistency.observation import consumer, read_log
from tests.installation import PARTITIONS, SEEN_WITHIN_S, Live, a_live_installation, live_worker
from tests.processes import environment
from tests.servers.ports import KafkaServer, RedisServer
from tests.servers.waiting import wait_until
from tests.traffic import FORMS, Event, Message, message, operation, run, snapshot
from tests.worker.cli.conftest import Command, Result
from tests.worker.cli.terminal import on_a_terminal, without_colours
from worker.header_names import RawName
from worker.operators.orders import OrderWriter
from worker.settings import LimitsSettings, Settings

Letters: TypeAlias = Callable[..., Result]

MEND = "sed s/finished/completed/g"
WRITTEN_BY_THE_RUN = ("revision", "previous_state", "timeline", "changed_at", "updated_at")
"""What a document says of how it came about; everything else follows from the facts."""


@pytest.fixture(scope="module")
def site(real_kafka: KafkaServer, redis_server: RedisServer) -> Iterator[Live]:
    """One for the module; at the end it is as the fold of all its input, orders included, says."""
    with a_live_installation(real_kafka, redis_server) as live:
        yield live
        check(live.settings)


@pytest.fixture
def letters(command: Command, site: Live, monkeypatch: pytest.MonkeyPatch) -> Letters:
    return on(site.settings, command, monkeypatch)


def on(settings: Settings, command: Command, monkeypatch: pytest.MonkeyPatch) -> Letters:
    """`deadletters` with these settings."""
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: command("deadletters", *arguments)


def broken(tenant: str, id: str = "rr-1", sequence: int = 2, operation: str | None = None) -> Event:
    return run(tenant, id, sequence, "finished", operation)


def listed(letters: Letters, tenant: str, *options: str) -> list[dict[str, Any]]:
    result = letters("list", "--tenant", tenant, "--json", *options)
    assert (result.code, result.err) == (0, "")
    found: list[dict[str, Any]] = json.loads(result.out)["letters"]
    return found


def set_aside(letters: Letters, site: Live, tenant: str, *messages: Message) -> list[str]:
    """Send records that cannot be taken; the names of their letters, in order."""
    places = site.send.messages(messages)

    def found() -> list[str] | None:
        names = {
            (row["source"]["topic"], row["source"]["partition"], row["source"]["offset"]): row["letter"]
            for row in listed(letters, tenant, "--limit", "1000")
        }
        return [names[place] for place in places] if names.keys() >= set(places) else None

    names = wait_until(found, SEEN_WITHIN_S, "all are set aside")
    assert names is not None
    return names


def test_letters_are_counted_by_reason_and_the_newest_come_first(letters: Letters, site: Live, tenant: str) -> None:
    good = message(run(tenant, "rr-1", 1), site.send.topics)
    bad = [message(broken(tenant), site.send.topics, form) for form in FORMS]
    names = set_aside(letters, site, tenant, *bad, replace(good, value=b'{"id": NaN}'))

    lines = letters("list", "--tenant", tenant, "--limit", "2").out.splitlines()
    assert lines[0] == "5 open dead letters."
    counts = [line.split()[:2] for line in lines[2:5]]
    assert counts == [["reason", "open"], ["schema_violation", "4"], ["not_json", "1"]]
    assert [line.split()[0] for line in (lines[6], lines[8])] == names[:2:-1]
    assert lines[7] == '  $: expected strict JSON (expected value at line 1 column 8), got "{"id": NaN}"'
    assert lines[-1] == "… and 3 more: --limit shows more of them, other options narrow them down."


def test_options_narrow_the_list_down(letters: Letters, site: Live, tenant: str) -> None:
    no_json = Message(site.send.topics.operation_runs, tenant.encode(), b"{", [])
    first, second = set_aside(letters, site, tenant, message(broken(tenant), site.send.topics), no_json)
    at = {row["letter"]: row["set_aside_at"] for row in listed(letters, tenant)}

    def names(*options: str) -> set[str]:
        return {row["letter"] for row in listed(letters, tenant, *options)}

    assert names() == {first, second}
    assert names("--reason", "not_json") == {second}
    assert names("--reason", "not_json", "--reason", "schema_violation") == {first, second}
    assert names("--topic", "restore-runs") == {first}
    assert names("--topic", site.send.topics.operation_runs) == {second}
    assert names("--since", at[first]) == {first, second}
    assert names("--until", min(at.values())) == set()
    assert names("--since", "2999-01-01T00:00:00Z") == set()
    assert letters("list", "--tenant", "t-nobody").out == "No open dead letter.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--reason", "bad"), "expected too_large, not_an_event"),
        (("list", "--topic", "runs"), "expected restore-runs, operation-runs"),
        (("list", "--since", "yesterday"), "expected a duration like 90s"),
        (("show", "3"), "<partition>:<offset>, like 3:120"),
        (("redrive",), "expected letters: their names, or"),
        (("redrive", "0:1", "--all"), "either names of letters or options that choose"),
        (("redrive", "--all", "--edited", __file__), "expected one letter by its name"),
        (("redrive", "--all", "--header", "ce_sequence"), "expected NAME=VALUE"),
        (("dismiss", "--all"), "--why"),
    ],
)
def test_wrong_use_is_exit_code_2(
    letters: Letters, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = letters(*arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err


@pytest.mark.parametrize("name", ["0:999999", "99:0"])
def test_a_letter_that_is_not_there_is_exit_code_1(letters: Letters, name: str) -> None:
    result = letters("show", name)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"restore-projector: there is no dead letter {name}: ")


def test_a_kafka_that_is_away_is_exit_code_3(letters: Letters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTORE_PROJECTOR_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert letters("list").code == 3


def test_a_letter_is_shown_with_the_place_of_its_error_marked(
    letters: Letters, site: Live, tenant: str, tmp_path: Path
) -> None:
    bad = message(broken(tenant), site.send.topics)
    (name,) = set_aside(letters, site, tenant, bad)
    raw = tmp_path / "value"

    lines = letters("show", name, "--raw", str(raw)).out.splitlines()
    assert lines[0] == f"Dead letter {name}, open"
    assert '▶   "status": "finished",' in lines
    assert [line for line in lines if line.startswith("▶")] == ['▶   "status": "finished",']
    assert f"key        {tenant}" in lines
    assert raw.read_bytes() == bad.value

    told = json.loads(letters("show", name, "--json").out)
    assert (told["letter"], told["open"], told["place"]) == (name, True, "$.status")
    assert told["value"]["text"].encode() == bad.value
    assert [(header["name"], header["text"].encode()) for header in told["headers"]] == list(bad.headers)


def test_a_header_that_is_wrong_or_missing_is_marked(letters: Letters, site: Live, tenant: str) -> None:
    good = message(run(tenant, "rr-1", 1), site.send.topics)
    others = [header for header in good.headers if header[0] != "ce_sequence"]
    missing, wrong = set_aside(
        letters, site, tenant, replace(good, headers=others), replace(good, headers=[*others, ("Ce_Sequence", b"12a")])
    )

    assert "▶ ce_sequence     is not there" in letters("show", missing).out.splitlines()
    assert "▶ Ce_Sequence     12a" in letters("show", wrong).out.splitlines()


HOSTILE: list[tuple[str, Callable[[Message], Message]]] = [
    ("controls", lambda m: replace(m, value=b'{"id": "\x1b[2J"}', headers=[("ce_\x1b[31m", b"\x1b]0;x\x07\xc2\x9b")])),
    ("bidirectional", lambda m: replace(m, value='{"id": "\u202egnp.exe"}'.encode())),
    ("binary", lambda m: replace(m, value=bytes(range(256)))),
    ("large", lambda m: replace(m, value=b'{"a": "' + b"x" * 700_000 + b'"}')),
    ("deep", lambda m: replace(m, value=b"[" * 50_000)),
    ("header name", lambda m: replace(m, value=b"x", headers=[(RawName(b"\xff\x1b"), b"1")])),
    ("many lines", lambda m: replace(m, value=b"\n" * 5_000)),
    ("empty", lambda m: replace(m, value=b"")),
]


@pytest.mark.parametrize("spoil", [pytest.param(spoil, id=what) for what, spoil in HOSTILE])
def test_whatever_is_in_a_letter_it_is_shown_in_80_columns_and_harms_no_terminal(
    letters: Letters, site: Live, tenant: str, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Message], Message]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (name,) = set_aside(letters, site, tenant, spoil(message(run(tenant, "rr-1", 1), site.send.topics)))

    shown = letters("show", name)
    lists = letters("list", "--tenant", tenant)
    assert (shown.code, lists.code) == (0, 0)
    for text in (shown.out, lists.out, letters("show", name, "--json").out, letters("list", "--json").out):
        assert all(line.isprintable() for line in text.split("\n"))
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 120


def test_a_letter_without_a_key_and_one_that_is_none_are_shown(
    live: Live, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = on(live.settings, command, monkeypatch)
    bad = replace(message(run("t-nobody", "rr-1", 1), live.send.topics), key=None, partition=0)
    foreign = Message(live.send.topics.dead_letters, b"\xff\x00", b"from nobody", [], partition=0)
    ((_, _, foreign_offset),) = live.send.messages([foreign])
    live.send.messages([bad])

    def found() -> str | None:
        rows = json.loads(letters("list", "--reason", "key_mismatch", "--json").out)["letters"]
        return next((row["letter"] for row in rows), None)

    name = wait_until(found, SEEN_WITHIN_S, "it is set aside")
    assert "▶ key      no key" in letters("show", str(name)).out.splitlines()
    assert "unknown" in letters("show", f"0:{foreign_offset}").out
    assert letters("redrive", f"0:{foreign_offset}", "--yes").code == 1
    assert letters("dismiss", str(name), f"0:{foreign_offset}", "--why", "from nobody", "--yes").code == 0
    assert letters("list", "--reason", "unknown").out == "No open dead letter.\n"


def test_an_edited_letter_is_taken_the_document_is_readable_again_and_it_is_kept_who_did_it(
    letters: Letters, site: Live, tenant: str, tmp_path: Path
) -> None:
    site.send.events(run(tenant, "rr-1", 1, "running"))
    site.wait_for_state(tenant, "rr-1", "in_progress")
    (name,) = set_aside(letters, site, tenant, message(broken(tenant), site.send.topics))
    site.wait_for(tenant, "rr-1", lambda document: "unreadable_input" in document["diagnostics"]["inconsistencies"])
    good = tmp_path / "good.json"
    good.write_bytes(message(run(tenant, "rr-1", 2), site.send.topics).value or b"")

    done = letters("redrive", name, "--edited", str(good), "--why", "no such status", "--actor", "ann@ops", "--yes")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("1 dead letter redriven (1 schema_violation).\n1 taken: ")

    document = site.wait_for(tenant, "rr-1", lambda document: document["state"] == "completed_proof_incomplete")
    assert "unreadable_input" not in document["diagnostics"]["inconsistencies"]
    source = document["diagnostics"]["inputs"]["restore_run"]["source"]
    letter = json.loads(letters("show", name, "--json").out)
    assert source == letter["source"], "it came from where it first lay"
    assert site.changes(tenant, "rr-1")[-1].headers
    assert dict(site.changes(tenant, "rr-1")[-1].headers)["ce_origin"] == b"replay"

    assert not letter["open"]
    assert [(row["what"], row["actor"], row["why"]) for row in letter["handled"]] == [
        ("redriven", "ann@ops", "no such status")
    ]
    assert listed(letters, tenant) == []
    ((handled,),) = (row["handled"] for row in listed(letters, tenant, "--all"))
    assert handled == letter["handled"][0]


def test_a_letter_is_handled_once(letters: Letters, site: Live, tenant: str) -> None:
    (name,) = set_aside(letters, site, tenant, message(broken(tenant), site.send.topics))
    assert letters("dismiss", name, "--why", "of no use", "--actor", "ann@ops", "--yes").code == 0

    for again in (("redrive", name, "--through", MEND, "--yes"), ("dismiss", name, "--why", "once more", "--yes")):
        refused = letters(*again)
        assert (refused.code, refused.out) == (2, "")
        assert refused.err.startswith(f"restore-projector: {name} was dismissed at 20")
        assert " by ann@ops (of no use)\n" in refused.err
    selected = letters("redrive", "--tenant", tenant, "--through", MEND, "--yes", "--json")
    assert json.loads(selected.out)["sent"] == {}

    assert letters("redrive", name, "--through", MEND, "--again", "--yes").code == 0
    site.wait_for_state(tenant, "rr-1", "completed_proof_incomplete")


def test_what_is_set_aside_again_is_said_and_is_a_letter_of_its_own(letters: Letters, site: Live, tenant: str) -> None:
    (name,) = set_aside(letters, site, tenant, message(broken(tenant), site.send.topics))

    left = letters("redrive", name, "--yes")
    assert (left.code, left.out.splitlines()[0]) == (1, "0 dead letters redriven.")
    assert f"  {name}  $.status: expected one of " in left.out
    assert [row["letter"] for row in listed(letters, tenant)] == [name]

    again = letters("redrive", name, "--anyway", "--yes")
    assert again.code == 1
    (row,) = listed(letters, tenant)
    assert row["letter"] != name
    assert "1 set aside again (1 schema_violation):" in again.out.splitlines()
    assert f"  {row['letter']}  $.status: expected one of " in again.out
    shown = json.loads(letters("show", row["letter"], "--json").out)
    assert [before["source"] for before in shown["set_aside_before"]] == [row["source"]]


def test_a_dry_run_writes_nothing_and_says_what_would_be(letters: Letters, site: Live, tenant: str) -> None:
    names = set_aside(letters, site, tenant, *(message(broken(tenant, f"rr-{n}"), site.send.topics) for n in range(3)))

    plain = letters("redrive", "--tenant", tenant, "--dry-run")
    mended = letters("redrive", "--tenant", tenant, "--dry-run", "--through", MEND, "--json")
    dismissed = letters("dismiss", "--tenant", tenant, "--dry-run", "--why", "of no use")

    assert (plain.code, plain.out.splitlines()[0]) == (1, "0 dead letters would be redriven.")
    assert (mended.code, json.loads(mended.out)["would_send"]) == (0, {"schema_violation": 3})
    assert dismissed.out == "3 dead letters would be dismissed (3 schema_violation).\n"
    assert sorted(row["letter"] for row in listed(letters, tenant)) == sorted(names)


def test_nothing_is_done_where_nobody_can_be_asked(letters: Letters, site: Live, tenant: str) -> None:
    set_aside(letters, site, tenant, message(broken(tenant), site.send.topics))
    for arguments in (("redrive", "--through", MEND), ("dismiss", "--why", "of no use")):
        assert letters(*arguments, "--tenant", tenant).code == 2
    assert len(listed(letters, tenant)) == 1


def test_after_ctrl_c_the_same_command_goes_on_and_no_letter_is_ordered_twice(
    letters: Letters, site: Live, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 6
    set_aside(letters, site, tenant, *(message(broken(tenant, f"rr-{n}"), site.send.topics) for n in range(count)))
    call = ("redrive", "--tenant", tenant, "--header", "x-mended=1", "--through", MEND, "--yes")

    with monkeypatch.context() as interrupting:
        send, sent = OrderWriter.send, 0

        def interrupted(writer: OrderWriter, order: Any) -> None:
            nonlocal sent
            if sent == 2:
                raise KeyboardInterrupt
            sent += 1
            send(writer, order)

        interrupting.setattr(OrderWriter, "send", interrupted)
        stopped = letters(*call)
    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.err == (
        "restore-projector: interrupted: 2 dead letters handled; the same command goes on with the others\n"
    )
    assert len(listed(letters, tenant)) == count - 2

    assert letters(*call).code == 0
    for number in range(count):
        site.wait_for_state(tenant, f"rr-{number}", "completed_proof_incomplete")
    ordered = [dict(r.headers)["letter"] for r in site.read(site.send.topics.ops) if r.key == tenant.encode()]
    assert len(ordered) == len(set(ordered)) == count


@pytest.mark.parametrize("again", [False, True], ids=["named", "again"])
def test_after_ctrl_c_what_is_said_goes_on_with_named_letters_and_with_those_once_more(
    letters: Letters, site: Live, tenant: str, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    names = set_aside(letters, site, tenant, *(message(broken(tenant, f"rr-{n}"), site.send.topics) for n in range(3)))
    chosen = ("--tenant", tenant, "--again") if again else names
    call = ("redrive", *chosen, "--through", MEND, "--yes", "--json")
    if again:
        assert letters(*call).code == 0
    with monkeypatch.context() as interrupting:
        interrupting.setattr(OrderWriter, "send", _once(OrderWriter.send))
        stopped = letters(*call)
    said = re.search(r": 1 dead letter handled; the same command with (--resume) (\w{32}) goes on", stopped.err)
    assert said is not None, stopped.err

    gone_on = letters(*call, *said.groups())
    assert gone_on.code == 0, gone_on.err
    assert json.loads(gone_on.out)["request"] == said[2]
    assert json.loads(gone_on.out)["sent"] == {"schema_violation": 2}
    ordered = [dict(r.headers) for r in site.read(site.send.topics.ops) if r.key == tenant.encode()]
    ours = [headers["letter"] for headers in ordered if headers["request"] == said[2].encode()]
    assert len(ours) == len(set(ours)) == 3
    assert json.loads(letters(*call, *said.groups()).out)["sent"] == {}


def _once(send: Callable[[OrderWriter, Any], None]) -> Callable[[OrderWriter, Any], None]:
    """Ctrl-C instead of the second order."""
    sent = 0

    def sending(writer: OrderWriter, order: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == 2:
            raise KeyboardInterrupt
        send(writer, order)

    return sending


def test_with_json_only_json_is_written_also_where_somebody_is_asked(letters: Letters, site: Live, tenant: str) -> None:
    set_aside(letters, site, tenant, message(broken(tenant), site.send.topics))
    left = letters("redrive", "--tenant", tenant, "--json")
    assert (left.code, json.loads(left.out)["would_be_set_aside"]["reasons"]) == (1, {"schema_violation": 1})
    assert "stay open" in left.err
    nothing = letters("dismiss", "--tenant", "t-nobody", "--why", "of no use", "--json")
    assert (nothing.code, json.loads(nothing.out)) == (0, {"dismissed": {}})


def test_on_a_terminal_the_list_fits_80_columns(letters: Letters, site: Live, tenant: str) -> None:
    set_aside(letters, site, tenant, message(broken(tenant), site.send.topics))
    shown = on_a_terminal(80, environment(site.settings), "deadletters", "list", "--all", "--tenant", tenant)
    lines = [without_colours(line) for line in shown.lines]
    assert shown.code == 0
    assert any(line.startswith("1 open dead letter, 0 handled.") for line in lines)
    assert max(map(len, lines)) <= 80


def test_what_a_limit_kept_out_is_taken_as_it_is_when_the_limit_is_raised(
    settings: Settings, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = settings.model_copy(update={"limits": LimitsSettings(value_bytes=1_024)})
    large = run("t-1", "rr-1", 1, note="x" * 2_000)
    letters = on(small, command, monkeypatch)
    with live_worker(small) as live:
        (name,) = set_aside(letters, live, "t-1", message(large, live.send.topics))
        assert letters("redrive", name, "--dry-run").code == 1

    letters = on(settings, command, monkeypatch)
    with live_worker(settings) as live:
        assert letters("redrive", "--reason", "too_large", "--yes").code == 0
        live.wait_for_state("t-1", "rr-1", "completed_proof_incomplete")
        assert letters("list").out == "No open dead letter.\n"


def test_the_night_a_producer_made_1000_dead_letters(
    settings: Settings, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redriven through a program that mends them, they leave the documents of a history without the bug.

    Equal is everything in a document but what tells how it came about: revision, timeline and times. So is the place
    in Kafka that each fact is from.
    """
    letters = on(settings, command, monkeypatch)
    tenants, runs = [f"t-{number}" for number in range(20)], range(50)
    with live_worker(settings) as live:
        live.send.messages([m for t in tenants for n in runs for m in _a_restore(t, n, live)])
        wait_for_rest(settings)
        counted = json.loads(letters("list", "--json", "--limit", "0").out)
        assert (counted["open"], [row["reason"] for row in counted["reasons"]]) == (1_000, ["schema_violation"])
        assert all("unreadable_input" in d["diagnostics"]["inconsistencies"] for d in _documents(live).values())
        assert command("status").code == 1

        done = json.loads(letters("redrive", "--all", "--through", MEND, "--why", "mended", "--yes", "--json").out)
        assert done["sent"] == {"schema_violation": 1_000}
        assert done["set_aside_again"]["reasons"] == done["would_be_set_aside"]["reasons"] == {}

        check(settings)
        found = _documents(live)
        expected = _without_the_bug(live)
        assert len(found) == 1_000
        assert found == expected
        assert letters("list").out == "No open dead letter.\n"
        assert command("status").code == 0


def _a_restore(tenant: str, number: int, live: Live) -> Iterator[Message]:
    """A restore that ran, and whose last event is broken; every third has evidence."""
    id, op = f"rr-{number}", f"op-{number}"
    form = FORMS[number % len(FORMS)]
    events = [
        run(tenant, id, 1, "running", op),
        operation(tenant, op, 1),
        broken(tenant, id, 2, op),
        *([snapshot(tenant, f"es-{number}", 1, op)] if number % 3 == 0 else ()),
    ]
    return (message(event, live.send.topics, form) for event in events)


def _documents(live: Live) -> dict[str, dict[str, Any]]:
    """Every document in Redis, but for what tells how it came about."""
    keys = sorted(live.redis.scan_iter(match=f"{live.settings.redis.namespace}:{{*}}:run:*", count=5_000))
    values = live.redis.mget(keys)
    assert isinstance(values, list)
    return dict(_by_run(value) for value in values)


def _without_the_bug(live: Live) -> dict[str, dict[str, Any]]:
    """What the pure fold makes of the same inputs at the same places, had they been right, and of no orders."""
    topics = live.send.topics
    with consumer(live.settings) as reader:
        log = read_log(reader, live.settings, topics.inputs)
    right = {
        place: [record._replace(value=(record.value or b"").replace(b"finished", b"completed")) for record in records]
        for place, records in log.items()
        if place[0] != topics.ops
    }
    inputs = InputDecoder(topics, PARTITIONS, live.settings.kafka.partitioner)
    documents: dict[str, dict[str, Any]] = {}
    for number in range(PARTITIONS):
        folded = fold(right, topics, number, inputs, until=0)
        assert not folded.letters
        last = (folded.last_document(run) for run in folded.documents)
        documents |= dict(_by_run(published.value) for published in last if published is not None)
    return documents


def _by_run(value: Any) -> tuple[str, dict[str, Any]]:
    """A document's run, and what follows from the facts alone."""
    document = decode(value)
    facts = {name: told for name, told in document.items() if name not in WRITTEN_BY_THE_RUN}
    return f"{document['tenant_id']}/{document['restore_run_id']}", facts
