"""What the facts of a partition mean: the first row of `CONDITIONS` that holds, with its words.

A row is well or not. One that is not says what it is, since when as far as that can be known, and what to type next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from worker.durations import span
from worker.status.facts import Input, OpenTransaction, PartitionFacts, StoreCopy, Survey
from worker.status.motion import Motion

Name = Literal[
    "stopped", "owned_by_nobody", "rebalancing", "refused", "restoring", "waiting_for_transaction", "stuck", "slow",
    "recomputing", "caught_up", "idle",
]  # fmt: skip
NAMES: Final[tuple[Name, ...]] = get_args(Name)

LATE_MS: Final = 5_000
"""A record that has waited for so long is late; usually it is decided within 50 ms, after a restart within seconds."""
OPEN_MS: Final = 10_000
"""A transaction that has been open for so long delays what is behind it by more than anybody expects."""
IDLE_MS: Final = 60_000
"""A partition to which nothing has come for so long is called idle."""


@dataclass(frozen=True, slots=True)
class View:
    """What a row looks at."""

    facts: PartitionFacts
    motion: Motion
    survey: Survey
    group: str
    bootstrap_servers: str

    @property
    def late_ms(self) -> int:
        """How long the oldest record has waited; 0 if none does."""
        oldest = self.facts.oldest
        return 0 if oldest is None else max(0, self.survey.at - oldest)


@dataclass(frozen=True, slots=True)
class Finding:
    """`cause`: the rest of a sentence that begins with the partition and its condition. `since` in ms, if known.

    `next`: a command to type; a cause that ends with a colon leads up to it.
    """

    cause: str
    since: int | None = None
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A row: its name, a label and words for it ("partition 1 is …"), when it holds, whether all is well so."""

    name: Name
    label: str
    words: str
    holds: Callable[[View], Finding | None]
    means: str
    well: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a partition is."""

    condition: Condition
    finding: Finding


def _stopped(view: View) -> Finding | None:
    outside = next((row for row in view.facts.inputs if not row.in_log), None)
    if outside is None:
        return _went_back(view)
    return Finding(
        f"{outside.topic} is to be read on at {outside.next}, and holds {outside.low} to {outside.high}: records were"
        " removed before they were read, or the topic was made anew. When all workers are stopped:",
        next=f"kafka-consumer-groups.sh --bootstrap-server {view.bootstrap_servers} --group {view.group}"
        f" --topic {outside.topic}:{view.facts.number} --reset-offsets --to-earliest --execute",
    )


def _went_back(view: View) -> Finding | None:
    """As `worker.loop` finds it, once the store has been quiet: it is looked at after what Kafka tells."""
    store = view.facts.store
    if store is None or not store.follows or view.survey.at - store.applied_at < LATE_MS:
        return None
    for row in view.facts.inputs:
        known = store.offsets.get(row.topic, 0)
        if row.next < known and (row.committed is None or row.stream_time):
            told = "no committed offset" if row.committed is None else f"{row.committed} as the committed offset"
            return Finding(
                f"Kafka tells {told} of {row.topic}, and {known} was committed. Restart the broker that coordinates the"
                " group; its worker goes on by itself. Which one it is:",
                store.applied_at,
                f"kafka-consumer-groups.sh --bootstrap-server {view.bootstrap_servers} --group {view.group}"
                " --describe --state",
            )
    return None


def _owned_by_nobody(view: View) -> Finding | None:
    survey, facts = view.survey, view.facts
    if facts.owner is not None or survey.sharing_out or survey.group_state is None:
        return None
    workers = "no worker runs" if not survey.members else f"none of {len(survey.members)} workers has it"
    if facts.oldest is not None:
        # It may have been so before: nothing came that would show it.
        return Finding(f"{workers}, {_wait(facts.waiting)}", facts.oldest, "restore-projector run")
    return Finding(f"{workers}, nothing waits", None, "restore-projector run")


def _rebalancing(view: View) -> Finding | None:
    if not view.survey.sharing_out:
        return None
    return Finding(
        f"the group gives out its partitions ({view.survey.group_state}), which takes a few seconds; a worker that"
        " hangs holds it up until its session ends",
        view.facts.oldest,
        "restore-projector status --watch",
    )


def _refused(view: View) -> Finding | None:
    owner, touched = view.facts.owner, view.facts.policies.touched
    if owner is None or owner.policy is None or owner.policy >= touched:
        return None
    return Finding(
        f"a worker of policy {touched} has decided in it, and its worker {owner.name} on {owner.host} has only policy"
        f" {owner.policy}: an older version must not decide again what a newer one has decided. Stop that worker, so"
        " that one of the newer version takes it; if none runs:",
        view.facts.oldest,
        "restore-projector run",
    )


def _recomputing(view: View) -> Finding | None:
    facts = view.facts
    policies, owner = facts.policies, facts.owner
    policy = policies.touched if owner is None or owner.policy is None else owner.policy
    low, high = facts.documents
    if policies.complete >= policy or high <= low:
        return None
    reached = policies.reached if policies.touched == policy else 0
    return Finding(
        f"everything in it is decided again with policy {policy}, as rules or wording have changed;"
        f" {max(0, reached - low):,} of about {_records(high - low)} are done. New records are decided meanwhile",
        None,
        "restore-projector status --watch",
    )


def _restoring(view: View) -> Finding | None:
    store = view.facts.store
    if view.survey.store_error is not None or (store is not None and store.follows and not store.restoring):
        return None
    if store is None:
        cause = "Redis holds nothing of it; its worker notices within 5 s and restores it"
    elif not store.follows:
        cause = "Redis holds a copy of topics that were deleted or made anew; its worker will restore it"
    else:
        left = _time_left(store.behind, view.motion.restored)
        cause = f"{_records(store.behind)} to go" + (f", about {left}" if left else "")
    full = view.survey.store_full
    if full is not None:
        return Finding(f"{cause}. {_full(full)}", _since(store), "redis-cli INFO memory")
    return Finding(cause, _since(store), "restore-projector status --watch")


def _waiting_for_transaction(view: View) -> Finding | None:
    for opened in view.facts.transactions:
        row = next(row for row in view.facts.inputs if row.topic == opened.topic)
        if row.next >= opened.offset and view.survey.at - opened.began >= OPEN_MS:
            return Finding(_transaction_words(opened, row), opened.began, _abort(view, opened))
    return None


def _transaction_words(opened: OpenTransaction, row: Input) -> str:
    who = "a producer" if opened.transactional_id is None else f"the producer {opened.transactional_id!r}"
    ends = "" if opened.timeout_ms is None else f"; Kafka ends it {span(opened.timeout_ms)} after it began"
    return (
        f"{who} has not ended its transaction in {opened.topic}, behind which {_records(row.high - opened.offset)}"
        f" cannot be read{ends}. To end it now:"
    )


def _abort(view: View, opened: OpenTransaction) -> str:
    return (
        f"kafka-transactions.sh --bootstrap-server {view.bootstrap_servers} abort --topic {opened.topic}"
        f" --partition {view.facts.number} --start-offset {opened.offset}"
    )


def _stuck(view: View) -> Finding | None:
    return _store_refuses(view) or _takes_none(view)


def _store_refuses(view: View) -> Finding | None:
    """What was decided last is in Kafka alone: all may be taken, and readers of Redis do not see it."""
    store, full = view.facts.store, view.survey.store_full
    if full is None or store is None or not store.behind or view.survey.at - store.applied_at < LATE_MS:
        return None
    cause = f"{_records(store.behind)} of what was decided {'is' if store.behind == 1 else 'are'} not in Redis"
    return Finding(f"{cause}. {_full(full)}", store.applied_at, "redis-cli INFO memory")


def _takes_none(view: View) -> Finding | None:
    if view.late_ms < LATE_MS or view.motion.taken is None or view.motion.taken > 0:
        return None
    owner = view.facts.owner
    whose = "its worker" if owner is None else f"its worker {owner.name} on {owner.host}"
    cause = f"{_wait(view.facts.waiting)}, the oldest for {span(view.late_ms)}, and {whose} takes none"
    full = view.survey.store_full
    if full is not None:
        return Finding(f"{cause}. {_full(full)}", _last_sign(view), "redis-cli INFO memory")
    return Finding(f"{cause}. Its log says why; to restart it is safe", _last_sign(view))


def _slow(view: View) -> Finding | None:
    if view.late_ms < LATE_MS:
        return None
    facts, motion = view.facts, view.motion
    cause = f"{_wait(facts.waiting)}, the oldest for {span(view.late_ms)}"
    if motion.taken is None or motion.arrived is None:
        return Finding(cause, facts.oldest, "restore-projector status --watch")
    gained = motion.taken - motion.arrived
    speeds = f"{motion.taken:,.0f} a second are taken, {motion.arrived:,.0f} come in"
    left = _time_left(facts.waiting, gained)
    outlook = f"about {left} to go" if left else "it falls behind"
    members = len(view.survey.members)
    more = members < len(view.survey.partitions)
    return Finding(
        f"{cause}; {speeds}: {outlook}",
        facts.oldest,
        "restore-projector run" if more and gained <= 0 else "restore-projector status --watch",
    )


def _caught_up(view: View) -> Finding | None:
    facts = view.facts
    if not facts.waiting and view.survey.at - facts.last_came > IDLE_MS:
        return None
    return Finding(f"{_wait(facts.waiting)}" if facts.waiting else "nothing waits")


def _idle(view: View) -> Finding | None:
    time = view.facts.last_came
    return Finding("nothing has come" if time == 0 else f"nothing has come for {span(view.survey.at - time)}")


CONDITIONS: Final = (
    Condition(
        "stopped", "stopped", "stopped", _stopped,
        "Records of an input were removed before they were read, or Kafka tells an older offset than was committed. The"
        " others go on.",
    ),
    Condition(
        "owned_by_nobody", "owned by nobody", "owned by nobody", _owned_by_nobody,
        "No worker has it, so nothing of it is decided.",
    ),
    Condition(
        "rebalancing", "rebalancing", "being given out", _rebalancing,
        "The group gives out its partitions; for the seconds that this takes nobody works on it.",
    ),
    Condition(
        "refused", "refused", "refused by its worker", _refused,
        "A newer version has decided in it, and its worker is older. Nothing of it is decided; the others go on.",
    ),
    Condition(
        "restoring", "restoring", "restoring", _restoring,
        'Its part of Redis is read from Kafka; readers are told "not yet" meanwhile.',
    ),
    Condition(
        "waiting_for_transaction", "open transaction", "waiting for an open transaction", _waiting_for_transaction,
        "A source has had a transaction open for 10 s or longer, and nothing behind it can be read.",
    ),
    Condition(
        "stuck", "stuck", "stuck", _stuck,
        "A record has waited for 5 s or longer, and while we looked none was taken; or Redis is full, and takes none.",
    ),
    Condition(
        "slow", "slow", "slow", _slow,
        "A record has waited for 5 s or longer, and records are taken.",
    ),
    Condition(
        "recomputing", "recomputing", "recomputing", _recomputing,
        "Rules or wording have changed, and everything in it is decided again; only what differs is published.",
    ),
    Condition(
        "caught_up", "caught up", "caught up", _caught_up,
        "All is decided, or what waits came within the last 5 s.", well=True,
    ),
    Condition(
        "idle", "idle", "idle", _idle,
        "All is decided, and nothing has come for a minute.", well=True,
    ),
)  # fmt: skip
"""In the order in which they count: the first that holds. The last always does."""


def judge(view: View) -> Verdict:
    """How a partition is."""
    for condition in CONDITIONS:
        finding = condition.holds(view)
        if finding is not None:
            return Verdict(condition, finding)
    raise AssertionError("the last condition always holds")


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"


def _wait(count: int) -> str:
    return f"{_records(count)} {'waits' if count == 1 else 'wait'}"


def _time_left(count: int, a_second: float | None) -> str | None:
    """`40 s`; None where it gets no less, or not noticeably."""
    if a_second is None or a_second < 1:
        return None
    return span(max(1, round(count / a_second)) * 1000)


def _full(full: tuple[int, int]) -> str:
    used, allowed = full
    return f"Redis is full: {used >> 20} MB used, maxmemory is {allowed >> 20} MB"


def _since(store: StoreCopy | None) -> int | None:
    return None if store is None else store.status_since


def _last_sign(view: View) -> int | None:
    """When it certainly went on: its store was written to, a record that waits came, or what moved while we looked."""
    store = view.facts.store
    signs = [view.facts.oldest, None if store is None else store.applied_at]
    if view.motion.moved_at is not None:
        signs.append(view.motion.moved_at)
    known = [sign for sign in signs if sign is not None]
    return max(known, default=None)
