"""A partition number that this worker owns, from taking over to losing it.

    TAKING_OVER ──▶ RESTORING ──▶ RUNNING
         │              │             │
         └──────────────┴─────────────┴──▶ (dropped: lost, or taken over again)

    TAKING_OVER   the assignment is known, the store's position is not
    RESTORING     the store is behind the log; inputs are paused, reading stops for nobody else's partition
    RUNNING       the store is where the log is; inputs flow
    STOPPED       its committed offset is outside its input's log, or went back: going on would jump, silently; or a
                  newer version has decided in it: going on would undo that

There is no way back: whatever goes wrong, the partition is dropped with all that is known of it in memory and taken
over anew (`worker.loop`). So what a `Partition` holds is always what was read or committed since its take-over.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from worker.errors import PartitionStopped
from worker.merge import Merge
from worker.ports import Ends, Policies, Position
from worker.recompute import Recompute


class Phase(enum.Enum):
    TAKING_OVER = "taking_over"
    RESTORING = "restoring"
    RUNNING = "running"
    STOPPED = "stopped"


NEXT: dict[Phase, frozenset[Phase]] = {
    Phase.TAKING_OVER: frozenset({Phase.RESTORING, Phase.STOPPED}),
    Phase.RESTORING: frozenset({Phase.RUNNING, Phase.STOPPED}),
    Phase.RUNNING: frozenset(),
    Phase.STOPPED: frozenset(),
}


@dataclass(slots=True)
class Partition:
    """What is known of an owned partition number.

    `offsets`: next offset to be merged of each input topic. `stream_time`: in ms. `next_due`: no deadline in the store
    is earlier (ms), None if there is none. `waiting_since`: monotonic seconds since when an input that holds more than
    was polled has kept the others waiting. `given_up`: where inputs stood that were waited for in vain. `looked_at`:
    monotonic seconds when an idle partition's store was last asked; `applied_at`: the clock's ms when it was last
    written. `paused`: inputs that are not fetched, as enough of them is in memory. `policies`: what its documents were
    decided with; `recompute`: while they are being decided again, how far that has come. `stopped_by`: why it is.
    `look_again_at`: monotonic seconds when to see whether that is over; None if it does not pass by itself.
    """

    number: int
    merge: Merge
    offsets: dict[str, int]
    stream_time: int
    ends: Ends
    position: Position
    phase: Phase = Phase.TAKING_OVER
    next_due: int | None = None
    waiting_since: float | None = None
    given_up: dict[str, int] = field(default_factory=dict)
    looked_at: float = 0.0
    applied_at: int = 0
    paused: set[str] = field(default_factory=set)
    policies: Policies = field(default_factory=Policies)
    recompute: Recompute | None = None
    stopped_by: PartitionStopped | None = None
    look_again_at: float | None = None

    def become(self, phase: Phase) -> None:
        assert phase in NEXT[self.phase], f"partition {self.number} went from {self.phase} to {phase}"
        self.phase = phase

    @property
    def is_restored(self) -> bool:
        """The store has everything that the log had when the partition was taken over."""
        return self.position.state >= self.ends.high_state and self.position.internal >= self.ends.high_internal
