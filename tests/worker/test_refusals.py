"""Of all that a client has logged about its connections, that is told which says most."""

from __future__ import annotations

import logging

import pytest
from kafka.errors import KafkaConnectionError, KafkaError, SaslAuthenticationFailedError

from worker.refusals import _Failures

HUNG_UP = KafkaConnectionError("socket disconnected")
REFUSED = KafkaConnectionError("Connect call failed: connection refused")
NOT_LET_IN = SaslAuthenticationFailedError("wrong password")


@pytest.mark.parametrize(
    ("heard", "told"),
    [
        ([NOT_LET_IN, HUNG_UP, REFUSED], "SaslAuthenticationFailedError: wrong password"),
        ([HUNG_UP, REFUSED, HUNG_UP], "Connect call failed: connection refused"),
        ([HUNG_UP, KafkaConnectionError()], "socket disconnected"),
        ([KafkaConnectionError(), HUNG_UP], "socket disconnected"),
        ([KafkaConnectionError()], "KafkaConnectionError"),
        ([], None),
    ],
)
def test_what_says_most_is_told(heard: list[KafkaError], told: str | None) -> None:
    failures = _Failures()
    for error in heard:
        failures.filter(logging.LogRecord("kafka", logging.ERROR, "", 0, "%s failed: %s", ("it", error), None))
    assert failures.take() == told
    assert failures.take() is None
