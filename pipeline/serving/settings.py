"""What a server allows and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...core.errors import FacepipeError


@dataclass(frozen=True)
class Settings:
    """Limits and times of a server. What is over a limit is refused; nothing is cut down or queued beyond it.

    Attributes:
        max_bytes: of one uploaded picture (413).
        max_request_bytes: of one request's body (413).
        max_pixels: width x height of one picture, looked at before it is decoded (413).
        max_files: pictures in one request (400).
        max_memory: bytes of all uploads that are held at one time (503).
        max_faces: faces that are classified of one picture; those beyond, the least confident, have a reason instead.
        max_request_faces: the same of all pictures of a request together.
        queue: pictures that wait to be analysed, of all clients (503).
        batch: most pictures in one call of a detector on an accelerator; on a CPU it is one.
        window: seconds that such a call waits for pictures that are being decoded; 0 takes what is there.
        decoders: threads that decode pictures.
        timeout: seconds from the end of an upload to its answer (504).
        upload_timeout: seconds that an upload may take (408).
        header_timeout: seconds that a connection may take to send a request's headers, and that a client may leave an
            answer unread; the connection is then closed.
        drain_timeout: seconds that a stopping server gives the requests in flight.
        max_connections: open connections; one more is answered 503 and closed.
        keys: API keys; any of them opens the door. None leaves it open.
        origins: web origins whose pages may call the API (CORS).
        hosts: names by which the server may be called, without a port; none takes any. A page elsewhere whose name is
            made to lead here (DNS rebinding) is refused by this.
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
        """Refuse limits under which some allowed request could never be answered.

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
