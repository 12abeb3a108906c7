"""What `demo` shows: readable at 80 columns, on a terminal and in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from contracts.decision import FORBIDDEN_CLAIMS, SEVERITY, Severity, State
from contracts.facts import Entity
from projections.inconsistencies import INCONSISTENCIES
from projections.matrix import WORDS
from projections.rules import RULES
from worker.story import EXPLAINED, OUTCOMES, STORY, Broken, Step

MAX_WIDTH: Final = 100
"""Columns; wider lines are harder to read than they are useful."""
INDENT: Final = " " * 9
STYLES: Final[dict[Severity, str]] = {"info": "green", "notice": "cyan", "warning": "yellow", "critical": "bold red"}
QUIET: Final[dict[State, str]] = {"not_executed": "default", "in_progress": "blue"}
"""States that are no news of a result, for better or worse."""
SIGNS: Final = {"initial": "●", "progress": "▲", "regression": "▼", "removed": "✕"}
PROOF_SIGNS: Final[dict[str, str]] = {"available": "✓", "in_progress": "…", "unavailable": "✗"}
ENTITY_WORDS: Final[dict[Entity, str]] = {
    "restore_run": "run", "operation_run": "operation", "evidence_snapshot": "evidence",
}  # fmt: skip


def state_style(state: State | None) -> str:
    """A state's colour, by its severity; None is a restore that was removed."""
    if state is None:
        return "dim"
    return QUIET.get(state) or STYLES[SEVERITY[state]]


class Screen:
    """Prints to standard output. Each method is one thing that is shown."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        if self._console.width > MAX_WIDTH:
            self._console = Console(highlight=False, width=MAX_WIDTH)

    def introduce(self) -> None:
        tenants = len({step.tenant for step in STORY})
        self._heading("restore-projector")
        self._print(
            "A platform restores its tenants' configurations. Three kinds of rows tell how it went, each by itself: "
            "the restore run, the operation that executed it, the evidence taken afterwards. No row alone is the "
            "truth. This worker derives one decision per restore: what happened, what it means, what to do next, and "
            "what may not be claimed."
        )
        self._print(
            f"\nThe story: {len(OUTCOMES)} restores of {tenants} tenants in {len(STORY)} records. "
            "● first decision, ▲ nearer to proof, ▼ further from it, ✕ removed.\n"
        )
        self._print("Embedded servers, everything in memory: for trying it, not for data that matters.\n", "dim")

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Something that takes seconds; shown on a terminal only."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(what):
            yield

    def event(self, seconds: float, step: Step) -> None:
        what = step.what
        words = Text(what.words, style="bold" if not isinstance(what, Broken) else "bold red")
        self._console.print(
            Text.assemble(
                (f"{seconds:5.1f} s  ", "dim"),
                f"{step.tenant:<9}",
                f"{ENTITY_WORDS[what.entity]:<10}",
                f"{what.id:<7}",
                words,
            )
        )

    def clock(self, seconds: float, snapshot: str) -> None:
        """An expiry: what follows came from no record."""
        self._console.print(
            Text.assemble((f"{seconds:5.1f} s  ", "dim"), f"{'':<9}evidence  {snapshot:<7}", ("has expired", "bold"))
        )

    def change(self, change: Mapping[str, Any], note: str) -> None:
        state: State | None = change["to_state"]
        words = "Removed" if state is None else WORDS[state].status
        sign = SIGNS[change["direction"]]
        self._effect(f"{sign} {change['restore_run_id']} ", (words, state_style(state)), note)

    def letter(self, reason: str, note: str) -> None:
        self._effect("✉ ", (f"set aside as a dead letter: {reason}", "red"), note)

    def no_change(self, note: str, *, stale: bool) -> None:
        self._effect("· ", ("no effect" if stale else "no change", "dim"), note)

    def _effect(self, sign: str, words: tuple[str, str], note: str) -> None:
        self._console.print(Text.assemble((INDENT, ""), (sign, words[1]), words, (f"  {note}" if note else "", "dim")))

    def table(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Where every restore stands."""
        self._heading("Where every restore stands")
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column("restore", no_wrap=True)
        table.add_column("decision, and why", width=36)
        table.add_column("what to do next", width=15)
        table.add_column("proof", no_wrap=True)
        for document in documents:
            table.add_row(
                f"{document['tenant_id']}\n{document['restore_run_id']}",
                Text.assemble((document["status"], state_style(document["state"])), (f"\n{document['reason']}", "dim")),
                document["primary_next_action"]["label"],
                _proof(document),
            )
        self._console.print(table)
        self._print("\nNever to be claimed, for none of them: " + ", ".join(FORBIDDEN_CLAIMS) + ".", "bold")

    def explain(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Why one of them is decided as it is."""
        document = documents.get("/".join(EXPLAINED))
        if document is None:
            return
        diagnostics = document["diagnostics"]
        rule = next(rule for rule in RULES if rule.name == diagnostics["rule"])
        meanings = {row.code: row.when for row in INCONSISTENCIES}
        inputs = diagnostics["inputs"]
        self._heading(f"Why is {document['restore_run_id']} decided so?")
        self._print(
            f"Its own record says {inputs['restore_run']['status']}, {document['result_summary']['text']}. "
            f"The decision is: {document['status']}."
        )
        contradictions = [f"{code}: {meanings[code]}" for code in diagnostics["inconsistencies"]]
        for name, lines in (
            ("rule", [f"{rule.name}. {rule.when}"]),
            ("because", diagnostics["because"]),
            ("why so", [rule.why]),
            ("contradiction", contradictions),
            ("it means", [document["impact"]]),
            ("do next", [document["primary_next_action"]["label"]]),
            ("may claim", document["claims"]["allowed"] or ["nothing"]),
            ("may not", document["claims"]["forbidden"]),
        ):
            self._row(name, ", ".join(lines) if name.startswith("may") else " ".join(lines))

    def _row(self, name: str, text: str) -> None:
        row = Table.grid(padding=(0, 1))
        row.add_column(width=14, style="bold")
        row.add_column()
        row.add_row(name, text)
        self._console.print(row)

    def log(self, text: str) -> None:
        """The worker's log, after a failure."""
        self._heading("The worker's log")
        self._print(text)

    def end(self, differences: Sequence[str], seconds: float) -> None:
        self._console.print()
        for difference in differences:
            self._print(f"✗ {difference}", "bold red")
        if differences:
            self._print(f"\nNot as the story must give it ({seconds:.0f} s).", "bold red")
        else:
            self._print(f"✓ Everything is as the story must give it ({seconds:.0f} s).", "bold green")

    def _heading(self, text: str) -> None:
        self._console.print()
        self._console.print(Rule(Text(text, style="bold"), align="left", style="dim"))
        self._console.print()

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style))


def _proof(document: Mapping[str, Any]) -> Text:
    operation, evidence = document["operation_proof"]["state"], document["post_run_evidence"]["state"]
    cause = document["post_run_evidence"]["cause"]
    why_not = "" if cause in {None, "none"} else cause.replace("_", " ").replace("predates completion", "too old")
    lines = Text()
    lines.append(f"{PROOF_SIGNS[operation]} operation\n", "green" if operation == "available" else "dim")
    words = "unreadable" if document["diagnostics"]["rule"] == "input_unreadable" else f"evidence {why_not}".rstrip()
    lines.append(f"{PROOF_SIGNS[evidence]} {words}", "green" if evidence == "available" else "dim")
    return lines
