"""`preview`: what this version's rules would change."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from worker.cli.output import Json, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from worker.operators.preview import Preview, Sampled

Name = TypeVar("Name")

WIDTH: Final = 80
INDENT: Final = " " * 10
SAMPLES: Final = 3
NUMBER_WIDTH: Final = 8
"""Of a column of the matrix: room for a million."""


def add_to(app: typer.Typer) -> None:
    app.command(epilog="Example: restore-projector preview || restore-projector preview --json --samples 20")(preview)


Samples = Annotated[int, typer.Option("--samples", min=0, max=1_000, help="How many runs to name of each kind.")]


def preview(*, samples: Samples = SAMPLES, json: Json = False) -> None:
    """Say what this version of the rules would change: decide every stored run by it, and write nothing.

    To be asked before a new version is rolled out, of the new version, beside workers of the old one. Every document in
    Kafka is read, and decided again from the facts in it: which states would become which, by which rules, and of whom
    it is said what else would be worded otherwise. When the new version runs it publishes exactly these differences,
    with the origin `recompute`.

    Exit code 1 when a run would become more permissive: its state nearer to proof, or of the same rank and with a claim
    more. These are named first.
    """
    from worker.cli.orders import bar, interrupted
    from worker.operators.preview import preview as decide_all
    from worker.settings import load_settings

    settings = load_settings()
    left = "ended; nothing was written. Of what was not read yet nothing is known: begin again"
    with interrupted(lambda: left), bar("records", None) as show:
        found = decide_all(settings, samples, show)
    if json:
        print_json(as_json(found))
    else:
        for line in as_text(found):
            print(line)
    raise typer.Exit(1 if found.more_permissive else 0)


# For a program


def as_json(found: Preview) -> dict[str, Any]:
    """All that was found; rows of the matrix with the most runs first."""
    from contracts.decision import direction
    from projections.rules import POLICY

    return {
        "policy": POLICY,
        "decided_with": {str(policy): count for policy, count in sorted(found.policies.items())},
        "runs": found.runs,
        "would_change_state": found.changed_state,
        "would_change_otherwise": found.changed_otherwise,
        "would_become_more_permissive": found.more_permissive,
        "more_permissive": [
            {"from": before, "to": after, "why": why, **_sampled(row)}
            for (before, after, why), row in most_first(found.permissive.items())
        ],
        "matrix": [
            {
                "from": before,
                "to": after,
                "direction": None if before == after else direction(before, after),
                **_sampled(row),
                "rules": [
                    {"from": first, "to": second, "runs": count}
                    for (b, a, first, second), count in found.rules.most_common()
                    if (b, a) == (before, after)
                ],
            }
            for (before, after), row in most_first(found.matrix.items())
        ],
        "same_state": [{"fields": list(fields), **_sampled(row)} for fields, row in most_first(found.fields.items())],
    }


def _sampled(row: Sampled) -> dict[str, Any]:
    return {"runs": row.count, "samples": row.samples}


def most_first(rows: Iterable[tuple[Name, Sampled]]) -> list[tuple[Name, Sampled]]:
    return sorted(rows, key=lambda row: (-row[1].count, str(row[0])))


# For a person, within 80 columns


def as_text(found: Preview) -> Iterator[str]:
    """What would change, the more permissive first."""
    yield from _summary(found)
    yield from _permissive(found)
    yield from _matrix(found)
    yield from _changes(found)
    yield from _same_state(found)


def _summary(found: Preview) -> Iterator[str]:
    from projections.rules import POLICY

    changed = found.changed_state + found.changed_otherwise
    yield f"{_runs(found.runs)} decided by policy {POLICY}, nothing written; {changed:,} would differ."
    if found.more_permissive:
        yield f"{_runs(found.more_permissive)} would become more permissive."
    elif changed:
        yield "No run would become more permissive."


def _permissive(found: Preview) -> Iterator[str]:
    if found.permissive:
        yield from _heading("More permissive")
    for (before, after, why), row in most_first(found.permissive.items()):
        yield f"{row.count:>{NUMBER_WIDTH}}  {_arrow(before, after)}"
        yield from _detail(why)
        yield from _named(row)


def _matrix(found: Preview) -> Iterator[str]:
    from contracts.decision import STATES

    if not found.matrix:
        return
    rows = [state for state in STATES if any(state == before for before, _ in found.matrix)]
    columns = [state for state in STATES if any(state == after for _, after in found.matrix)]
    number = {state: at for at, state in enumerate(STATES, 1)}
    yield from _heading("Now (a row each) and then (a column each)")
    width = max(map(len, STATES)) + 2
    yield " " * width + "".join(f"{number[state]:>{NUMBER_WIDTH}}" for state in columns)
    for before in rows:
        cells = (found.matrix.get((before, after)) for after in columns)
        counts = "".join(f"{'.' if cell is None else cell.count:>{NUMBER_WIDTH}}" for cell in cells)
        yield f"{number[before]} {before:<{width - 2}}{counts}"
    for after in columns:
        if after not in rows:
            yield f"{number[after]} {after}"


def _changes(found: Preview) -> Iterator[str]:
    if not found.changed_state:
        return
    yield from _heading("Changes of state")
    for (before, after), row in most_first(found.matrix.items()):
        if before == after:
            continue
        yield f"{row.count:>{NUMBER_WIDTH}}  {_arrow(before, after)}"
        for (b, a, first, second), count in found.rules.most_common():
            if (b, a) == (before, after):
                rule = f"another condition of rule {second}" if first == second else f"rule {first} -> {second}"
                yield from _detail(rule if count == row.count else f"{rule}: {count:,}")
        yield from _named(row)


def _same_state(found: Preview) -> Iterator[str]:
    if found.fields:
        yield from _heading("The same state, but another document")
    for fields, row in most_first(found.fields.items()):
        first, *others = textwrap.wrap(", ".join(fields), WIDTH - len(INDENT))
        yield f"{row.count:>{NUMBER_WIDTH}}  {first}"
        yield from (f"{INDENT}{other}" for other in others)
        yield from _named(row)


def _heading(text: str) -> Iterator[str]:
    yield ""
    yield text
    yield ""


def _arrow(before: str, after: str) -> str:
    return f"{before} -> {after}" if before != after else before


def _detail(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)


def _named(row: Sampled) -> Iterator[str]:
    """The samples, each whole: an identifier that is cut is of no use."""
    if row.samples:
        more = ", ..." if row.count > len(row.samples) else ""
        text = ", ".join(row.samples) + more
        yield from textwrap.wrap(
            text, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False
        )


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count:,} runs"
