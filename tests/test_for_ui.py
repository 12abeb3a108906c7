"""docs/for-ui.md: its code does what it says, and its tables are the program's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from contracts.decision import FORBIDDEN_CLAIMS, SEVERITY, STATES, encode
from contracts.documents import StateDocument
from contracts.ids import partition_of
from projections.examples import EXAMPLES, document
from projections.matrix import WORDS
from projections.record import Key
from tests.servers.plugin import Space
from tests.servers.ports import RedisServer
from worker.nodes import Nodes
from worker.ports import Position, StoredRun
from worker.redis import RedisStore

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "for-ui.md").read_text()
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

HOME = partition_of("t-1", 4, "murmur2")
START = Position("g1", 0, 0)
LATER = Position("g1", 1, 0)
DOCUMENT = document(EXAMPLES["failed"])
A_RUN = StoredRun(Key("run", "t-1", "rr-1"), encode(DOCUMENT), "failed", 7)


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Redis]:
    with Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def store(redis_server: RedisServer, space: Space) -> Iterator[RedisStore]:
    with Nodes(redis_server.url, 2_000) as nodes:
        yield RedisStore(nodes, space.namespace, "redis")


@pytest.fixture
def page(space: Space) -> dict[str, Any]:
    """What the page's code defines, for a namespace of the test's own."""
    defined: dict[str, Any] = {}
    exec(CODE, defined)
    defined["NAMESPACE"] = space.namespace
    return defined


def begin(store: RedisStore) -> None:
    store.wipe(HOME, None, START, "life-1", applied_at=1)


def test_a_store_that_nobody_filled_yet_is_not_yet(client: Redis, page: dict[str, Any]) -> None:
    assert page["state_of"](client, "t-1", "rr-1") == ("not yet", None)


def test_while_restoring_a_miss_is_not_yet_and_a_hit_may_be_old(
    client: Redis, store: RedisStore, page: dict[str, Any]
) -> None:
    begin(store)
    assert page["state_of"](client, "t-1", "rr-1") == ("not yet", None)
    store.apply(HOME, START, LATER, [A_RUN], restoring=True, applied_at=2)
    assert page["state_of"](client, "t-1", "rr-1") == ("not yet", DOCUMENT)


def test_when_ready_a_document_is_there_or_not(client: Redis, store: RedisStore, page: dict[str, Any]) -> None:
    begin(store)
    store.apply(HOME, START, LATER, [A_RUN], restoring=False, applied_at=2)
    assert page["state_of"](client, "t-1", "rr-1") == ("there", DOCUMENT)
    assert page["state_of"](client, "t-1", "rr-2") == ("not there", None)


def test_runs_of_a_state_are_listed_the_newest_first(client: Redis, store: RedisStore, page: dict[str, Any]) -> None:
    begin(store)
    newer = DOCUMENT | {"restore_run_id": "rr-2"}
    runs = [A_RUN, StoredRun(Key("run", "t-1", "rr-2"), encode(newer), "failed", 8)]
    store.apply(HOME, START, LATER, runs, restoring=False, applied_at=2)
    assert page["newest_in"](client, "t-1", "failed") == [newer, DOCUMENT]
    assert page["newest_in"](client, "t-1", "failed", limit=1) == [newer]
    assert page["newest_in"](client, "t-1", "in_progress") == []


def test_the_table_of_states_is_the_programs() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (info|notice|warning|critical) \|$", PAGE, re.MULTILINE)
    assert rows == [(state, WORDS[state].status, SEVERITY[state]) for state in STATES]


def test_the_fields_that_are_explained_are_in_the_document() -> None:
    table = PAGE.partition("| field | is for |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row]
    named = {name.partition(".")[0] for cell in cells for name in re.findall(r"`([\w.]+)`", cell)}
    assert named <= StateDocument.model_fields.keys()
    assert "primary_next_action" in named


def test_the_forbidden_claims_are_all_named() -> None:
    assert ", ".join(FORBIDDEN_CLAIMS) in " ".join(PAGE.split())


def test_files_that_are_named_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
    for name in ("decision-state.v1.document.schema.json", "types.ts", "examples/decision-state.v1.json"):
        assert f"`{name}`" in PAGE
        assert (ROOT / "contracts" / "schemas" / name).is_file()
