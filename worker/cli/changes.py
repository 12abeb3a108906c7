"""State changes as lines: on a terminal as wide as that is, elsewhere as wide as they have to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from projections.matrix import WORDS
from worker.cli.screen import SIGNS, state_style

STATUS_WIDTH: Final = max(len(words.status) for words in WORDS.values())
MIN_ID_WIDTH: Final = 8
BESIDE_IDS: Final = len("10:00:00 ▲ ") + len(" ") + len(" ") + STATUS_WIDTH
"""What a line on a terminal takes besides the two identifiers."""
TIME_END: Final = len("10:00:00")


class ChangeLines:
    """Lines whose columns are as wide as what came so far; on a terminal identifiers are cut where there is no room.

    Not on a terminal a line has everything: the whole time, the severity, the state before, the origin if not live.
    """

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._tenant_width = self._run_width = MIN_ID_WIDTH
        self._day = ""

    def show(self, change: Mapping[str, Any]) -> None:
        if not self._console.is_terminal:
            print(self._line(change).plain.rstrip())
            return
        day = change["changed_at"].partition("T")[0]
        if day != self._day:
            self._day = day
            self._console.print(Text(f"── {day} (UTC)", style="dim"))
        self._console.print(self._short_line(change, self._console.width))

    def _line(self, change: Mapping[str, Any]) -> Text:
        head = f"{change['changed_at']} {change['severity']:8} {SIGNS[change['direction']]} "
        return Text.assemble(head, self._ids(change, None), f" {_status(change):{STATUS_WIDTH}}", *_more(change))

    def _short_line(self, change: Mapping[str, Any], width: int) -> Text:
        time = change["changed_at"].partition("T")[2][:TIME_END]
        style = state_style(change["to_state"])
        line = Text.assemble(
            (time, "dim"),
            (f" {SIGNS[change['direction']]} ", style),
            self._ids(change, width - BESIDE_IDS),
            (f" {_status(change)}", style),
        )
        for part in _more(change):
            if line.cell_len + len(part) <= width:
                line.append(part, "dim")
        return line

    def _ids(self, change: Mapping[str, Any], room: int | None) -> str:
        tenant, run = change["tenant_id"], change["restore_run_id"]
        self._tenant_width = max(self._tenant_width, len(tenant))
        self._run_width = max(self._run_width, len(run))
        if room is None:
            return f"{tenant:{self._tenant_width}} {run:{self._run_width}}"
        tenant_room = min(self._tenant_width, max(room // 2, room - self._run_width, MIN_ID_WIDTH))
        run_room = min(self._run_width, max(room - tenant_room, MIN_ID_WIDTH))
        return f"{_cut(tenant, tenant_room):{tenant_room}} {_cut(run, run_room):{run_room}}"


def _cut(text: str, room: int) -> str:
    """As much of a text as there is room for, the end rather than the beginning: it is what tells ids apart."""
    return text if len(text) <= room else f"…{text[1 - room :]}"


def _status(change: Mapping[str, Any]) -> str:
    return change["status"] or "Removed"


def _more(change: Mapping[str, Any]) -> list[str]:
    before, origin = change["from_state"], change["origin"]
    was = [] if before is None else [f" (was: {WORDS[before].status})"]
    return was if origin == "live" else [f" [{origin}]", *was]
