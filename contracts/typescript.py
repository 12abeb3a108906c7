"""Models → TypeScript: one interface for each model, one type for each of the contract's lists of words.

Only what the documents use is known; anything else is an error, so that no field becomes `any` unnoticed. Fields are
all there (`null` is a value), and nobody who reads a document changes it: hence `readonly` throughout.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue

from contracts.decision import Direction, Origin, Severity, State
from contracts.documents import ActionCode, EvidenceCause, ForbiddenClaim, InconsistencyCode, RuleName
from contracts.facts import AttentionState, Entity, OperationStatus, Outcome, RunStatus, SnapshotStatus

HEAD: Final = """\
// Made by `restore-projector contracts export` from the models in contracts/. Changes made here are lost.
// Times are YYYY-MM-DDTHH:MM:SS.mmmZ. Sequences may be larger than Number.MAX_SAFE_INTEGER; JSON.parse rounds those.
"""

WORDS: Final[dict[str, Any]] = {
    "State": State,
    "Severity": Severity,
    "Direction": Direction,
    "Origin": Origin,
    "RuleName": RuleName,
    "ActionCode": ActionCode,
    "EvidenceCause": EvidenceCause,
    "InconsistencyCode": InconsistencyCode,
    "ForbiddenClaim": ForbiddenClaim,
    "Entity": Entity,
    "RunStatus": RunStatus,
    "AttentionState": AttentionState,
    "OperationStatus": OperationStatus,
    "Outcome": Outcome,
    "SnapshotStatus": SnapshotStatus,
}
"""The lists of words that have a name, by that name."""
NEXT_LINE: Final = "\n  | "

_NAME_OF_WORDS: Final = {words: name for name, words in WORDS.items()}
_PLAIN: Final[dict[Any, str]] = {
    str: "string",
    int: "number",
    bool: "boolean",
    NoneType: "null",
    JsonValue: "unknown",
}


def typescript(models: Sequence[type[BaseModel]]) -> str:
    """A module that exports the models, all that they are made of, and the named lists of words."""
    parts = [HEAD]
    parts += [f"export type {name} =\n  | {_words(words, NEXT_LINE)};\n" for name, words in WORDS.items()]
    parts += ["\n".join(_interface(model)) + "\n" for model in _with_parts(models)]
    return "\n".join(parts)


def _with_parts(models: Sequence[type[BaseModel]]) -> list[type[BaseModel]]:
    """The models and those of their fields, each once, parts first."""
    found: dict[str, type[BaseModel]] = {}

    def visit(model: type[BaseModel]) -> None:
        for field in model.model_fields.values():
            for part in _models_in(field.annotation):
                visit(part)
        known = found.setdefault(model.__name__, model)
        assert known is model, f"two models are called {model.__name__}"

    for model in models:
        visit(model)
    return list(found.values())


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from _models_in(part)


def _interface(model: type[BaseModel]) -> Iterator[str]:
    yield "/**"
    for line in inspect.cleandoc(model.__doc__ or "").splitlines():
        yield f" * {line}".rstrip()
    yield " */"
    yield f"export interface {model.__name__} {{"
    for name, field in model.model_fields.items():
        yield f"  readonly {field.alias or name}: {type_of(field.annotation)};"
    yield "}"


def type_of(annotation: Any) -> str:
    """The TypeScript type of values of a Python type, as JSON has them; TypeError for one that no document uses."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_of(arguments[0])
    if origin is Literal:
        return _NAME_OF_WORDS.get(annotation) or _words(annotation, " | ")
    if origin in {Union, UnionType}:
        return " | ".join(type_of(part) for part in arguments)
    if origin is tuple and arguments[1:] == (...,):
        item = type_of(arguments[0])
        return f"readonly {f'({item})' if '|' in item else item}[]"
    if origin is dict and arguments[0] is str:
        return f"Readonly<Record<string, {type_of(arguments[1])}>>"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation.__name__
    raise TypeError(f"no TypeScript type is known for {annotation!r}")


def _words(words: Any, separator: str) -> str:
    return separator.join(json.dumps(word) for word in get_args(words))
