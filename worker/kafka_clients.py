"""Clients of kafka-python that leave nothing behind when they cannot be made, and never stop to learn where things are.

The constructors of a consumer and of an admin client start a thread for their connections and then ask Kafka for its
version. If nobody answers they raise, and the thread goes on connecting for ever: a worker that waits for Kafka would
gather one with every attempt (kafka-python 3.0.12).

A client's metadata are refreshed by a loop that ends for good when a refresh fails that somebody else has begun, as
bootstrapping does, just when it waits for that one: a connection that breaks in the wrong millisecond. From then on the
client finds no new leader, and who asks for a topic waits for ever. Here the loop goes on instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol, TypeVar

from kafka.cluster import ClusterMetadata
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

Client = TypeVar("Client")


RETRY_S: Final = 0.5
"""Between a failed refresh of metadata and the next one."""

_refresh_until_failure: Final = ClusterMetadata._refresh_loop  # noqa: SLF001  there is no other seam


async def _refresh(cluster: Any) -> None:
    while not cluster.closed:
        try:
            await _refresh_until_failure(cluster)
        except KafkaError:  # its log has said it
            await cluster._wakeup(RETRY_S)  # noqa: SLF001


ClusterMetadata._refresh_loop = _refresh  # noqa: SLF001  once for the process, as every client is in danger


def make_client(kind: Callable[..., Client], **options: Any) -> Client:
    """A consumer, a producer or an admin client with these options. Raises what its constructor raises."""
    made: list[KafkaNetClient] = []

    def connections(**config: Any) -> KafkaNetClient:
        made.append(KafkaNetClient(**config))
        return made[-1]

    try:
        return kind(kafka_client=connections, **options)
    except BaseException:
        for client in made:
            with suppress(Exception):  # what it was about is on its way up already
                client.close()
                client._net.stop()  # noqa: SLF001  there is no other way to it
        raise


class Makes(Protocol):
    """`make_client`, or like it."""

    def __call__(self, kind: Callable[..., Client], **options: Any) -> Client: ...


@contextmanager
def all_or_none() -> Iterator[Makes]:
    """Clients that belong together: when the context ends with an error, those that were made in it are closed."""
    made: list[Any] = []

    def make(kind: Callable[..., Client], **options: Any) -> Client:
        client = make_client(kind, **options)
        made.append(client)
        return client

    try:
        yield make
    except BaseException:
        for client in made:
            with suppress(Exception):  # as above
                client.close()
        raise
