"""Limits and timeouts of a server."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...core.errors import FacepipeError


@dataclass(frozen=True)
class Settings:
    """Limits and timeouts of a server. Anything over a limit is refused, never truncated or queued beyond it.

    Attributes:
        max_bytes: per uploaded picture (413).
        max_request_bytes: per request body (413).
        max_pixels: width x height per picture, checked before it is decoded (413).
        max_files: pictures per request (400).
        max_memory: bytes of all uploads held at one time (503).
        max_faces: faces classified per picture; the rest, the least confident, get a reason instead.
        max_request_faces: faces classified per request, over all its pictures.
        queue: pictures waiting to be analysed, over all clients (503).
        batch: maximum pictures per detector call on an accelerator; on a CPU it is one.
        window: seconds that such a call waits for pictures being decoded; 0 takes what is there.
        decoders: threads that decode pictures.
        timeout: seconds from the end of an upload to its response (504).
        upload_timeout: seconds that an upload may take (408).
        header_timeout: seconds to send a request's headers, and seconds that a response may stay unread, before the
            connection is closed.
        drain_timeout: seconds that a stopping server gives the requests in flight.
        max_connections: open connections; one more is answered 503 and closed.
        keys: API keys, any of which grants access. None leaves the server open.
        origins: web origins whose pages may call the API (CORS).
        hosts: host names by which the server may be called, without a port; empty allows any. This blocks DNS
            rebinding, where another site's name is pointed at this server.
    """

    max_bytes: int = 20 * 2**20
    max_request_bytes: int = 64 * 2**20
    max_pixels: int = 50_000_000
    max_files: int = 32
    max_memory: int = 512 * 2**20
    max_faces: int = 200
    max_request_faces: int = 800
    queue: int = 64
    batch: int = 8
    window: float = 0.005
    decoders: int = 2
    timeout: float = 30.0
    upload_timeout: float = 30.0
    header_timeout: float = 10.0
    drain_timeout: float = 30.0
    max_connections: int = 512
    keys: tuple[str, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Reject limits that would make some allowed requests impossible to answer.

        Raises:
            FacepipeError: the message names both.
        """
        for larger, smaller in (
            ("queue", "max_files"),
            ("max_request_bytes", "max_bytes"),
            ("max_memory", "max_request_bytes"),
        ):
            if getattr(self, larger) < getattr(self, smaller):
                raise FacepipeError(
                    f"--{larger.replace('_', '-')} {getattr(self, larger)} is less than "
                    f"--{smaller.replace('_', '-')} {getattr(self, smaller)}; raise the one or lower the other"
                )
