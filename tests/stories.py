"""Seeded traffic: many restores at once, each with everything that can happen to one, in an order that counts.

A story is one operation or two, the runs that name them and their snapshots, from the first draft to evidence, with
what real sources do besides: duplicates, late events, relinking, deletions and returns, tombstones, records that cannot
be read, operators' commands. Stories are told in rounds: of each the next step, then, at least 100 ms later, of each
the one after. So a story's order in time is certain, and a hundred of them together are still a lot of traffic.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Final, Self, TypeAlias

from contracts.facts import ATTENTION_STATES, OUTCOMES, RUN_STATUSES, SNAPSHOT_STATUSES
from contracts.topics import Topics
from tests.servers.waiting import wait_until
from tests.traffic import (
    FORMS,
    STEP_MS,
    Event,
    Message,
    Place,
    Sender,
    encode,
    message,
    now_ms,
    operation,
    run,
    snapshot,
)

Story: TypeAlias = Generator[list[Message], list[Place], None]
"""Yields the messages of its next step, all of one topic, and is told where they went."""

TENANTS: Final = 12
STEPS: Final = (12, 30)
"""Fewest and most steps of a story."""
EXPIRY_MS: Final = (300, 2_000)
"""How soon evidence expires, where it does: while the traffic goes on."""
TRAFFIC_END_S: Final = 60.0
"""Kafka may be down meanwhile."""


class Stories:
    """Makes stories from a seed. `topics`: where their messages go."""

    def __init__(self, seed: int, send: Sender, tenants: int = TENANTS) -> None:
        self._random = random.Random(seed)
        self._topics = send.topics
        self._tenants = tenants
        self._made = 0

    def next(self) -> Story:
        self._made += 1
        return _Telling(random.Random(self._random.random()), self._made, self._tenants).tell(self._topics)


class _Telling:
    """One story. Sequences grow with every event made, so a later event is a newer one unless it is sent late."""

    def __init__(self, choose: random.Random, number: int, tenants: int) -> None:
        self._choose = choose
        self._tenant = f"t-{choose.randrange(tenants)}"
        self._operations = [f"op-{number}", f"op-{number}-b"][: choose.choice((1, 1, 2))]
        self._runs = [f"rr-{number}-{n}" for n in range(choose.choice((1, 1, 1, 2, 3)))]
        self._snapshots = [f"es-{number}-{n}" for n in range(3)]
        self._sequence = 0
        self._sent: list[tuple[Message, Place]] = []

    def tell(self, topics: Topics) -> Story:
        for _ in range(self._choose.randint(*STEPS)):
            messages = self._step(topics)
            places = yield messages
            self._sent += zip(messages, places, strict=True)

    def _step(self, topics: Topics) -> list[Message]:
        steps: list[tuple[int, Callable[[Topics], list[Message]]]] = [
            (30, self._a_run),
            (20, self._an_operation),
            (25, self._a_snapshot),
            (5, self._a_deletion),
            (5, self._a_duplicate),
            (5, self._something_late),
            (3, self._a_tombstone),
            (4, self._something_unreadable),
            (2, self._garbage),
            (2, self._a_replay),
            (2, self._a_recompute),
        ]
        weights, made = zip(*steps, strict=True)
        step: Callable[[Topics], list[Message]] = self._choose.choices(made, weights)[0]
        return step(topics)

    def _form(self, event: Event, topics: Topics) -> Message:
        if self._choose.random() < 0.2:
            event = event.traced(f"00-{self._choose.getrandbits(127) + 1:032x}-00f067aa0ba902b7-01")
        return message(event, topics, self._choose.choice(FORMS))

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _operation_id(self) -> str | None:
        return self._choose.choice([*self._operations * 4, None]) if self._sequence > 3 else self._operations[0]

    def _run_event(self) -> Event:
        counts = {name: self._choose.choice((0, 0, 3, 12)) for name in ("failed", "skipped", "partial")}
        return run(
            self._tenant,
            self._choose.choice(self._runs),
            self._next(),
            self._choose.choice((*RUN_STATUSES, *["completed"] * 9)),
            self._operation_id(),
            counts=self._choose.choice(
                (*[{"total": 12, "succeeded": 12}] * 3, {"total": 12, "succeeded": 9, **counts}, None)
            ),
            is_dry_run=self._choose.random() < 0.05,
            result_attention=self._choose.choice((None, None, None, {"state": self._choose.choice(ATTENTION_STATES)})),
        )

    def _a_run(self, topics: Topics) -> list[Message]:
        return [self._form(self._run_event(), topics)]

    def _an_operation(self, topics: Topics) -> list[Message]:
        status = self._choose.choice(("queued", "running", *["completed"] * 6))
        outcome = self._choose.choice((*OUTCOMES, *["succeeded"] * 6)) if status == "completed" else None
        return [
            self._form(
                operation(self._tenant, self._choose.choice(self._operations), self._next(), status, outcome), topics
            )
        ]

    def _a_snapshot(self, topics: Topics) -> list[Message]:
        status = self._choose.choice((*SNAPSHOT_STATUSES, "active", "active", "active", "active"))
        expiry = self._choose.choice((None, -5_000, self._choose.randint(*EXPIRY_MS), 86_400_000))
        event = snapshot(
            self._tenant,
            self._choose.choice(self._snapshots),
            self._next(),
            self._operation_id(),
            status,
            expires_in_ms=expiry,
        )
        return [self._form(event, topics)]

    def _a_deletion(self, topics: Topics) -> list[Message]:
        event = self._choose.choice(
            (
                run(self._tenant, self._choose.choice(self._runs), 0),
                operation(self._tenant, self._choose.choice(self._operations), 0),
                snapshot(self._tenant, self._choose.choice(self._snapshots), 0, None),
            )
        )
        return [self._form(event.deletion(self._next()), topics)]

    def _a_duplicate(self, topics: Topics) -> list[Message]:
        if not self._sent:
            return self._a_run(topics)
        earlier, _ = self._choose.choice(self._sent)
        return [earlier] * self._choose.choice((1, 2))

    def _something_late(self, topics: Topics) -> list[Message]:
        late = replace(self._run_event(), sequence=max(0, self._sequence - self._choose.randint(1, 9)))
        return [self._form(late, topics)]

    def _a_tombstone(self, topics: Topics) -> list[Message]:
        topic = self._choose.choice((topics.restore_runs, topics.operation_runs, topics.evidence_snapshots))
        return [Message(topic, self._tenant.encode(), None, [])]

    def _something_unreadable(self, topics: Topics) -> list[Message]:
        """About an entity whose id can be read: it will be marked."""
        event = self._choose.choice(
            (
                run(self._tenant, self._choose.choice(self._runs), self._next(), "vanished"),
                operation(self._tenant, self._choose.choice(self._operations), self._next(), "vanished"),
                snapshot(self._tenant, self._choose.choice(self._snapshots), self._next(), None, "vanished"),
            )
        )
        return [self._form(event, topics)]

    def _garbage(self, topics: Topics) -> list[Message]:
        good = self._form(self._run_event(), topics)
        return [
            self._choose.choice(
                (
                    replace(good, value=self._choose.randbytes(40)),
                    replace(good, value=b"x" * 600_000),
                    replace(good, topic=topics.operation_runs),
                    replace(good, key=b"t-nobody"),
                    replace(good, headers=[]),
                    replace(good, topic=topics.ops, headers=[("op", b"dance")]),
                )
            )
        ]

    def _a_replay(self, topics: Topics) -> list[Message]:
        events = [
            (m, place)
            for m, place in self._sent
            if m.topic != topics.ops and m.value is not None and m.key == self._tenant.encode()
        ]
        if not events:
            return self._a_run(topics)
        earlier, (topic, number, offset) = self._choose.choice(events)
        names = {
            "op": b"replay",
            "rp_topic": topic.encode(),
            "rp_partition": b"%d" % number,
            "rp_offset": b"%d" % offset,
        }
        headers = [*earlier.headers, *names.items(), ("rp_timestamp", b"%d" % now_ms())]
        return [replace(earlier, topic=topics.ops, headers=headers)]

    def _a_recompute(self, topics: Topics) -> list[Message]:
        value = encode({"restore_run_id": self._choose.choice(self._runs)})
        return [Message(topics.ops, self._tenant.encode(), value, [("op", b"recompute")])]


class Traffic:
    """Tells stories from a thread until it is told to end. Every record is acknowledged before the next round.

    `at_once`: how many stories go on together, so many records are sent about every 120 ms.
    """

    def __init__(self, send: Sender, seed: int, at_once: int = 40, tenants: int = TENANTS) -> None:
        self.sent = 0
        self._send = send
        self._stories = Stories(seed, send, tenants)
        self._at_once = at_once
        self._tellings: list[_Told] = []
        self._end = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Send nothing more."""
        self._end.set()
        self._thread.join(TRAFFIC_END_S)
        assert not self._thread.is_alive(), "the traffic did not end"
        if self._error is not None:
            raise self._error

    def wait_for(self, records: int) -> None:
        """Wait until so many more were sent."""
        wanted = self.sent + records

        def sent() -> bool:
            if self._error is not None:
                raise self._error
            return self.sent >= wanted

        wait_until(sent, TRAFFIC_END_S, lambda: f"{wanted} records are sent, not only {self.sent}")

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                self._round()
        except BaseException as error:  # noqa: BLE001  for whoever waits for this thread
            self._error = error

    def _round(self) -> None:
        steps = [(telling, messages) for telling in self._tellings if (messages := telling.next())]
        self._tellings = [telling for telling, _ in steps]
        self._tellings += [_Told(self._stories.next()) for _ in range(self._at_once - len(steps))]
        places = iter(self._send.messages([message for _, messages in steps for message in messages]))
        for telling, messages in steps:
            telling.places = list(itertools.islice(places, len(messages)))
            self.sent += len(messages)
        again = time.monotonic() + STEP_MS / 1000
        wait_until(lambda: time.monotonic() >= again, 1, "the next round's time comes")


class _Told:
    """A story that is being told, and where its last step went."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self.places: list[Place] | None = None

    def next(self) -> list[Message]:
        """The next step; nothing at the end."""
        try:
            return next(self._story) if self.places is None else self._story.send(self.places)
        except StopIteration:
            return []
