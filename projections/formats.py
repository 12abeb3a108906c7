"""In which format records are stored, and how an older one becomes the present one.

Two families, each with a number of its own: state documents, whose `schema` ends with it, and internal records, which
have it as `format` (a record without one is of the first). A version reads all formats up to its own: each upgrade
leads from its number to the next, and a record takes all that it needs when it is read. It is written in the present
format when it is next written for whatever reason; a document of an older format is also one that differs, so deciding
everything again (`worker.recompute`) writes it anew. Of a newer format nothing is guessed: NewerFormat.

Whoever raises a number here raises the policy too (`since_policy`): that is what keeps older workers away from a
partition in which the new format was written (`worker.policies`), and what makes newer ones go through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Value: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Format:
    """One format. `since_policy`: the policy that brought it.

    `upgrade`: from the format before; it makes a new value and leaves the old one as it is.
    """

    number: int
    since_policy: int
    upgrade: Callable[[Value], Value] | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """Records with one series of formats, oldest first. `number_of`: the one that a value says it has."""

    name: str
    formats: tuple[Format, ...]
    number_of: Callable[[Mapping[str, Any]], int]

    @property
    def present(self) -> int:
        return self.formats[-1].number


class NewerFormat(Exception):
    """A record is of a format that only a newer version can read."""

    def __init__(self, family: str, found: int, ours: int) -> None:
        self.family = family
        self.found = found
        self.ours = ours
        super().__init__(f"{family} of format {found}, and this version reads {ours} and older")


def _document_number(value: Mapping[str, Any]) -> int:
    return int(value["schema"].rpartition("/")[2])


def _internal_number(value: Mapping[str, Any]) -> int:
    return int(value.get("format", 1))


DOCUMENT: Final = Family("state document", (Format(1, since_policy=1),), _document_number)
INTERNAL: Final = Family("internal record", (Format(1, since_policy=1),), _internal_number)
FAMILIES: Final = (DOCUMENT, INTERNAL)


def upgraded(family: Family, value: Value) -> Value:
    """The value in the family's present format; `value` itself if it has that, else another one.

    Raises NewerFormat, KeyError or ValueError if it names none.
    """
    number = family.number_of(value)
    if number > family.present:
        raise NewerFormat(family.name, number, family.present)
    for format in family.formats:
        if format.number > number:
            assert format.upgrade is not None, "every format but the first says how to come to it"
            value = format.upgrade(value)
    return value
