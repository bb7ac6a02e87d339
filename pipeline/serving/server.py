"""uvicorn with added timeouts and a graceful stop.

It adds timeouts for incomplete headers and unread responses, answers clients that have half-closed their connection,
and on stopping answers every request in flight.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from types import FrameType

import uvicorn
from fastapi import FastAPI
from h11 import IDLE
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...core.errors import FacepipeError
from .problems import MEDIA_TYPE, Refusal
from .settings import Settings

LOG = logging.getLogger("facepipe.serve")
HEADER_BYTES = 16 * 2**10
"""Maximum size of a request line and its headers, in bytes."""
PROBE = 0.1
"""Seconds between checks whether a half-closed client is still there."""
BACKLOG = 1024
"""Connections that the system queues until they are accepted."""


class TimedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with two timeouts and a connection limit.

    uvicorn waits indefinitely for a request's headers to arrive and for a client to read its response (its keep-alive
    timeout runs only between requests), so a few hundred idle sockets could take it down ("slow loris").
    """

    settings: Settings
    """Set on the subclass that :func:`timed_protocol` makes."""
    _header_clock: asyncio.TimerHandle | None = None
    _write_clock: asyncio.TimerHandle | None = None
    _half_closed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # A response is two writes. Without this the second one waits for the client to acknowledge the first, which may
        # take 40 ms (RFC 1122, 4.2.3). asyncio sets it only if the listening socket names its protocol.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > self.settings.max_connections:
            transport.write(_full())
            transport.close()
            return
        self._header_clock = self.loop.call_later(self.settings.header_timeout, self._close)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is not IDLE:
            self._stop_header_clock()
        elif self._header_clock is None:
            self._header_clock = self.loop.call_later(self.settings.header_timeout, self._close)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Handle a half-closed connection: the client still gets the response to a complete request.

        A client that has gone altogether looks the same until something is sent to it and its system answers with a
        reset. The interim response ``100 Continue`` is safe to send, because clients ignore it (RFC 9110, 15.2).
        """
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        self._half_closed = True
        if not cycle.response_started and cycle.scope["http_version"] == "1.1":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.loop.call_later(PROBE, self._end_if_gone)
        return True

    def _end_if_gone(self) -> None:
        if self.transport.is_closing():
            return
        if self.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
        else:
            self.loop.call_later(PROBE, self._end_if_gone)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._half_closed and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_clock = self.loop.call_later(self.settings.header_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_clock is not None:
            self._write_clock.cancel()
            self._write_clock = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_header_clock()
        if self._write_clock is not None:
            self._write_clock.cancel()

    def _stop_header_clock(self) -> None:
        if self._header_clock is not None:
            self._header_clock.cancel()
            self._header_clock = None

    def _close(self) -> None:
        self.transport.close()


def timed_protocol(settings: Settings) -> type[TimedProtocol]:
    """The protocol class bound to a server's settings; uvicorn creates its own instances."""
    return type("TimedProtocol", (TimedProtocol,), {"settings": settings})


def _full() -> bytes:
    """The complete response to a connection over the limit."""
    answer = Refusal(503, "the server has reached its limit of connections; try again", "connections-full").answer()
    body = bytes(answer.body)
    lines = (
        "HTTP/1.1 503 Service Unavailable",
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        f"Retry-After: {answer.headers['retry-after']}",
        "Connection: close",
    )
    return "\r\n".join([*lines, "", ""]).encode() + body


class Server(uvicorn.Server):
    """A server that stops gracefully: it answers new requests with 503 until those in flight are done.

    Args:
        app: from ``create_app``.
        settings: the same settings that it was created with.

    ``run([listen(host, port)])`` serves until it is told to stop.
    """

    def __init__(self, app: FastAPI, settings: Settings):
        super().__init__(
            uvicorn.Config(
                app,
                http=timed_protocol(settings),
                ws="none",
                lifespan="on",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                log_config=None,
                h11_max_incomplete_event_size=HEADER_BYTES,
                timeout_graceful_shutdown=5,
            )
        )
        self._detection = app.state.detection
        self._settings = settings
        self._drained_by: float | None = None

    def stop(self) -> None:
        """Begin to stop. Safe to call from another thread or a signal handler."""
        if self._drained_by is None:
            self._drained_by = time.monotonic() + self._settings.drain_timeout
            self._detection.draining = True
            LOG.info("stopping: %d requests in flight", self._detection.in_flight)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins a graceful stop; the second stops at once."""
        if self._drained_by is None:
            self.stop()
        else:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Called every tenth of a second; returns whether to exit."""
        if self._drained_by is not None:
            late = time.monotonic() > self._drained_by
            if late and self._detection.in_flight:
                LOG.warning("stopping with %d requests unanswered", self._detection.in_flight)
            if late or not self._detection.in_flight:
                self.should_exit = True
        return await super().on_tick(counter)


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Args:
        host: an address or a name of this machine.
        port: 0 takes a free one.

    Raises:
        FacepipeError: the address does not exist here, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FacepipeError(
            f"cannot listen on {host} port {port} ({reason}); choose another --host or --port"
        ) from error


def address(listening: socket.socket) -> str:
    """``http://host:port`` of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
