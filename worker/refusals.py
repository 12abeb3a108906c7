"""Why Kafka does not let us in, or does not let us do something: what its client keeps to itself, in our words.

kafka-python says "Unable to bootstrap", whatever it was: a wrong password, a certificate that has expired, TLS to a
port without. The cause it only logs, so it is taken from there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from kafka.errors import (
    AuthorizationError,
    GroupAuthorizationFailedError,
    KafkaError,
    SaslAuthenticationFailedError,
    TransactionalIdAuthorizationFailedError,
)

from worker.errors import KafkaUnreachable, ProjectorError, Refused
from worker.settings import PREFIX, KafkaSettings

REMEMBERED_S: Final = 15.0
"""A client tries for 5 s to get in, and for 12 s to be answered; what failed before has nothing to do with it."""
REMEMBERED: Final = 50

_PROTOCOL: Final = f"{PREFIX}KAFKA__SECURITY_PROTOCOL"
_CERTIFICATE: Final = f"{PREFIX}KAFKA__SSL_CERTFILE"

_SAYS_MOST_FIRST: Final = ("Sasl", "CERTIFICATE", "[SSL", "Connect", "Invalid frame", "disconnected")
"""By signs in their words. What names the cause comes first, and after it a client is often merely hung up on."""
_WRONG_PROTOCOL: Final = (
    "Invalid frame", "disconnected", "EOF occurred", "WRONG_VERSION", "timed out", "IllegalSaslState",
)  # fmt: skip
_WRONG_CERTIFICATE: Final = ("BAD_CERTIFICATE", "CERTIFICATE_REQUIRED", "UNKNOWN_CA")
"""Alerts of the other side: it complains of ours."""


class _Failures(logging.Filter):
    """Overhears why connections failed, in words: an exception would keep its socket. The log is as without it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._heard: deque[tuple[float, str]] = deque(maxlen=REMEMBERED)

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        error = next((argument for argument in arguments if isinstance(argument, Exception)), None)
        if error is not None:
            with self._lock:
                self._heard.append((self._monotonic(), _words(error)))
        return True

    def take(self) -> str | None:
        """What failed lately and says most, the newest of equals. Forgets all."""
        since = self._monotonic() - REMEMBERED_S
        with self._lock:
            lately = [words for at, words in self._heard if at >= since]
            self._heard.clear()
        return min(reversed(lately), key=_rank, default=None)


def _rank(words: str) -> int:
    says_only_what_it_is = words.isidentifier()
    found = (at for at, sign in enumerate(_SAYS_MOST_FIRST) if sign in words and not says_only_what_it_is)
    return next(found, len(_SAYS_MOST_FIRST))


def _words(error: Exception) -> str:
    """An error's name where that is all it says, else what it says."""
    said = str(error.args[0]) if error.args and isinstance(error, KafkaError) else str(error)
    return f"{type(error).__name__}: {said}" if "Sasl" in type(error).__name__ else said


_failures: Final = _Failures()
# One for the process, from when the first client can be made: the log is the process's as well.
for _name in ("kafka.net.manager", "kafka.cluster"):
    logging.getLogger(_name).addFilter(_failures)


Operation = Literal["Describe", "Read", "Write"]


def refusal_of(operation: Operation, kind: Literal["topic", "group", "transactional id"], name: str) -> str:
    """A right that is missing, in Kafka's terms."""
    return f"Kafka refuses {operation} on {kind} {name}"


def unreachable(settings: KafkaSettings, error: BaseException) -> ProjectorError:
    """An error of kafka-python as one of ours: Refused where a right is missing, else KafkaUnreachable and why."""
    if isinstance(error, GroupAuthorizationFailedError):
        return Refused(refusal_of("Read", "group", settings.group_id))
    if isinstance(error, TransactionalIdAuthorizationFailedError):
        return Refused(refusal_of("Write", "transactional id", f"{settings.group_id}-…"))
    if isinstance(error, AuthorizationError):
        return Refused(f"Kafka refuses us: {error}")
    return KafkaUnreachable(settings.bootstrap_servers, _reason(settings, error))


def _reason(settings: KafkaSettings, error: BaseException) -> str:
    cause = _failures.take()
    if cause is None:
        return str(error)
    if SaslAuthenticationFailedError.__name__ in cause:
        return f"it does not let {settings.sasl_username} in: {cause.rpartition('Error: ')[2]}"
    if any(sign in cause for sign in _WRONG_CERTIFICATE):
        return f"it does not take our certificate, {_CERTIFICATE}, or wants one: {cause}"
    if any(sign in cause for sign in _WRONG_PROTOCOL):
        user = f"does it know {settings.sasl_username} with this password, and " if _hung_up(settings, cause) else ""
        return f"{cause}; {user}is {_PROTOCOL}, which is {settings.security_protocol}, that of this port?"
    return cause


def _hung_up(settings: KafkaSettings, cause: str) -> bool:
    """Whether it may be for the password: kafka-python 3.0.12 drops an answer that comes together with the end."""
    return "SASL" in settings.security_protocol and "disconnected" in cause
