"""A stand-in for a Docker engine: what it is asked for is remembered, and a container is a port that leads elsewhere.

It speaks as much of the engine's API as docker-py and testcontainers need to fetch images, to run containers and to
remove them. It shows what an engine is asked for and that all of it is taken back, not that containers of these images
work.
"""

from __future__ import annotations

import json
import re
import select
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Address = tuple[str, int]
Answer = tuple[HTTPStatus, object]


@dataclass
class Container:
    """What was asked for when it was made (the body of `POST /containers/create`), and what became of it."""

    asked: dict[str, Any]
    started: bool = False
    removed: bool = False
    open: ExitStack = field(default_factory=ExitStack)

    @property
    def image(self) -> str:
        return str(self.asked["Image"])

    @property
    def published(self) -> Address:
        """The one port of the host that leads into it."""
        ((binding,),) = self.asked["HostConfig"]["PortBindings"].values()
        return binding["HostIp"], int(binding["HostPort"])


@dataclass
class StandIn:
    """`images`: what it has. `behind`: where a container's port leads, by image; without, nobody answers there.

    `fetching`: clear it, and fetching an image takes until it is set. `no_network`: fetching fails.
    """

    images: set[str]
    behind: Mapping[str, Address] = field(default_factory=dict)
    no_network: bool = False
    fetching: threading.Event = field(default_factory=threading.Event)
    fetched: list[str] = field(default_factory=list)
    containers: list[Container] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fetching.set()

    def answer(self, method: str, url: str, body: bytes) -> Answer:
        path = re.sub(r"^/v[\d.]+", "", urlsplit(url).path)
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        match [method, *path.strip("/").split("/")]:
            case ["GET", "version"]:
                return HTTPStatus.OK, {"ApiVersion": "1.45", "Version": "27"}
            case ["GET", "_ping"]:
                return HTTPStatus.OK, "OK"
            case ["POST", "images", "create"]:
                return self._fetch(f"{query['fromImage']}:{query['tag']}")
            case ["GET", "images", *name, "json"]:
                return self._image("/".join(name))
            case ["POST", "containers", "create"]:
                self.containers.append(Container(json.loads(body)))
                return HTTPStatus.CREATED, {"Id": str(len(self.containers))}
            case ["GET", "containers", id, "json"]:
                status = "running" if self._container(id).started else "created"
                return HTTPStatus.OK, {"Id": id, "State": {"Status": status}, "Config": {}, "Image": "sha256:1"}
            case ["POST", "containers", id, "start"]:
                return self._start(self._container(id))
            case ["GET", "containers", id, "logs"]:
                return HTTPStatus.OK, ""
            case ["DELETE", "containers", id]:
                return self._remove(self._container(id))
        return HTTPStatus.NOT_FOUND, {"message": f"the stand-in does not know {method} {path}"}

    def close(self) -> None:
        self.fetching.set()
        for container in self.containers:
            container.open.close()

    def _container(self, id: str) -> Container:
        return self.containers[int(id) - 1]

    def _image(self, name: str) -> Answer:
        if name not in self.images:
            return HTTPStatus.NOT_FOUND, {"message": f"No such image: {name}"}
        return HTTPStatus.OK, {"Id": "sha256:1", "RepoTags": [name]}

    def _fetch(self, image: str) -> Answer:
        self.fetched.append(image)
        self.fetching.wait()
        if self.no_network:
            return HTTPStatus.INTERNAL_SERVER_ERROR, {"message": "no such host"}
        self.images.add(image)
        return HTTPStatus.OK, {"status": "done"}

    def _start(self, container: Container) -> Answer:
        if container.image in self.behind:
            container.open.enter_context(_forwarding(container.published, self.behind[container.image]))
        container.started = True
        return HTTPStatus.NO_CONTENT, None

    def _remove(self, container: Container) -> Answer:
        container.open.close()
        container.removed = True
        return HTTPStatus.NO_CONTENT, None


class _Engine(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, address: Path, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        super().__init__(str(address), _Request)


class _Request(BaseHTTPRequestHandler):
    server: _Engine
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = self.server.stand_in.answer(self.command, self.path, body)
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if answer is not None:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(OSError):  # Who was told to stop does not wait for it.
            self.wfile.write(content)

    do_POST = do_DELETE = do_GET  # noqa: N815  named by http.server

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what it was asked is remembered."""

    def address_string(self) -> str:
        return ""


@contextmanager
def docker_engine(address: Path, stand_in: StandIn) -> Iterator[dict[str, str]]:
    """The stand-in at a Unix socket. Yields the variables by which a client finds it, and does without Ryuk."""
    with _Engine(address, stand_in) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield {"DOCKER_HOST": f"unix://{address}", "TESTCONTAINERS_RYUK_DISABLED": "true"}
        finally:
            stand_in.close()
            server.shutdown()
            thread.join()


class _Forwarder(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: Address, target: Address) -> None:
        self.target = target
        super().__init__(address, _Forwarded)


class _Forwarded(socketserver.BaseRequestHandler):
    server: _Forwarder

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(self.server.target) as inner:
            other_end = {self.request: inner, inner: self.request}
            while True:
                for end in select.select(list(other_end), [], [])[0]:
                    data = end.recv(65_536)
                    if not data:
                        return
                    other_end[end].sendall(data)


@contextmanager
def _forwarding(address: Address, target: Address) -> Iterator[None]:
    with _Forwarder(address, target) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
