"""The invariants of an installation in which versions of the rules have followed one another.

Which run was decided again when depends on when workers were replaced, so revisions and times are nobody's promise.
What is: facts are those of the fold, whose rules make no difference to them; every last document is as the newest
version decides it; documents of an older one never follow those of a newer one; what was published because of the rules
differs in more than the policy and is never called live.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from contracts.decision import decode
from contracts.events import Record
from contracts.times import parse_time
from projections.afresh import DECIDED
from tests.consistency import invariants
from tests.consistency.checking import Inconsistent, _fold, wait_for_rest
from tests.consistency.fold import UNFINISHED, Folded, Indexed
from tests.consistency.invariants import Case, last_values
from tests.consistency.observation import Observation, observe
from tests.versions import decided_by
from worker.settings import Settings


def check_versions(settings: Settings, newest: int) -> None:
    """Wait for rest and check everything, all versions up to the newest having been there. Raises Inconsistent."""
    seen = observe(settings, at=wait_for_rest(settings))
    folded = {}
    for version in range(1, newest + 1):
        with decided_by(version):
            folded[version] = _fold(seen, settings)
    with decided_by(newest):
        found = list(violations_of_versions(seen, folded))
    if found:
        raise Inconsistent(found)


OF_ANY_VERSION: Final = (
    invariants._both_readers_agree,
    invariants._no_transaction_is_open,
    invariants._every_input_is_accounted_for,
    invariants._all_input_is_committed,
    invariants._no_output_comes_from_beyond,
    invariants._records_in_redis_are_the_last_in_kafka,
    invariants._indexes_in_redis_agree,
    invariants._positions_are_at_the_end,
)
"""Those of one version that hold whatever is decided; the indexes are those of the documents that there are."""


def violations_of_versions(seen: Observation, folded: Mapping[int, Mapping[int, Folded]]) -> Iterator[str]:
    """Whatever does not hold. `folded`: what each version would have made of each partition alone."""
    newest = folded[max(folded)]
    indexed = {number: replace(one, index=_index(seen, number)) for number, one in newest.items()}
    for invariant in OF_ANY_VERSION:
        yield from invariant(Case(seen, indexed))
    for number in range(seen.partitions):
        documents = seen.log[seen.topics.decision_state, number]
        changes = seen.log[seen.topics.decision_changes, number]
        yield from _internal_records_are_those_of_the_fold(seen, number, newest[number])
        yield from _no_older_version_follows_a_newer_one(documents)
        yield from _only_differences_are_published(documents)
        yield from _the_newest_has_decided_everything(seen, number, newest[number])
        yield from _changes_follow_each_other(changes, last_values(documents))
        yield from _what_is_live_some_version_alone_would_say(
            changes, [by_partition[number] for by_partition in folded.values()]
        )


def _internal_records_are_those_of_the_fold(seen: Observation, number: int, folded: Folded) -> Iterator[str]:
    """But for the revision and the times of a run that was deleted."""
    last = last_values(seen.log[seen.topics.internal, number])
    for key in sorted(last.keys() | folded.internal.keys()):
        found, expected = last.get(key), folded.internal.get(key)
        if found is not None and expected is not None and key.startswith("deleted-run/"):
            if decode(found)["sequence"] != decode(expected)["sequence"]:
                yield f"partition {number} {key}: expected {expected!r}, found {found!r}"
        elif found != expected and not invariants._differs_by_merge_only(found, expected):
            yield f"partition {number} {key}: expected {expected!r}, found {found!r}"


def _index(seen: Observation, number: int) -> dict[str, Indexed]:
    index = {}
    for key, value in last_values(seen.log[seen.topics.decision_state, number]).items():
        document = decode(value)
        dry = document["diagnostics"]["inputs"]["restore_run"]["is_dry_run"]
        unfinished = document["state"] in UNFINISHED and not dry
        names = document["tenant_id"], document["restore_run_id"], document["state"]
        index[key] = Indexed(*names, parse_time(document["changed_at"]), unfinished)
    return index


def _no_older_version_follows_a_newer_one(documents: list[Record]) -> Iterator[str]:
    newest = 0
    for record in documents:
        policy = 0 if record.value is None else decode(record.value)["policy"]
        if record.value is not None and policy < newest:
            yield f"{_of(record)}: a document of policy {policy} follows one of {newest}"
        newest = max(newest, policy)


def _only_differences_are_published(documents: list[Record]) -> Iterator[str]:
    """Of the same facts only what the rules make of them can be the next revision.

    Behind several revisions at once facts may be again what they were.
    """
    last: dict[bytes | None, dict[str, Any]] = {}
    for record in documents:
        document = {} if record.value is None else decode(record.value)
        before = last.get(record.key, {})
        next_one = bool(document and before) and document["revision"] == before["revision"] + 1
        if next_one and document["diagnostics"]["inputs"] == before["diagnostics"]["inputs"]:
            if all(document[name] == before[name] for name in DECIDED):
                yield f"{_of(record)}: published again with the same facts and the same decision"
            if document["policy"] == before["policy"]:
                yield f"{_of(record)}: decided again by the same policy, and otherwise"
        last[record.key] = document


def _the_newest_has_decided_everything(seen: Observation, number: int, newest: Folded) -> Iterator[str]:
    last = last_values(seen.log[seen.topics.decision_state, number])
    expected = {
        run: published.value
        for run in newest.documents
        if (published := newest.last_document(run)) is not None and published.value is not None
    }
    for run in sorted(last.keys() | expected.keys()):
        if run not in last or run not in expected:
            yield f"partition {number} run {run}: {'not there' if run not in last else 'there, and should not be'}"
            continue
        found, wanted = decode(last[run]), decode(expected[run])
        for name in DECIDED:
            if found[name] != wanted[name]:
                yield f"partition {number} run {run}: {name} is {found[name]!r}, the newest rules say {wanted[name]!r}"


def _changes_follow_each_other(changes: list[Record], last: Mapping[str, bytes]) -> Iterator[str]:
    """Each from the state that the one before led to, in a revision of its own; a run may begin anew once removed."""
    states: dict[str, str | None] = {}
    revisions: dict[str, int] = {}
    for record in changes:
        change, run = decode(record.value or b"{}"), (record.key or b"").decode()
        if change["from_state"] != states.get(run):
            yield f"{_of(record)} run {run}: a change from {change['from_state']}, and it was {states.get(run)}"
        if change["revision"] <= revisions.get(run, 0) and states.get(run) is not None:
            yield f"{_of(record)} run {run}: expected a revision above {revisions[run]}, found {change['revision']}"
        states[run], revisions[run] = change["to_state"], change["revision"]
    for run in sorted(states.keys() | last.keys()):
        state = decode(last[run])["state"] if run in last else None
        if states.get(run) != state:
            yield f"run {run}: the last change led to {states.get(run)}, the document says {state}"


def _what_is_live_some_version_alone_would_say(changes: list[Record], folded: list[Folded]) -> Iterator[str]:
    """A consumer that alerts on what is live is not woken by new rules."""
    said: Counter[tuple[Any, ...]] = Counter()
    for one in folded:
        alone = Counter(
            _said(run, decode(change.value or b"{}")) for run, chain in one.changes.items() for change in chain
        )
        said |= alone
    found: dict[tuple[Any, ...], int] = defaultdict(int)
    for record in changes:
        change, run = decode(record.value or b"{}"), (record.key or b"").decode()
        if change["origin"] == "recompute":
            continue
        what = _said(run, change)
        found[what] += 1
        if found[what] > said[what]:
            yield f"{_of(record)} run {run}: {what[1:]}, which no version alone would say"


def _said(run: str, change: dict[str, Any]) -> tuple[Any, ...]:
    cause = change["cause"]
    return (
        run,
        change["origin"],
        *(change[name] for name in ("from_state", "to_state")),
        *(cause[name] for name in ("entity", "id", "sequence")),
    )


def _of(record: Record) -> str:
    return f"{record.topic} partition {record.partition} offset {record.offset}"
