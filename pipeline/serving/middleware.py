"""Middleware around every request.

It checks host, origin and API key, sets security headers, counts and logs each request, and drains unread uploads.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import Annotated, Any

from fastapi import Depends
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .metrics import Metrics
from .problems import Refusal
from .web import POLICY

LOG = logging.getLogger("facepipe.serve")
LINGER_SECONDS, LINGER_BYTES = 2.0, 16 * 2**20
"""When a request is answered before its body has been read, up to this much of the rest is read and discarded. Closing
at once would reset the connection, and many clients would report a broken pipe instead of the response (nginx's
``lingering_close``)."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Content-Security-Policy": POLICY,
}
OTHER = "other"
"""Stands for every unknown path in the metrics and the log, so nothing a client makes up gets into either."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: the application to wrap.
        metrics: where requests are counted.
        paths: the paths that are reported by name.
        hosts: allowed names in the ``Host`` header; empty allows any.
        origins: origins whose pages may call the API, besides the server's own.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, paths: Iterable[str], hosts: Sequence[str], origins: Sequence[str]
    ):
        self._app, self._metrics, self._paths = app, metrics, frozenset(paths)
        self._hosts, self._origins = frozenset(hosts), frozenset(origins)
        self._headers = dict(HEADERS)
        if origins:
            self._headers["Cross-Origin-Resource-Policy"] = "cross-origin"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and handle its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        exchange = _Exchange(scope, receive, send, self._headers)
        try:
            if (refusal := self._refusal(scope)) is not None:
                self._metrics.refused.labels(refusal.code).inc()
                await refusal.answer()(scope, exchange.receive, exchange.send)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            LOG.exception("a request failed")
            if exchange.started:
                raise  # the server closes the connection, so half a response is not taken for a whole one
            fault = Refusal(500, "the server failed on this request; its log says why").answer()
            await fault(scope, exchange.receive, exchange.send)
        finally:
            self._record(scope, exchange.status, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> Refusal | None:
        """Refuse a request for a different host name, or from a page of another origin."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._hosts and host and _name(host) not in self._hosts:
            return Refusal(421, "this server does not answer to that Host; --allow-host adds others", "wrong-host")
        if origin is None or origin in self._origins or "*" in self._origins or _authority(origin) == _authority(host):
            return None
        return Refusal(
            403, "pages of that Origin may not call this server; --cors names those that may", "wrong-origin"
        )

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request and log it, without its query, the client's address or any name it contained."""
        path = scope["path"] if scope["path"] in self._paths else OTHER
        method = scope["method"] if scope["method"] in METHODS else OTHER
        self._metrics.requests.labels(path, method, str(status)).inc()
        self._metrics.request_seconds.labels(path).observe(seconds)
        LOG.log(
            logging.DEBUG if path in ("/healthz", "/readyz", "/metrics") else logging.INFO,
            "%s %s %d %.0f ms",
            method,
            path,
            status,
            seconds * 1000,
        )


def _name(host: str) -> str:
    """The host name in a ``Host`` header without the port: ``localhost`` of ``localhost:8000``, ``[::1]``."""
    return (host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]).lower()


def _authority(origin: str) -> str:
    """``name:port`` of an ``Origin`` or ``Host``, without the default port."""
    scheme, _, rest = origin.lower().rpartition("://")
    return rest.removesuffix({"http": ":80", "https": ":443"}.get(scheme, ":80"))


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: MutableMapping[str, str]):
        self._scope, self._receive, self._send, self._headers = scope, receive, send, headers
        self.status = 500
        self.started = False
        self._unread = any(
            (name == b"content-length" and value != b"0") or name == b"transfer-encoding"
            for name, value in scope["headers"]
        )

    async def receive(self) -> Message:
        """Receive a chunk of the body."""
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Message) -> None:
        """Send a chunk of the response."""
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], True
            own = [(name.lower().encode(), value.encode("latin-1")) for name, value in self._headers.items()]
            if self._scope["path"].startswith(("/v1/", "/metrics", "/healthz", "/readyz")):
                own.append((b"cache-control", b"no-store"))
            if self._unread:
                own.append((b"connection", b"close"))
            message["headers"] = [*message.get("headers", []), *own]
        elif self._unread and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _linger(self) -> None:
        """Discard the rest of the body for a while, after the response has been sent."""
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while self._unread and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            LOG.debug("a client kept sending after its answer")


def key_check(keys: tuple[str, ...]) -> Callable[..., Any]:
    """Build a FastAPI dependency that accepts requests with one of the keys; without keys, it accepts every request.

    The key is sent in the ``X-API-Key`` header or as ``Authorization: Bearer``. It is compared with every key, by
    SHA-256 and in constant time, so timing reveals nothing about the keys.
    """

    def digest(key: str) -> bytes:
        return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()

    known = [digest(key) for key in keys]
    if not known:

        async def nothing() -> None:
            """Accept every request."""

        return nothing

    async def check(
        header: Annotated[str | None, Depends(APIKeyHeader(name="X-API-Key", auto_error=False))],
        bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
    ) -> None:
        given = header if header is not None else bearer.credentials if bearer is not None else None
        sent = digest(given or "")
        fits = [hmac.compare_digest(sent, each) for each in known]
        if given is None or not any(fits):
            problem = (
                "is not one of this server's" if given is not None else "is missing; send it as X-API-Key or Bearer"
            )
            raise Refusal(401, f"the API key {problem}", headers={"WWW-Authenticate": "Bearer"})

    return check
