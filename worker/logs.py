"""What is logged: every event of the worker is a method of `Events`, its name the event's, its arguments the fields.

So names and fields are defined in one place, the documentation is made from here, and nothing gets into a log that
has no field: no payload (a dead letter's `dl_detail`, which quotes what came, stays in Kafka), no secret. Lines are
JSON, or coloured on a terminal. Tracebacks come without local variables, which would hold both.
"""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final, TextIO, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger, Processor

from contracts.letters import Reason
from contracts.printable import printable, printable_lines
from worker.errors import ProjectorError
from worker.settings import LogLevel, LogSettings

MAX_ERROR_LENGTH: Final = 500
"""Characters of an error's message that are logged: more than ours have, less than a server can make up."""
LIBRARY_SILENCE_S: Final = 60.0
"""The same message of a library is logged once in this time: kafka-python repeats itself while a broker is away."""
BUSY: Final = "kafka.net.selector"
"""Warns when the machine was too busy to let a step of kafka-python run for a tenth of a second, as if that were wrong
with the step. It is nothing that an operator could act on; lag and latency tell what it comes to."""


def configure_logs(settings: LogSettings, stream: TextIO | None = None) -> Events:
    """Send everything that is logged in this process to `stream` (default: standard error). Returns our events."""
    stream = sys.stderr if stream is None else stream
    coloured = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    processors = _console(stream) if coloured else _json()
    _configure_libraries(settings.level, stream, processors)
    logger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.level.upper())),
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    return Events(cast(FilteringBoundLogger, logger))


def _console(stream: TextIO) -> list[Processor]:
    return [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        _harmless,
        structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=_plain_traceback, pad_event_to=20),
    ]


def _harmless(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Text for people; JSON needs no care, as it is written in ASCII. Lines that a library logs become one."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}


def _plain_traceback(to: TextIO, exc_info: ExcInfo) -> None:
    written = io.StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    to.write(printable_lines(written.getvalue()))


def _json() -> list[Processor]:
    return [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.ExceptionRenderer(_exception),
        _in_order,
        structlog.processors.JSONRenderer(default=str),
    ]


def _exception(exc_info: ExcInfo) -> list[dict[str, Any]]:
    stacks = ExceptionDictTransformer(show_locals=False)(exc_info)
    for stack in stacks:
        stack["exc_value"] = stack["exc_value"][:MAX_ERROR_LENGTH]
    return stacks


def _in_order(_logger: object, _method: str, event: EventDict) -> EventDict:
    """When, how bad, what: first in every line, for people who read the JSON."""
    first = {name: event.pop(name) for name in ("at", "level", "event", "logger") if name in event}
    return {**first, **event}


def _configure_libraries(level: LogLevel, stream: TextIO, processors: Sequence[Processor]) -> None:
    """What libraries log by `logging`, in our form: warnings, and with our level `debug` what is info to them.

    Never their debug level: there kafka-python logs whole requests, the SASL password among them.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *processors],
        )
    )
    handler.addFilter(OncePerMinute())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO if level == "debug" else logging.WARNING)
    # A level set on the parent is not enough: somebody may have set one on a child.
    for name in ("kafka", *(n for n in logging.root.manager.loggerDict if n.startswith("kafka."))):
        logging.getLogger(name).setLevel(root.level)
    logging.getLogger(BUSY).setLevel(logging.ERROR)


class OncePerMinute(logging.Filter):
    """Lets a library's message through when it was not said within the last minute, whatever its arguments."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._said: dict[tuple[str, int, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._monotonic()
        place = (record.name, record.lineno, record.levelname)
        if now - self._said.get(place, -LIBRARY_SILENCE_S) < LIBRARY_SILENCE_S:
            return False
        self._said[place] = now
        return True


class Events:
    """Everything that the worker says. The docstring of each is its meaning; times are in ms, or s where so named."""

    def __init__(
        self, logger: FilteringBoundLogger | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._log: FilteringBoundLogger = structlog.get_logger() if logger is None else logger
        self._monotonic = monotonic
        self._unreachable_since: dict[str, float] = {}

    # The worker's life

    def worker_started(
        self, *, version: str, kafka: str, redis: str, group: str, instance: str | None, prefix: str
    ) -> None:
        """The worker begins, with these servers and names; `instance` null: a random one."""
        self._log.info(
            "worker_started", version=version, kafka=kafka, redis=redis, group=group, instance=instance, prefix=prefix
        )

    def http_listening(self, *, host: str, port: int) -> None:
        """Health and metrics are served here."""
        self._log.info("http_listening", host=host, port=port)

    def stopping(self, *, signal: str) -> None:
        """Told to stop: the batch in hand is finished, then the group is left."""
        self._log.info("stopping", signal=signal)

    def stopped(self, *, seconds: float, in_order: bool = True) -> None:
        """Stopped, so long after having been told; not `in_order`: a server hung, what was in hand is done again."""
        self._log.info("stopped", seconds=round(seconds, 3), in_order=in_order)

    def finding(self, *, severity: str, subject: str, setting: str, expected: str, got: str) -> None:
        """A topic or Redis is not set up as it should be. An error stops the start, a warning does not."""
        say = self._log.error if severity == "error" else self._log.warning
        say("finding", subject=subject, setting=setting, expected=expected, got=got)

    # Partitions

    def partitions_assigned(self, *, partitions: Sequence[int], generation: int) -> None:
        """The group gave us these partitions; taking them over begins."""
        self._log.info("partitions_assigned", partitions=sorted(partitions), generation=generation)

    def partition_taken_over(self, *, partition: int, offsets: Mapping[str, int]) -> None:
        """The partition's inputs go on from these committed offsets, by topic, as soon as its store is restored."""
        self._log.info("partition_taken_over", partition=partition, offsets=dict(offsets))

    def partition_restoring(self, *, partition: int, full: bool, reason: str, records: int) -> None:
        """The partition's store is behind the log by about so many records; `full`: it is built anew, for `reason`."""
        self._log.info("partition_restoring", partition=partition, full=full, reason=reason, records=records)

    def partition_restored(self, *, partition: int, full: bool, records: int, seconds: float) -> None:
        """The partition's store is where the log is; the partition runs."""
        self._log.info("partition_restored", partition=partition, full=full, records=records, seconds=round(seconds, 3))

    def partition_stopped(self, *, partition: int, kind: str, detail: str) -> None:
        """The partition stands still: its committed offset is outside its input's log or went back, or a newer version
        has decided in it. `detail`: what was found, and what to do.
        """
        self._log.error("partition_stopped", partition=partition, kind=kind, detail=detail)

    def partition_recomputing(self, *, partition: int, policy: int, before: int, records: int) -> None:
        """Everything in it is decided again with our policy; `before`: the last such, 0 unknown. It goes on meanwhile.

        `records`: of decision-state, so many are to be looked at.
        """
        self._log.info("partition_recomputing", partition=partition, policy=policy, before=before, records=records)

    def run_passed_over(self, *, tenant: str, run: str) -> None:
        """Kafka does not take the document that our policy makes of this run, by its size: it stays as it is."""
        self._log.error("run_passed_over", tenant=tenant, run=run)

    def partition_recomputed(
        self, *, partition: int, policy: int, documents: int, published: int, seconds: float
    ) -> None:
        """Everything in it is decided with our policy: of so many documents so many differed and were published."""
        self._log.info(
            "partition_recomputed",
            partition=partition,
            policy=policy,
            documents=documents,
            published=published,
            seconds=round(seconds, 3),
        )

    def partitions_lost(self, *, partitions: Sequence[int]) -> None:
        """The group took these partitions from us."""
        self._log.info("partitions_lost", partitions=sorted(partitions))

    # Records

    def dead_letter(
        self,
        *,
        reason: Reason,
        topic: str,
        partition: int,
        offset: int,
        tenant: str | None = None,
        run: str | None = None,
    ) -> None:
        """A record was set aside, for `reason`; what was wrong in detail is in the dead letter's header `dl_detail`."""
        known = {name: value for name, value in (("tenant", tenant), ("run", run)) if value is not None}
        self._log.warning("dead_letter", reason=reason, topic=topic, partition=partition, offset=offset, **known)

    def merge_wait_over(self, *, partition: int, topic: str, waited_ms: int) -> None:
        """Records that the topic holds did not arrive in time, or a transaction stays open: it goes on without them."""
        self._log.warning("merge_wait_over", partition=partition, topic=topic, waited_ms=waited_ms)

    # What goes wrong

    def recovering(self, error: BaseException, *, wait_ms: int = 0) -> None:
        """Everything in memory is dropped and the partitions are taken over again, after a wait; nothing is lost.

        An error that was foreseen is a line, any other comes with its traceback.
        """
        foreseen = isinstance(error, ProjectorError)
        say = self._log.warning if foreseen else self._log.error
        say("recovering", **_error(error), wait_ms=wait_ms, exc_info=None if foreseen else error)

    def server_unreachable(self, server: str, *, address: str, error: BaseException) -> None:
        """Kafka or Redis does not answer; said once, until `server_back`. The worker goes on trying."""
        if server not in self._unreachable_since:
            self._unreachable_since[server] = self._monotonic()
            self._log.warning("server_unreachable", server=server, address=address, **_error(error))

    def server_back(self, server: str) -> None:
        """The server answers again. Said only after `server_unreachable`."""
        since = self._unreachable_since.pop(server, None)
        if since is not None:
            self._log.info("server_back", server=server, away_seconds=round(self._monotonic() - since, 1))

    def survey_failed(self, error: BaseException) -> None:
        """The state of all partitions could not be looked at, so the metrics about them grow old. The work goes on."""
        foreseen = isinstance(error, ProjectorError)
        self._log.warning("survey_failed", **_error(error), exc_info=None if foreseen else error)

    def group_unstable(self, *, unstable_ms: int) -> None:
        """The consumer group has not taken us in for so long; said when the worker ends because of it."""
        self._log.error("group_unstable", unstable_ms=unstable_ms)

    def failed(self, error: BaseException) -> None:
        """The worker ends because of this."""
        foreseen = isinstance(error, ProjectorError)
        self._log.error("failed", **_error(error), exc_info=None if foreseen else error)


def _error(error: BaseException) -> dict[str, str]:
    return {"error": type(error).__name__, "message": str(error)[:MAX_ERROR_LENGTH]}


def silent_events() -> Events:
    """Events that go nowhere, for tests and for commands whose output is their own."""

    def drop(_logger: Any, _method: str, _event: MutableMapping[str, Any]) -> str:
        raise structlog.DropEvent

    logger = structlog.wrap_logger(
        structlog.ReturnLogger(), processors=[drop], wrapper_class=structlog.make_filtering_bound_logger(logging.INFO)
    )
    return Events(cast(FilteringBoundLogger, logger))
