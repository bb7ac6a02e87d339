"""Fetches one picture from an http or https URL, from the public internet only.

Lists of URLs often come from someone else, so a URL must not reach what only this machine can reach. Every address that
its host resolves to must be public, and the connection goes to a checked address rather than to the name again, which
may resolve differently the second time. Each redirect is checked the same way.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from ...core.errors import ImageError, ImageTooLargeError
from .sources import printable, shown

REDIRECTS, SECONDS, CHUNK = 5, 30.0, 65_536
MOVED = (301, 302, 303, 307, 308)
AGENT = "facepipe"
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""The only allocated part of IPv6 (RFC 4291, 2.4); mapped IPv4, NAT64 (64:ff9b::/96) and local lie outside."""
NOT_PUBLIC = tuple(
    ipaddress.ip_network(each)
    for each in (
        "168.63.129.16/32",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)
"""Networks refused in addition to those that ``ipaddress`` calls not global: protocol assignments, 6to4, Teredo and
documentation, some of which embed an IPv4 address (IANA's special-purpose address registries); and the address at which
Azure answers its virtual machines."""

Resolver = Callable[[str, int], list[str]]


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet.

    Private, local, shared (CGNAT), reserved and multicast addresses are not, nor IPv6 addresses that embed an IPv4 one.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if "%" in address:  # a zone, which only local addresses have
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip not in GLOBAL_UNICAST:
        return False
    if any(ip in network for network in NOT_PUBLIC if network.version == ip.version):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_loopback)


def resolve(host: str, port: int) -> list[str]:
    """Every address of a host, in the system's order. No timeout applies to the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def fetch(
    url: str,
    most: int,
    seconds: float = SECONDS,
    public: Callable[[str], bool] = is_public,
    resolver: Resolver = resolve,
) -> bytes:
    """Fetch the content of a URL.

    No proxy, cookie or password is used, and compressed responses are neither requested nor accepted.

    Args:
        url: http or https, without user and password. Up to 5 redirects are followed.
        most: maximum number of bytes.
        seconds: total time limit.
        public: whether an address may be connected to; tests replace it to use a server of their own.
        resolver: returns the addresses of a host.

    Raises:
        ImageError: an invalid URL, a host that is not public, no answer, a status other than 200, or a timeout.
        ImageTooLargeError: over ``most``.
    """
    name, deadline = shown(url), time.monotonic() + seconds
    try:
        for _ in range(REDIRECTS + 1):
            parts = _checked(url, name)
            with (
                closing(_connect(parts, deadline, public, resolver, name)) as connection,
                closing(_ask(connection, parts)) as answer,  # the connection has handed its socket over to it
            ):
                if answer.status not in MOVED:
                    return _content(answer, most, deadline, name)
                target = answer.headers.get("Location")
            if not target:
                raise ImageError(f"{name}: redirects without saying where")
            try:
                url = urljoin(url, target)
            except ValueError as error:  # "http://["
                raise ImageError(f"{name}: redirects to something that is not a URL") from error
    except TimeoutError as error:
        raise ImageError(f"{name}: took longer than {seconds:g} s") from error
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name}: cannot be fetched ({_reason(error)})") from error
    raise ImageError(f"{name}: redirects more than {REDIRECTS} times")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, socket.gaierror | OSError) and error.strerror:
        return error.strerror
    return type(error).__name__  # a library's message may repeat the URL


def _checked(url: str, name: str) -> SplitResult:
    """Split a URL and check that it may be followed."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ImageError(f"{name}: is not a URL") from error
    if parts.scheme not in ("http", "https"):
        raise ImageError(f"{name}: redirects to {printable(parts.scheme)}:, which is not followed")
    if parts.username is not None or parts.password is not None:
        raise ImageError(f"{name}: URLs with a user or password in them are not fetched")
    if not parts.hostname or re.search(r"[\s\x00-\x1f\\]", parts.netloc):
        raise ImageError(f"{name}: is not a URL")
    return parts


def _connect(
    parts: SplitResult, deadline: float, public: Callable[[str], bool], resolver: Resolver, name: str
) -> http.client.HTTPConnection:
    """Connect to one of the host's addresses, all of which must be public."""
    host = parts.hostname or ""
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    addresses = resolver(host, port)
    if not addresses or not all(public(address) for address in addresses):
        raise ImageError(f"{name}: its host is not on the public internet; pictures are fetched from there only")
    failed: OSError | None = None
    for address in addresses:
        raw: socket.socket | None = None
        try:
            raw = _dial(address, port, deadline)
            connection = http.client.HTTPConnection(host, parts.port or port)
            connection.default_port = 443 if secure else 80  # omitted from the Host header
            connection.sock = _secured(raw, host, deadline) if secure else raw
            return connection
        except OSError as error:
            if raw is not None:
                raw.close()
            if isinstance(error, TimeoutError | ssl.SSLError):
                raise
            failed = error
    raise failed or OSError("no address")


def _dial(address: str, port: int, deadline: float) -> socket.socket:
    raw = _Timed(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    raw.deadline = deadline
    try:
        raw.settimeout(_left(deadline))
        raw.connect((address, port))
    except BaseException:
        raw.close()
        raise
    return raw


def _secured(raw: socket.socket, host: str, deadline: float) -> socket.socket:
    context = ssl.create_default_context()
    context.sslsocket_class = _TimedTLS
    secured = context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
    assert isinstance(secured, _TimedTLS)
    secured.deadline = deadline
    try:
        secured.settimeout(_left(deadline))
        secured.do_handshake()
    except BaseException:
        secured.close()
        raise
    return secured


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Timed(socket.socket):
    """A socket whose every read has only the remaining time, so sending single bytes slowly gains nothing."""

    deadline = float("inf")

    def recv_into(self, *args: Any, **named: Any) -> int:
        self.settimeout(_left(self.deadline))
        return super().recv_into(*args, **named)


class _TimedTLS(ssl.SSLSocket):
    """The same, over TLS."""

    deadline = float("inf")

    def recv_into(self, *args: Any, **named: Any) -> int:
        self.settimeout(_left(self.deadline))
        return super().recv_into(*args, **named)


def _ask(connection: http.client.HTTPConnection, parts: SplitResult) -> http.client.HTTPResponse:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/?%:@!$&'()*+,;=~-._[]")
    connection.putrequest("GET", path + (f"?{query}" if query else ""), skip_accept_encoding=True)
    for header, value in {
        "User-Agent": AGENT,
        "Accept": "image/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }.items():
        connection.putheader(header, value)
    connection.endheaders()
    return connection.getresponse()


def _content(answer: http.client.HTTPResponse, most: int, deadline: float, name: str) -> bytes:
    if answer.status != HTTPStatus.OK:
        phrase = http.client.responses.get(answer.status, "")  # the standard phrase, not the server's
        raise ImageError(f"{name}: the server answered {answer.status} {phrase}".rstrip())
    if (answer.headers.get("Content-Encoding") or "identity").strip().lower() != "identity":
        raise ImageError(f"{name}: the server sent it compressed, which was not requested")
    length = answer.length  # None where the server does not say
    if length is not None and length > most:
        raise ImageTooLargeError(f"{name}: over the limit of {most:,} bytes")
    content = bytearray()
    while True:
        _left(deadline)
        chunk = answer.read1(CHUNK)
        if not chunk:
            break
        content += chunk
        if len(content) > most:
            raise ImageTooLargeError(f"{name}: over the limit of {most:,} bytes")
    if length is not None and len(content) < length:
        raise ImageError(f"{name}: the connection ended before the whole file had arrived")
    return bytes(content)
