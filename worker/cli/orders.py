"""What commands that write orders have in common: their options, the question before, progress, and the summary."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

import typer

from contracts.printable import printable
from worker.errors import Interrupted, ProjectorError

if TYPE_CHECKING:
    from worker.operators.orders import Waiting

SAY_AFTER_LOOKS: Final = 25
"""Looks without progress after which is said what is waited for, where there is no bar: five seconds."""


def short(value: str | None) -> str | None:
    """A text of a trail. Raises typer.BadParameter for one that is too long."""
    from contracts.orders import MAX_TRAIL_LENGTH

    if value is not None and len(value) > MAX_TRAIL_LENGTH:
        raise typer.BadParameter(f"{len(value):,} characters: expected at most {MAX_TRAIL_LENGTH:,}")
    return value


def _identifier(value: str | None) -> str | None:
    from contracts.ids import is_identifier

    if value is not None and not is_identifier(value):
        raise typer.BadParameter(f"{value[:80]!r}: expected an identifier, [A-Za-z0-9._-]{{1,128}}")
    return value


Reason = Annotated[str, typer.Option("--reason", callback=short, help="Why; kept with the orders.")]
Why = Annotated[str, typer.Option("--reason", callback=short, help="Why; kept with the orders.")]
"""Where what is done cannot be undone, the reason has to be given."""
Actor = Annotated[
    str | None,
    typer.Option("--actor", callback=short, help="Who asks; else user@host. Kept as well.", show_default=False),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done and write nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Rate = Annotated[
    float | None,
    typer.Option("--rate", min=0.1, max=100_000, help="Orders a second; else as fast as it goes.", show_default=False),
]
Tenant = Annotated[
    str | None, typer.Option("--tenant", callback=_identifier, help="Only this tenant.", show_default=False)
]
OneTenant = Annotated[str, typer.Option("--tenant", callback=_identifier, help="Of this tenant.")]
Run = Annotated[
    str | None,
    typer.Option("--run", callback=_identifier, help="Only this restore run of the tenant.", show_default=False),
]


def ask(question: str, *, yes: bool) -> None:
    """Ask before going on, unless told not to. Exit code 1 for a no, 2 where there is nobody to be asked."""
    if yes:
        return
    need_somebody(question)
    typer.confirm(printable(question), abort=True, err=True)


def need_somebody(question: str) -> None:
    """Exit code 2 where there is nobody to be asked: said before long work that a question follows."""
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{question} Nobody can be asked here: say --yes to go on", param_hint="--yes")


def say(message: str) -> None:
    """To the person who waits, not into the results."""
    sys.stderr.write(f"restore-projector: {printable(message)}\n")


class Moves(Protocol):
    """Moves a bar. `total`: of how much, where that is known only later, or grows."""

    def __call__(self, done: int, total: int | None = ...) -> None: ...


@contextmanager
def bar(words: str, total: int | None) -> Iterator[Moves]:
    """A bar on standard error, if that is a terminal; what it gives is told how much is done, and of how much."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(words, total=total)
        yield lambda done, total=total: progress.update(task, completed=done, total=total)


@contextmanager
def waiting_bar(total: int) -> Iterator[Callable[[Waiting], None]]:
    """A bar of orders that were taken; in any case it is said what is waited for when nothing moves."""
    last, looks, away = -1, 0, None
    with bar("taken", total) as show:

        def tell(waiting: Waiting) -> None:
            nonlocal last, looks, away
            looks = looks + 1 if waiting.orders == last else 0
            last = waiting.orders
            show(max(0, total - waiting.orders))
            if (waiting.workers == 0 and looks == 1) or looks == SAY_AFTER_LOOKS or waiting.away not in {None, away}:
                say(f"waiting: {waiting.reason}. Ctrl-C ends the waiting only")
            away = waiting.away

        yield tell
        show(total)


@contextmanager
def interrupted(message: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C within ends the command with this message, which says what was done and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(message()) from None


@contextmanager
def ended_early(message: Callable[[], str]) -> Iterator[None]:
    """The same where orders are written, and as well for an error: what it says is followed by this message."""
    try:
        with interrupted(message):
            yield
    except Interrupted:
        raise
    except ProjectorError as error:
        error.add_note(message())
        raise


def changes_json(changes: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    """The changes of state, the most frequent first."""
    return [{"from": before, "to": after, "count": count} for (before, after), count in changes.most_common()]


def changes_rows(changes: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same for a table of two columns."""
    return [(f"  {before} → {after}", f"{count:,}") for (before, after), count in changes.most_common()]


def letters_rows(letters: Mapping[str, int]) -> list[tuple[str, str]]:
    """Reasons and how many were set aside for each."""
    return [(f"  {reason}", f"{count:,}") for reason, count in letters.items()]
