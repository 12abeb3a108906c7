"""How an explanation is shown: readable at 80 columns, on a terminal and in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from contracts.facts import Counts
from projections.matrix import WORDS
from projections.summary import counts_text
from worker.cli.screen import ENTITY_WORDS, MAX_WIDTH, state_style
from worker.durations import ago

Part = Mapping[str, Any]
"""Of an explanation, in the shape of `contracts.explanation`."""


def print_explanation(explanation: Part) -> None:
    """To standard output; coloured on a terminal, without blanks at the ends of lines elsewhere."""
    console = Console(highlight=False)
    if console.width > MAX_WIDTH:
        console = Console(highlight=False, width=MAX_WIDTH)
    if console.is_terminal:
        _print(console, explanation)
        return
    with console.capture() as captured:
        _print(console, explanation)
    for line in captured.get().splitlines():
        print(line.rstrip())


def _print(console: Console, explanation: Part) -> None:
    _decision(console, explanation)
    _better(console, explanation["better_states"])
    _rules(console, explanation)
    _inconsistencies(console, explanation["inconsistencies"])
    _facts(console, explanation["facts"])
    _timeline(console, explanation["timeline"])


def _decision(console: Console, explanation: Part) -> None:
    rule, action = explanation["rule"], explanation["primary_next_action"]
    style = state_style(explanation["state"])
    console.print(Text(f"{explanation['tenant_id']} {explanation['restore_run_id']}", style="bold"))
    console.print(Text(explanation["status"], style=f"bold {style}"))
    console.print(Text(f"{explanation['reason']} {explanation['impact']}"))
    console.print()
    stored = explanation["stored"]
    if stored is not None:
        text = f"The document says {stored['state']} (rule {stored['rule']}, policy {stored['policy']})"
        console.print(Text(f"{text}; this version decides otherwise.\n", style="bold yellow"))
    target = ", ".join(f"{name.removesuffix('_id').replace('_', ' ')} {id}" for name, id in action["target"].items())
    rows = [
        ("rule", f"{rule['name']} ({rule['number']} of {rule['of']}). {rule['when']}"),
        ("because", " ".join(rule["because"])),
        ("why so", rule["why"]),
        ("do next", f"{action['label']} ({target})"),
        ("may claim", ", ".join(explanation["claims"]["allowed"]) or "nothing"),
        (
            "since",
            _when(explanation["timeline"][-1]) if explanation["timeline"] else _seconds(explanation["changed_at"]),
        ),
    ]
    _grid(console, ((Text(name, style="bold"), Text(text)) for name, text in rows), 10)


def _when(moment: Part) -> str:
    return f"{_seconds(moment['changed_at'])}, {ago(moment['age_ms'])}"


def _seconds(time: str) -> str:
    """Without the milliseconds, which programs get."""
    return f"{time[: len('2026-11-01T10:00:00')]}Z"


def _better(console: Console, better: Sequence[Part]) -> None:
    _heading(console, "What would have to become true")
    for way in better:
        console.print(Text.assemble("For ", (way["status"], f"bold {state_style(way['state'])}"), ":"))
        _grid(console, ((Text("•"), _step(step)) for step in way["steps"]), 1, indent=2)
    if not better:
        console.print(Text("No state is better.", style="dim"))
    if any(step["correction"] for way in better for step in way["steps"]):
        console.print(
            Text("A correction takes back what was reported as final; it does not come by itself.", style="dim")
        )


def _step(step: Part) -> Text:
    return Text.assemble(step["words"], (" (correction)" if step["correction"] else "", "dim"))


def _rules(console: Console, explanation: Part) -> None:
    _heading(console, "Why no earlier rule")
    earlier = explanation["rules_before"]
    rows = ((Text(f"✗ {rule['name']}"), Text(" ".join(rule["why_not"]), style="dim")) for rule in earlier)
    _grid(console, rows, 22)
    name = Text(f"✓ {explanation['rule']['name']}", style=state_style(explanation["state"]))
    _grid(console, [(name, Text("This one decides."))], 22)


def _inconsistencies(console: Console, found: Iterable[Part]) -> None:
    rows = [(Text("!", style="bold yellow"), Text(f"{row['words']} ({row['code']})")) for row in found]
    if rows:
        _heading(console, "Contradictions")
        _grid(console, rows, 1)


def _facts(console: Console, facts: Iterable[Part]) -> None:
    _heading(console, "Facts")
    for fact in facts:
        name = Text(f"{ENTITY_WORDS[fact['entity']]} {fact['id']}", style="bold")
        if fact["unreadable"]:
            name.append("  its newest event could not be read", style="bold red")
        console.print(name)
        lines = [Text(", ".join(_said(fact["fields"] or {})))] if fact["fields"] else []
        lines.append(Text(_origin(fact), style="dim"))
        for line in lines:
            console.print(Padding(line, (0, 0, 0, 2)))


def _said(fields: Part) -> Iterator[str]:
    """A fact's fields, as far as they say something."""
    for name, value in fields.items():
        if name == "metadata":
            counts = Counts(**value["counts"])
            if counts != Counts():
                yield counts_text(counts)
        elif name == "result_attention":
            if value is not None:
                yield f"attention {value['state']}"
        elif name == "operation_run_id":
            yield "no operation" if value is None else f"operation {value}"
        elif value is True:
            yield name.removeprefix("is_").replace("_", " ")
        elif name.endswith("_at") and value is not None:
            yield f"{name.removesuffix('_at')} {_seconds(value)}"
        elif value is not None and value is not False:
            yield f"{name} {value}"


def _origin(fact: Part) -> str:
    source, sequence = fact["source"], fact["sequence"]
    parts = [] if fact["age_ms"] is None else [ago(fact["age_ms"])]
    parts += [] if source is None else [f"{source['topic']} partition {source['partition']} offset {source['offset']}"]
    parts += [] if sequence is None else [f"sequence {sequence}"]
    return ", ".join(parts) or "of unknown source and age"


def _timeline(console: Console, timeline: Iterable[Part]) -> None:
    _heading(console, "Timeline")
    rows = (
        (
            Text(_seconds(moment["changed_at"])),
            Text(WORDS[moment["state"]].status, style=state_style(moment["state"])),
            Text(ago(moment["age_ms"]), style="dim"),
        )
        for moment in timeline
    )
    _grid(console, rows, 20)


def _grid(console: Console, rows: Iterable[tuple[Text, ...]], width: int, *, indent: int = 0) -> None:
    """Lines of columns, the first so wide."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=width)
    for row in rows:
        grid.add_row(*row)
    console.print(Padding(grid, (0, 0, 0, indent)))


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Rule(Text(text, style="bold"), align="left", style="dim"))
