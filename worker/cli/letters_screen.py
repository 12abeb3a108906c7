"""How dead letters are shown: readable at 80 columns, on a terminal and in a file, whatever is in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from contracts.events import Record
from contracts.letters import MEANINGS, REASONS, REMEDIES, Letter
from contracts.printable import printable
from contracts.times import LATEST, format_time
from worker.cli.output import print_table
from worker.cli.screen import MAX_WIDTH
from worker.durations import ago
from worker.operators.letters import Entry, Handling, Place
from worker.operators.marking import Line, place_of, value_lines
from worker.operators.tally import Listed, Tally

Handlings = Mapping[Place, Sequence[Handling]]

MARK: Final = "▶"
WRONG: Final = "bold red"
MAX_HEADER: Final = 300
"""Characters of a header's value, or of a key, that are shown."""


# list


def print_list(tally: Tally, handlings: Handlings, now: int, *, handled: bool) -> None:
    """Counts by reason, then the newest letters with what is wrong with each."""
    print(headline(tally, handled=handled))
    if not tally.counts:
        return
    print()
    head = ("reason", "open", *(("handled",) if handled else ()), "first", "last")
    print_table(head, [*_count_rows(tally, handled=handled)])
    print()
    console = _console()
    for listed in tally.newest:
        _print_listed(console, listed, handlings.get(listed.entry.place, ()), now)
    more = tally.open + tally.handled - len(tally.newest)
    if more:
        print(f"… and {more:,} more: --limit shows more of them, other options narrow them down.")


def headline(tally: Tally, *, handled: bool) -> str:
    """How many there are."""
    if not tally.open and not tally.handled:
        return "No dead letter." if handled else "No open dead letter."
    opened = "1 open dead letter" if tally.open == 1 else f"{tally.open:,} open dead letters"
    return f"{opened}, {tally.handled:,} handled." if handled else f"{opened}."


def _count_rows(tally: Tally, *, handled: bool) -> Iterator[tuple[str, ...]]:
    for reason, count in tally.by_reason():
        counts = (f"{count.open:,}", *((f"{count.handled:,}",) if handled else ()))
        yield (reason, *counts, seconds(count.oldest), seconds(count.newest))


def _print_listed(console: Console, listed: Listed, handlings: Sequence[Handling], now: int) -> None:
    """Two lines, and one for each thing that was done."""
    entry = listed.entry
    head = f"{entry.place!s:<9} {seconds(entry.record.timestamp)} {entry.reason:<18} {entry.tenant or _key(entry)}"
    _print_line(console, Text(head.rstrip(), "dim" if handlings else "bold"))
    _print_line(console, Text(f"  {entry.detail}"))
    for handling in handlings:
        _print_line(console, Text(f"  {_done(handling, now)}", "green"))


def done_words(handling: Handling) -> str:
    """What was done, when, by whom and why, for a sentence."""
    why = f" ({handling.why})" if handling.why else ""
    return f"{handling.deed} at {seconds(handling.at)} by {handling.actor or 'nobody named'}{why}"


def _done(handling: Handling, now: int) -> str:
    why = f": {handling.why}" if handling.why else ""
    return f"{handling.deed} {ago(max(0, now - handling.at))} by {handling.actor or 'nobody named'}{why}"


def tally_json(tally: Tally, handlings: Handlings) -> dict[str, Any]:
    return {
        "open": tally.open,
        "handled": tally.handled,
        "reasons": [
            {
                "reason": reason,
                "open": count.open,
                "handled": count.handled,
                "first": _time(count.oldest),
                "last": _time(count.newest),
            }
            for reason, count in tally.by_reason()
        ],
        "letters": [
            {
                **_entry_json(listed.entry),
                "value_bytes": listed.bytes,
                "handled": [_handling_json(handling) for handling in handlings.get(listed.entry.place, ())],
            }
            for listed in tally.newest
        ],
    }


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "letter": str(entry.place),
        "set_aside_at": _time(entry.record.timestamp),
        "reason": entry.reason,
        "detail": entry.detail,
        "tenant": entry.tenant,
        "source": None if entry.letter is None else _source_json(entry.letter),
    }


def _source_json(letter: Letter) -> dict[str, Any]:
    return {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp": letter.timestamp,
    }


def _handling_json(handling: Handling) -> dict[str, Any]:
    return {
        "what": handling.deed,
        "at": _time(handling.at),
        "actor": handling.actor,
        "why": handling.why,
        "request": handling.request,
        "ops_offset": handling.offset,
    }


# show


def print_letter(entry: Entry, handlings: Sequence[Handling], now: int) -> None:
    """All that there is of a letter; coloured on a terminal, without blanks at the ends of lines elsewhere."""
    console = _console()
    if console.is_terminal:
        _print_letter(console, entry, handlings, now)
        return
    with console.capture() as captured:
        _print_letter(console, entry, handlings, now)
    for line in captured.get().splitlines():
        print(line.rstrip())


def _print_letter(console: Console, entry: Entry, handlings: Sequence[Handling], now: int) -> None:
    state = handlings[-1].deed if handlings else "open"
    console.print(Text(f"Dead letter {entry.place}, {state}", "bold"))
    console.print(Text(entry.detail, WRONG))
    console.print()
    _grid(console, _about(entry, now))
    _heading(console, "Headers")
    _headers(console, entry)
    value = entry.record.value
    _heading(console, "Value, null" if value is None else f"Value, {len(value):,} bytes")
    for line in value_lines(value, entry.detail):
        _print_line(console, _marked(line), cut=False)
    if entry.before:
        _heading(console, "Set aside before")
        _grid(console, [(letter.reason, printable(letter.detail)) for letter in entry.before])
    _heading(console, "What was done")
    done = [(seconds(handling.at), _done(handling, now)) for handling in handlings]
    _grid(console, done or [("nothing", f"restore-projector deadletters redrive {entry.place}, or dismiss")])


def _about(entry: Entry, now: int) -> Iterator[tuple[str, str]]:
    record, letter = entry.record, entry.letter
    yield "reason", f"{entry.reason}. {_meaning(entry.reason, MEANINGS)}".strip()
    if letter is not None:
        yield "do", _meaning(entry.reason, REMEDIES)
    yield "set aside", f"{_time(record.timestamp)}, {ago(max(0, now - record.timestamp))}"
    if letter is not None:
        yield "record", f"{printable(letter.topic)} partition {letter.partition} offset {letter.offset}"
        yield "of", _time(letter.timestamp)
    yield _sign(entry, "key"), _key(entry)


def _meaning(reason: str, words: Mapping[Any, str]) -> str:
    return words[reason].replace("`", "") if reason in REASONS else ""


def _sign(entry: Entry, place: str) -> str:
    """A name, marked where the error is there."""
    return f"{MARK} {place}" if place_of(entry.detail) == place else place


def _headers(console: Console, entry: Entry) -> None:
    rows = []
    wrong = place_of(entry.detail).removeprefix("header ")
    is_header = place_of(entry.detail).startswith("header ")
    for name, value in entry.headers:
        marked = is_header and name.lower() == wrong
        rows.append((f"{MARK if marked else ' '} {printable(str(name))}", _text(value)))
    if is_header and not any(row[0].startswith(MARK) for row in rows):
        rows.append((f"{MARK} {wrong}", "is not there"))
    _grid(console, rows or [("none", "")])


def _marked(line: Line) -> Text:
    style = WRONG if line.marked else "dim" if line.left_out else ""
    return Text(f"{MARK if line.marked else ' '} {line.text}", style)


def letter_json(entry: Entry, handlings: Sequence[Handling]) -> dict[str, Any]:
    """All of it. What is no text is in base64, under a name that says so."""
    record = entry.record
    return {
        **_entry_json(entry),
        "open": not handlings,
        "place": place_of(entry.detail),
        "key": _bytes_json(record.key),
        "headers": [{"name": str(name), **_bytes_json(value)} for name, value in entry.headers],
        "value_bytes": None if record.value is None else len(record.value),
        "value": _bytes_json(record.value),
        "set_aside_before": [
            {"reason": letter.reason, "detail": printable(letter.detail), "source": _source_json(letter)}
            for letter in entry.before
        ],
        "handled": [_handling_json(handling) for handling in handlings],
    }


def _bytes_json(data: bytes | None) -> dict[str, str | None]:
    import base64

    try:
        return {"text": None if data is None else data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data or b"").decode()}


# Both


def seconds(at: int) -> str:
    """A time without its milliseconds, which programs get."""
    return f"{_time(at)[: len('2026-11-01T10:00:00')]}Z"


def _time(at: int) -> str:
    """A record may be stamped in microseconds, which is beyond the year 9999."""
    return format_time(max(0, min(at, LATEST)))


def _key(entry: Entry) -> str:
    record: Record = entry.record
    return "no key" if record.key is None else _text(record.key)


def _text(data: bytes | None) -> str:
    if data is None:
        return "null"
    try:
        text = printable(data.decode())
    except UnicodeDecodeError:
        text = f"0x{data[: MAX_HEADER // 2].hex()}"
    return text if len(text) <= MAX_HEADER else f"{text[:MAX_HEADER]}… ({len(data):,} bytes)"


def _console() -> Console:
    console = Console(highlight=False)
    return Console(highlight=False, width=MAX_WIDTH) if console.width > MAX_WIDTH else console


def _print_line(console: Console, line: Text, *, cut: bool = True) -> None:
    """One line: as wide as the terminal is, elsewhere as wide as it has to be; or folded, if it may not be cut."""
    if not console.is_terminal and cut:
        print(line.plain.rstrip())
        return
    console.print(line, no_wrap=cut, overflow="ellipsis" if cut else "fold")


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Rule(Text(text, style="bold"), align="left", style="dim"))


def _grid(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """Lines of a name and a text, the names as wide as the widest, up to a third of the width."""
    shown = list(rows)
    width = min(max((len(name) for name, _ in shown), default=0), console.width // 3)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=width, overflow="fold")
    grid.add_column(overflow="fold")
    for name, text in shown:
        style = WRONG if name.startswith(MARK) else ""
        grid.add_row(Text(name, style), Text(text, style))
    console.print(Padding(grid, 0))
