"""A web server on this machine that serves a folder, and lies, breaks off and stalls when told to."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Asked:
    """A request, and what was sent for it."""

    path: str
    key: str | None
    status: int = 0
    sent: int = 0


@dataclass
class Service:
    """What the server serves, how it misbehaves, and what it was asked.

    Attributes:
        folder: served at /.
        ways: by the end of a path, how the next requests for it are answered, one after the other, and then rightly.
            A number is a status; the others are named in ``Handler._misbehave``.
        log: all requests.
        go_on: ends what stalls.
    """

    folder: Path
    ways: dict[str, list[str]] = field(default_factory=dict)
    log: list[Asked] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def asked(self, end: str) -> list[Asked]:
        return [each for each in self.log if each.path.endswith(end)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, service: Service, *arguments: object) -> None:
        self.service = service
        super().__init__(*arguments)  # type: ignore[arg-type]

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.close_connection = True
        path = unquote(urlsplit(self.path).path)
        headers = self.headers
        self.asked = Asked(path, headers["Authorization"])
        self.service.log.append(self.asked)
        for end, ways in self.service.ways.items():
            if path.endswith(end) and ways:
                self._misbehave(ways.pop(0), path)
                return
        self._serve(path)

    def _content(self, path: str) -> bytes | None:
        file = self.service.folder / path.lstrip("/")
        return file.read_bytes() if file.is_file() else None

    def _serve(self, path: str, upto: float = 1.0, stall: bool = False) -> None:
        content = self._content(path)
        if content is None:
            self._answer(404, b"no such file")
            return
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        self._head(200, len(content), {"ETag": tag})
        if self.command == "HEAD":
            return
        self._send(content[: int(len(content) * upto)])
        if stall:
            self.service.go_on.wait(20)

    def _misbehave(self, way: str, path: str) -> None:
        content = self._content(path) or b""
        flipped = bytes([content[0] ^ 1]) + content[1:] if content else b""
        if way.isdecimal():
            self._answer(int(way), b"no")
        elif way.startswith("to "):
            self._head(302, 0, {"Location": way.removeprefix("to ")})
        elif way == "cut":
            self._serve(path, 0.5)
        elif way == "stall":
            self._serve(path, 0.5, stall=True)
        elif way == "silent":
            self.service.go_on.wait(20)
        elif way == "drip":
            self._head(200, len(content), {})
            self._drip()
        elif way == "wrong":
            self._answer(200, flipped)
        elif way == "longer":
            self._answer(200, content + b"x")
        elif way == "shorter":
            self._answer(200, content[:-1])
        elif way.startswith("length "):
            self._head(200, None, {"Content-Length": way.removeprefix("length ")})
            self._send(content)
        elif way.startswith("says "):
            self.close_connection = True
            self.wfile.write(f"HTTP/1.1 418 {way.removeprefix('says ')}\r\n\r\n".encode("latin-1"))
        elif way == "packed":
            self._head(200, len(content), {"Content-Encoding": "gzip"})
            self._send(content)
        elif way == "endless":
            self._head(200, None, {})
            while self._send(content):
                pass
        else:
            raise AssertionError(way)

    def _drip(self) -> None:
        while not self.service.go_on.is_set() and self._send(b"a"):
            time.sleep(0.02)

    def _answer(self, status: int, content: bytes) -> None:
        self._head(status, len(content), {})
        if self.command != "HEAD":
            self._send(content)

    def _head(self, status: int, length: int | None, extra: dict[str, str]) -> None:
        self.asked.status = status
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()

    def _send(self, content: bytes) -> bool:
        """False where nobody listens any more."""
        try:
            for at in range(0, len(content), 1 << 14):
                self.asked.sent += self.wfile.write(content[at : at + (1 << 14)])
        except OSError:
            return False
        return True


@contextmanager
def serve(folder: Path) -> Iterator[Service]:
    """Serve a folder on a free port of this machine."""
    service = Service(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, service))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield service
    finally:
        service.go_on.set()
        server.shutdown()
        server.server_close()
