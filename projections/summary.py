"""The result summary: known counts as they are, and never a zero that nobody counted.

The contract ("no fake zeros", state 1) and interfaces, section 5.
"""

from __future__ import annotations

from typing import Any, Final

from contracts.decision import State
from contracts.facts import NO_COUNTS, Counts, counts_to_json
from projections.matrix import WORDS

PARTS: Final = (("failed", "failed"), ("skipped", "skipped"), ("partial", "partial"), ("non_applied", "not applied"))
"""The counts that are named when they are above 0, in this order, and their words."""


def summarize(counts: Counts, state: State) -> dict[str, Any]:
    """`result_summary` of a state document; `counts` always has all six names, null where not known."""
    if counts == NO_COUNTS:
        words = WORDS[state]
        return {"kind": words.summary_kind, "text": words.summary, "counts": counts_to_json(counts)}
    return {"kind": "counts", "text": counts_text(counts), "counts": counts_to_json(counts)}


def counts_text(counts: Counts) -> str:
    """Known counts in words, as "12 items: 10 succeeded, 2 skipped"; at least one must be known."""
    parts = [] if counts.succeeded is None else [f"{counts.succeeded} succeeded"]
    parts += shortfalls(counts)
    if counts.total is not None:
        items = "1 item" if counts.total == 1 else f"{counts.total} items"
        return f"{items}: {', '.join(parts)}" if parts else items
    return ", ".join(parts or [f"0 {word}" for name, word in PARTS if getattr(counts, name) is not None])


def shortfalls(counts: Counts) -> list[str]:
    """The parts that did not succeed, where they are above 0: ["2 failed", "1 not applied"]."""
    return [f"{count} {word}" for name, word in PARTS if (count := getattr(counts, name))]
