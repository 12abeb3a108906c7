"""What may go wrong, and whose fault it is.

    ProjectorError
    ├── ConfigurationError        a setting is wrong                                    exit 2
    ├── Unfit                     topics or Redis do not hold what the promises need    exit 2
    ├── Refused                   Kafka or Redis does not let us do what we must        exit 2
    ├── Unreachable               a server does not answer                              exit 3
    │   ├── KafkaUnreachable
    │   └── RedisUnreachable
    ├── Interrupted               somebody pressed Ctrl-C in the middle of its work       exit 130
    ├── Fenced                    another process has our instance id                   exit 2
    ├── Unstable                  the consumer group would not take us in               exit 3
    ├── PositionMoved             the store is not where we left it: take over again
    ├── StoreDamaged              what the store holds contradicts itself: restore the partition in full
    ├── RecordTooLarge            Kafka refuses a record by its size: it becomes a dead letter
    └── PartitionStopped          going on would do harm silently: the partition stands still, the others go on
        ├── OffsetOutOfRange      an input's log does not hold the committed offset
        ├── OffsetWentBack        Kafka tells an older offset than was committed
        └── DecidedByNewer        a newer version has decided in it, and has to go on there

Those with an exit code end a command; the others are for the loop. The adapters translate what their
libraries raise; nothing else in this project knows those libraries' exceptions. Our own bugs are
assertions and are not in here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class ProjectorError(Exception):
    """Anything that this software foresees. The message is for people and holds neither payloads nor secrets."""

    exit_code: ClassVar[int] = 1


class ConfigurationError(ProjectorError):
    """A setting is wrong. Each line names a variable, its value (masked if it is secret), and what is allowed."""

    exit_code = 2


class Unfit(ProjectorError):
    """Topics or Redis would break a promise, so the worker does not start. `problems`: one line for each of them."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class Refused(ProjectorError):
    """A server lets us in and refuses what we must do: a right is missing. Each line names one, as the server does."""

    exit_code = 2


class Unreachable(ProjectorError):
    """A server does not answer: down, wrong address, wrong password, no network. `server` is Kafka or Redis."""

    exit_code = 3
    server: ClassVar[str] = "server"

    def __init__(self, address: str, reason: str) -> None:
        self.address = address
        self.reason = reason
        super().__init__(f"{self.server} at {address} cannot be reached: {reason}")


class KafkaUnreachable(Unreachable):
    """No broker answers, or none lets us in."""

    server = "Kafka"


class RedisUnreachable(Unreachable):
    """Redis does not answer, or does not let us in."""

    server = "Redis"


class Interrupted(ProjectorError):
    """A command was ended by Ctrl-C in the middle of its work. The message says what was done and how to go on."""

    exit_code = 130


class Fenced(ProjectorError):
    """Another process of the group has our instance id (RESTORE_PROJECTOR_KAFKA__INSTANCE): this one gives way."""

    exit_code = 2


class Unstable(ProjectorError):
    """The consumer group did not become stable in time; a new process has better chances than this one."""

    exit_code = 3


class PositionMoved(ProjectorError):
    """The store's position of a partition is not the one that we left there: somebody else wrote, or it went back.

    `expected` and `got` are positions as the store shows them; `got` is None where there is none.
    """

    def __init__(self, partition: int, expected: str, got: str | None) -> None:
        self.partition = partition
        self.expected = expected
        self.got = got
        super().__init__(f"partition {partition}: expected the store at {expected}, found it at {got or 'no position'}")


class RecordTooLarge(ProjectorError):
    """Kafka does not take a record of this size. `size_bytes` and `limit_bytes` are None where Kafka did not say."""

    def __init__(self, topic: str, *, size_bytes: int | None = None, limit_bytes: int | None = None) -> None:
        self.topic = topic
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        size = "a record" if size_bytes is None else f"a record of {size_bytes} bytes"
        limit = "" if limit_bytes is None else f", the limit is {limit_bytes} bytes"
        super().__init__(f"{topic} does not take {size}{limit}")


class BatchSplit(ProjectorError):
    """A topic takes smaller batches than were sent, so what became of each record is not known.

    `size`: of the smallest that was split, in bytes before it was compressed.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"a batch of {size} bytes was split: a topic takes less than when the worker started")


class StoreDamaged(ProjectorError):
    """A partition's records in the store contradict each other or cannot be read: a key was lost or changed by hand."""

    def __init__(self, partition: int, detail: str) -> None:
        self.partition = partition
        super().__init__(f"partition {partition}: the store contradicts itself: {detail}")


class PartitionStopped(ProjectorError):
    """Why a partition stands still. The message says what to do."""

    kind: ClassVar[str]

    def __init__(self, partition: int, detail: str) -> None:
        self.partition = partition
        super().__init__(detail)


class OffsetOutOfRange(PartitionStopped):
    """The committed offset of an input is not in its log: records were deleted unread, or the topic is another one."""

    kind = "offset_out_of_range"

    def __init__(self, topic: str, partition: int, offset: int, low: int, high: int) -> None:
        self.topic = topic
        self.offset = offset
        self.low = low
        self.high = high
        super().__init__(
            partition,
            f"{topic} partition {partition}: the committed offset is {offset}, the log holds {low} to {high}; "
            "records were lost before they were read, or the topic was made anew. Reset the group's offset to go on",
        )


class OffsetWentBack(PartitionStopped):
    """Kafka tells an older offset of an input than the store has seen committed, and nobody has reset it.

    So it was with a group coordinator that had loaded what was committed in part. `offset` None: none is told.
    """

    kind = "offset_went_back"

    def __init__(self, topic: str, partition: int, offset: int | None, known: int) -> None:
        self.topic = topic
        self.offset = offset
        self.known = known
        told = "no committed offset" if offset is None else f"{offset} as the committed offset"
        super().__init__(
            partition,
            f"{topic} partition {partition}: Kafka tells {told}, and {known} was committed; to go on from there would "
            "decide again what was decided. Restart the broker that coordinates the group; if the offset is meant so, "
            "stop all workers and set it by kafka-consumer-groups.sh --reset-offsets",
        )


class DecidedByNewer(PartitionStopped):
    """A worker of a newer version has decided in a partition, or stored there what only it can read.

    If this one went on, documents would go back and forth between the two. So it stops the partition, and looks again
    when it is given the partition again. `what`: a policy, or the format of a kind of record; `found` and `ours`: its
    numbers.
    """

    kind = "decided_by_newer"

    def __init__(self, partition: int, what: str, found: int, ours: int) -> None:
        self.what = what
        self.found = found
        self.ours = ours
        super().__init__(
            partition,
            f"partition {partition} was decided with {what} {found}, and this version has only {what} {ours}: an older"
            " version must not decide again what a newer one has decided; run a newer version in its place",
        )
