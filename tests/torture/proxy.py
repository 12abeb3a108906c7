"""A proxy on loopback that understands as much of Kafka's and Redis' protocols as is needed to strike at a named point.

A point is a request by name and when: `request` before the server gets it, `response` before the client gets the
answer, `delivered` right after it has. There the connection is dropped, or the client is killed: so a worker dies at
exactly that step without having any switch for it. Besides, all connections can be cut, held up or slowed.

Kafka's messages are framed by their length and name their API; answers name the request by a correlation id. Of Redis
only calls of our scripts are known, by their SHA-1; a client there waits for each answer before it asks again.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Final, Literal, Protocol

from worker.servers.processes import LOOPBACK, free_port

When = Literal["request", "response", "delivered"]
Point = tuple[str, When]

TRANSACTION_APIS: Final[dict[int, str]] = {
    22: "InitProducerId", 24: "AddPartitionsToTxn", 0: "Produce", 28: "TxnOffsetCommit", 26: "EndTxn",
}  # fmt: skip
"""What a transaction consists of since Kafka 4.0, where adding offsets is part of committing them."""
OTHER_APIS: Final[dict[int, str]] = {
    1: "Fetch", 2: "ListOffsets", 3: "Metadata", 8: "OffsetCommit", 9: "OffsetFetch", 10: "FindCoordinator",
    11: "JoinGroup", 12: "Heartbeat", 13: "LeaveGroup", 14: "SyncGroup", 25: "AddOffsetsToTxn",
}  # fmt: skip
APIS: Final = TRANSACTION_APIS | OTHER_APIS
CHUNK: Final = 1 << 16


@dataclass(slots=True)
class Strike:
    """What is to happen at a point, once. `happened` is set when it has; `act` is given the client's port."""

    point: Point
    act: Callable[[int], None] | None
    happened: threading.Event = field(default_factory=threading.Event)


class Messages(Protocol):
    """How one connection's messages are told apart and named."""

    async def request(self, reader: asyncio.StreamReader) -> tuple[bytes, str]: ...

    async def response(self, reader: asyncio.StreamReader) -> tuple[bytes, str]: ...


class KafkaMessages:
    """Of one connection."""

    def __init__(self) -> None:
        self._asked: dict[int, str] = {}

    async def request(self, reader: asyncio.StreamReader) -> tuple[bytes, str]:
        size = await reader.readexactly(4)
        body = await reader.readexactly(struct.unpack(">i", size)[0])
        api, _version, correlation = struct.unpack_from(">hhi", body)
        self._asked[correlation] = name = APIS.get(api, f"api {api}")
        return size + body, name

    async def response(self, reader: asyncio.StreamReader) -> tuple[bytes, str]:
        size = await reader.readexactly(4)
        body = await reader.readexactly(struct.unpack(">i", size)[0])
        return size + body, self._asked.pop(struct.unpack_from(">i", body)[0], "unknown")


class RedisMessages:
    """Of one connection. A message may come in several chunks; it is struck at its first."""

    def __init__(self) -> None:
        self._asked = "other"

    async def request(self, reader: asyncio.StreamReader) -> tuple[bytes, str]:
        chunk = await reader.read(CHUNK)
        if not chunk:
            raise EOFError
        name = next((name for sha, name in SCRIPTS.items() if sha in chunk), None)
        if name is not None:
            self._asked = name
        return chunk, name or "other"

    async def response(self, reader: asyncio.StreamReader) -> tuple[bytes, str]:
        chunk = await reader.read(CHUNK)
        if not chunk:
            raise EOFError
        name, self._asked = self._asked, "other"
        return chunk, name


def _scripts() -> Iterator[tuple[bytes, str]]:
    for file in files("worker").joinpath("scripts").iterdir():
        if file.name.endswith(".lua"):
            sha = hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()
            yield sha.encode(), f"{file.name.removesuffix('.lua')}.lua"


SCRIPTS: Final[dict[bytes, str]] = dict(_scripts())


class Proxy:
    """Listens on `port` and passes on to `target`, which may change: new connections then go elsewhere."""

    def __init__(self, target: int, messages: Callable[[], Messages]) -> None:
        self.port = free_port()
        self.target = target
        self.delay_s = 0.0
        self.met: Counter[Point] = Counter()
        self._messages = messages
        self._strikes: list[Strike] = []
        self._links: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{self.port}", daemon=True)
        started = threading.Event()
        self._loop.call_soon(lambda: self._loop.create_task(self._serve(started)))
        self._thread.start()
        started.wait()

    def strike(self, point: Point, act: Callable[[int], None] | None = None) -> Strike:
        """At the next such point call `act`, if given, and drop the connection."""
        strike = Strike(point, act)
        self._strikes.append(strike)
        return strike

    def forget(self, strike: Strike) -> None:
        """Do it no more, if it has not happened."""
        with suppress(ValueError):
            self._strikes.remove(strike)

    def cut(self) -> None:
        """Drop all connections there are."""
        self._loop.call_soon_threadsafe(self._cut)

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Nothing passes; connections are accepted and stay open."""
        self._loop.call_soon_threadsafe(self._open.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._open.set)

    @contextmanager
    def slowed(self, delay_s: float) -> Iterator[None]:
        """Each message takes so long."""
        self.delay_s = delay_s
        try:
            yield
        finally:
            self.delay_s = 0.0

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, started: threading.Event) -> None:
        server = await asyncio.start_server(self._link, LOOPBACK, self.port)
        started.set()
        await server.serve_forever()

    def _cut(self) -> None:
        for task in list(self._links):
            task.cancel()

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either end or a strike ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        writers = [writer]
        try:
            await self._open.wait()
            their_reader, their_writer = await asyncio.open_connection(LOOPBACK, self.target)
            writers.append(their_writer)
            messages = self._messages()
            port = int(writer.get_extra_info("peername")[1])
            pumps = [
                asyncio.ensure_future(self._requests(messages, reader, their_writer, port)),
                asyncio.ensure_future(self._responses(messages, their_reader, writer, port)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # The target is down, or we cut it.
        finally:
            self._links.discard(task)
            for end in writers:
                end.transport.abort()

    async def _requests(
        self, messages: Messages, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        while True:
            message, name = await messages.request(reader)
            await self._pass((name, "request"), port)
            writer.write(message)
            await writer.drain()

    async def _responses(
        self, messages: Messages, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        while True:
            message, name = await messages.response(reader)
            await self._pass((name, "response"), port)
            writer.write(message)
            await writer.drain()
            await self._pass((name, "delivered"), port)

    async def _pass(self, point: Point, port: int) -> None:
        """Let a message go on; raises ConnectionAbortedError where it is struck."""
        if point[1] != "delivered":
            await self._open.wait()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
        self.met[point] += 1
        for strike in self._strikes:
            if strike.point == point:
                self._strikes.remove(strike)
                if strike.act is not None:
                    strike.act(port)
                strike.happened.set()
                raise ConnectionAbortedError
