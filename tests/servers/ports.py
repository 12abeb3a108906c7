"""What a test may ask of a server, whatever runs it."""

from __future__ import annotations

from typing import Protocol


class Startable(Protocol):
    """What runs for some time."""

    def start(self) -> None:
        """Start it and wait until it serves."""

    def close(self) -> None:
        """End it for good and throw its data away; logs are kept."""


class Server(Startable, Protocol):
    """A server that a test may treat roughly. Address and data stay the same over a restart."""

    name: str
    """Product, version and how it runs, for the header of the test run."""

    def stop(self) -> None:
        """End it in good order; its data stay."""

    def kill(self) -> None:
        """End it as a power cut would; its data stay as far as they had been written."""

    def restart(self) -> None:
        """Stop it if it runs, and start it again."""

    def pause(self) -> None:
        """Make it hang: connections stay open and nothing answers."""

    def resume(self) -> None:
        """Undo `pause`."""


class KafkaServer(Server, Protocol):
    """A Kafka cluster, of one broker unless asked otherwise."""

    @property
    def bootstrap_servers(self) -> str:
        """host:port, comma-separated."""
        ...


class RedisServer(Server, Protocol):
    """A Redis or Valkey."""

    @property
    def url(self) -> str: ...
