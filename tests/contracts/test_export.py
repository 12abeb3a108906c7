"""The exported contract is what the program does: its examples are read by the real decoders and made by the rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from contracts.commands import CommandDecoder, Dismiss, Forget, Recompute, Replay
from contracts.decision import STATES
from contracts.documents import StateChange, StateDocument
from contracts.events import Changed, Decoder, Deleted, Record
from contracts.explanation import Explanation
from contracts.export import FORMS, KINDS, TYPES, export, headers_file, kinds_of, schema_of, value_file
from contracts.facts import Facts
from contracts.letters import read_letter
from contracts.topics import TOPICS, Topics
from contracts.typescript import WORDS, type_of
from contracts.violations import InvalidInput
from contracts.wire import RESTORE_RUN
from projections import samples
from projections.examples import EXAMPLES, document
from projections.explain import explain
from tests.contracts.facts_strategies import facts
from tests.contracts.records import state
from tests.contracts.test_documents import a_document

SCHEMAS = Path(__file__).parents[2] / "contracts" / "schemas"
FILES = {**export(), **samples.files()}
ROW = {row.role: row for row in TOPICS}
SAMPLES = [
    pytest.param(role, sample, id=f"{ROW[role].suffix} {sample['kind']}: {sample['about']}")
    for role, records in samples.samples_of_topics().items()
    for sample in records
]
ANYTHING = "JsonValue"
"""Of the schemas' definitions the one that takes any JSON."""


@cache
def validator(file: str) -> Draft202012Validator:
    schema = json.loads(FILES[file])
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def violations(file: str, value: object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator(file).iter_errors(value)]


def test_the_folder_holds_what_is_exported_and_nothing_else() -> None:
    stored = {str(path.relative_to(SCHEMAS)): path.read_text() for path in SCHEMAS.rglob("*") if path.is_file()}
    assert stored.keys() == FILES.keys()
    outdated = [name for name, text in FILES.items() if stored[name] != text]
    assert not outdated, "run restore-projector contracts export"


def test_every_schema_is_one_and_has_an_id_of_its_own() -> None:
    ids = set()
    for file in FILES:
        if file.endswith(".schema.json"):
            schema = validator(file).schema
            ids.add(schema["$id"])
            assert schema["title"] and schema["description"]
    assert len(ids) == sum(file.endswith(".schema.json") for file in FILES)


def test_the_index_names_every_topic_and_every_file() -> None:
    index = json.loads(FILES["topics.json"])
    assert [topic["suffix"] for topic in index["topics"]] == [row.suffix for row in TOPICS]
    records = [record for topic in index["topics"] for record in topic["records"]]
    named = {"topics.json", index["types"], "explanation.schema.json"}
    named |= {topic["examples"] for topic in index["topics"]} | {record["headers"] for record in records}
    named |= {record["value_schema"] for record in records}
    assert named - {None} == FILES.keys()
    assert [topic["forms"] for topic in index["topics"][:4]] == [list(FORMS)] * 3 + [None]


def test_of_the_internal_topic_nothing_is_told_but_that_it_is_internal() -> None:
    assert [row.role for row in TOPICS if not kinds_of(row)] == ["internal"]
    internal = json.loads(FILES["topics.json"])["topics"][-1]
    assert (internal["records"], internal["examples"]) == ([], None)
    assert "read none of it" in internal["about"]


class TestExamples:
    def test_there_is_one_of_every_kind_of_record(self) -> None:
        shown = {(role, sample["kind"]) for role, records in samples.samples_of_topics().items() for sample in records}
        assert shown == {(kind.topic, kind.name) for kind in KINDS}

    @pytest.mark.parametrize(("role", "sample"), SAMPLES)
    def test_each_is_what_its_schemas_say(self, role: Any, sample: Any) -> None:
        row = ROW[role]
        (kind,) = [kind for kind in kinds_of(row) if kind.name == sample["kind"]]
        assert violations(headers_file(row, kind), sample["headers"]) == []
        if (file := value_file(row, kind)) is not None:
            assert violations(file, sample["value"]) == []
        assert (sample["value"] is None) == (kind.value == "null")

    @pytest.mark.parametrize("role", ["decision_changes", "decision_state"])
    def test_outputs_have_no_header_that_is_not_described(self, role: Any) -> None:
        row = ROW[role]
        for sample in samples.samples_of_topics()[role]:
            (kind,) = [kind for kind in kinds_of(row) if kind.name == sample["kind"]]
            assert sample["headers"].keys() <= kind.headers["properties"].keys()

    def test_inputs_are_taken_by_the_worker(self) -> None:
        decoder = Decoder(Topics(), 1, "murmur2")
        for row in TOPICS[:3]:
            for sample in samples.samples_of_topics()[row.role]:
                event = decoder.decode(record(Topics().name(row), sample))
                assert type(event) is {"changed": Changed, "deleted": Deleted}[sample["kind"]], event

    def test_commands_are_taken_by_the_worker_and_what_is_replayed_too(self) -> None:
        expected = {"recompute": Recompute, "replay": Replay, "forget": Forget, "dismiss": Dismiss}
        for sample in samples.samples_of_topics()["ops"]:
            command = CommandDecoder(1, "murmur2").decode(record(Topics().ops, sample))
            assert type(command) is expected[sample["kind"]], command
            if isinstance(command, Replay):
                assert isinstance(Decoder(Topics(), 1, "murmur2").decode(command.record), Changed)

    def test_the_dead_letter_is_one_for_the_reason_that_it_gives(self) -> None:
        (sample,) = samples.samples_of_topics()["dead_letters"]
        letter = read_letter([(name, text.encode()) for name, text in sample["headers"].items()])
        rejected = Decoder(Topics(), 1, "murmur2").decode(record(Topics().restore_runs, sample))
        assert (letter.reason, letter.detail) == (rejected.reason, rejected.detail)  # type: ignore[union-attr]

    def test_there_is_a_document_of_every_state(self) -> None:
        documents = [sample["value"] for sample in samples.samples_of_topics()["decision_state"][:-1]]
        assert [document["state"] for document in documents] == list(STATES)


def record(topic: str, sample: dict[str, Any]) -> Record:
    headers = tuple((name, text.encode()) for name, text in sample["headers"].items())
    return Record(topic, 0, 1, 1, sample["key"].encode(), json.dumps(sample["value"]).encode(), headers)


class TestInputs:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"id": "a/b"}, {"id": ".."}, {"id": -1}, {"tenant_id": None}, {"status": "done"}, {"is_dry_run": 1},
            {"operation_run_id": True}, {"metadata": {"counts": {"failed": -1}}}, {"metadata": []},
            {"result_attention": {"state": "bad"}}, {"updated_at": 7},
        ],
    )  # fmt: skip
    def test_what_the_worker_refuses_the_schema_refuses_too(self, wrong: dict[str, Any]) -> None:
        data = state("restore_run", **wrong)
        with pytest.raises(InvalidInput):
            RESTORE_RUN.read(data, "$")
        assert violations("restore-runs.v1.changed.schema.json", data)

    @pytest.mark.parametrize("fine", [{"id": 7}, {"surprise": 1}, {"metadata": {"counts": {"total": None}}}])
    def test_what_the_worker_takes_the_schema_takes_too(self, fine: dict[str, Any]) -> None:
        data = state("restore_run", **fine)
        RESTORE_RUN.read(data, "$")
        assert violations("restore-runs.v1.changed.schema.json", data) == []


class TestStateDocuments:
    SCHEMA = "decision-state.v1.document.schema.json"

    @given(facts())
    def test_every_document_of_any_facts_is_what_the_schema_says(self, known: Facts) -> None:
        assert violations(self.SCHEMA, a_document(known)) == []

    @pytest.mark.parametrize(
        "wrong",
        [
            {"schema": "restore.decision-state/2"},
            {"revision": 0},
            {"state": "healthy"},
            {"tenant_id": ".."},
            {"changed_at": "2026-11-01T10:01:00Z"},
            {"claims": {"allowed": [], "forbidden": []}},
            {"surprise": 1},
        ],
    )
    def test_what_the_model_refuses_the_schema_refuses_too(self, wrong: dict[str, Any]) -> None:
        assert violations(self.SCHEMA, a_document(**wrong))

    def test_explanations_are_what_their_schema_says(self) -> None:
        for example in EXAMPLES.values():
            explanation = explain(document(example), 1_793_527_260_000)
            assert violations("explanation.schema.json", explanation) == []


INTERFACE = re.compile(r"^export interface (\w+) \{\n((?:  readonly .*;\n)+)\}$", re.MULTILINE)
FIELD = re.compile(r"^  readonly (\w+): (.+);$", re.MULTILINE)
ALIAS = re.compile(r"^export type (\w+) =\n((?:  \| .*\n?)+);?$", re.MULTILINE)


class TestTypeScript:
    """Compared with the JSON Schemas, which pydantic made from the same models in its own way."""

    TEXT = FILES[TYPES]
    INTERFACES = {name: dict(FIELD.findall(body)) for name, body in INTERFACE.findall(TEXT)}  # noqa: RUF012 - not changed
    WORDS = {name: set(re.findall(r'"([^"]*)"', body)) for name, body in ALIAS.findall(TEXT)}  # noqa: RUF012 - see above

    def test_each_model_of_the_schemas_is_an_interface_with_the_same_fields(self) -> None:
        models = dict(self.models())
        assert self.INTERFACES.keys() == models.keys()
        for name, schema in models.items():
            assert list(self.INTERFACES[name]) == list(schema["properties"]), name
            assert schema["required"] == list(schema["properties"]), f"{name}: a field that may be absent needs a ?"

    def test_each_field_has_the_type_that_its_schema_has(self) -> None:
        for name, schema in self.models():
            for field, described in schema["properties"].items():
                assert self.read(self.INTERFACES[name][field]) == meaning(described), f"{name}.{field}"

    def test_each_named_list_of_words_is_the_contracts(self) -> None:
        expected = {name: set(TypeAdapter(words).json_schema()["enum"]) for name, words in WORDS.items()}
        assert expected == self.WORDS

    def test_a_type_that_no_document_uses_is_an_error(self) -> None:
        with pytest.raises(TypeError, match="no TypeScript type is known for <class 'float'>"):
            type_of(float)

    def models(self) -> Iterator[tuple[str, Any]]:
        for model in (StateDocument, StateChange, Explanation):
            schema = schema_of(model)
            yield from ((name, part) for name, part in schema.pop("$defs").items() if name != ANYTHING)
            yield model.__name__, schema

    def read(self, text: str) -> set[str]:
        """What a type allows: `string`, `"word"`, `null`, names of interfaces, and `[…]` for items of an array."""
        array = re.fullmatch(r"readonly \(?([^()]*?)\)?\[\]", text)
        if array is not None:
            return {f"[{part}]" for part in self.read(array[1])}
        allowed = set()
        for part in text.split(" | "):
            allowed |= {json.dumps(word) for word in self.WORDS[part]} if part in self.WORDS else {part}
        return allowed


def meaning(schema: dict[str, Any]) -> set[str]:
    """The same of a JSON Schema."""
    if "anyOf" in schema:
        return set().union(*map(meaning, schema["anyOf"]))
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {"unknown"} if name == ANYTHING else {name}
    for words in (schema.get("enum"), [schema["const"]] if "const" in schema else None):
        if words is not None:
            return {json.dumps(word) for word in words}
    match schema.get("type"):
        case "array":
            return {f"[{item}]" for item in meaning(schema["items"])}
        case "object":
            return {"Readonly<Record<string, unknown>>"}
        case None:
            return {"unknown"}
        case plain:
            return {{"integer": "number"}.get(plain, plain)}
