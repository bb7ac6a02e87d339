"""A web server as a source of weights.

requests handles proxies, certificates, redirects and keys (which it sends to no other host) as usual. This module adds
only restrictions: never leave https, and never decompress a response.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from ...core.errors import RemoteError, WeightsError
from ...core.extras import require
from .source import CHUNK, SHOWN, PassingError, Stream, redacted

if TYPE_CHECKING:
    import requests

TIMEOUT = (10.0, 30.0)
"""Connect and read timeouts in seconds."""
REDIRECTS = 5
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Status codes after which a retry may succeed (RFC 9110)."""
NO_NETWORK = "Is there a network? Installed models work without one; a folder can be a source too (--from FOLDER)"


class HttpSource:
    """Releases below a URL.

    Args:
        address: https://host/folder; a query, such as a key of the store, is sent with every file.
        insecure_localhost: allow http to this machine.
        timeout: connect and read timeouts in seconds.

    Raises:
        WeightsError: the address is not https.
    """

    remote = True

    def __init__(self, address: str, insecure_localhost: bool = False, timeout: tuple[float, float] = TIMEOUT):
        self.address, self.label, self.timeout = address, redacted(address), timeout
        refuse_plain_http(address, insecure_localhost)
        self._plain = urlsplit(address).scheme == "http"
        """Whether http is allowed at all: only if the source itself is this machine over http."""

    def open(self, place: str) -> Stream:
        """As :meth:`facepipe.weights.registry.source.Source.open`."""
        parts = urlsplit(self.address)
        url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(place)}", fragment=""))
        response = self._ask(url)
        try:
            _refuse(response)
        except BaseException:
            response.close()
            raise
        length = response.headers.get("content-length", "")
        total = int(length) if length.isascii() and length.isdecimal() and len(length) < 19 else None
        return Stream(total, _chunks(response), response.close)

    def _ask(self, url: str) -> requests.Response:
        failed = require("requests").exceptions
        name = redacted(url)
        try:
            return self._session.get(url, headers={"Accept-Encoding": "identity"}, stream=True, timeout=self.timeout)
        except RemoteError:
            raise
        except failed.TooManyRedirects as error:
            raise RemoteError(f"{self.label}: more than {REDIRECTS} redirects") from error
        except failed.SSLError as error:
            raise RemoteError(f"{name}: invalid certificate ({_cause(error)})") from error
        except failed.Timeout as error:
            raise PassingError(f"{name}: no answer in time") from error
        except failed.ConnectionError as error:
            host = urlsplit(url).hostname
            raise PassingError(f"{name}: no connection to {host} ({_cause(error)}). {NO_NETWORK}") from error
        except (failed.RequestException, ValueError) as error:  # ValueError: a redirect to an invalid address
            raise RemoteError(f"{name}: the request failed ({_cause(error)})") from error

    @cached_property
    def _session(self) -> requests.Session:
        """A session that calls ``_refuse_address`` before every request, including redirects."""
        session = require("requests").Session()
        session.max_redirects = REDIRECTS
        usual = session.get_adapter

        def get_adapter(url: str) -> Any:
            self._refuse_address(url)
            return usual(url)

        session.get_adapter = get_adapter
        return session

    def _refuse_address(self, url: str) -> None:
        """Raise RemoteError if a redirect leaves https."""
        parts = urlsplit(url)
        if parts.scheme == "https" or (self._plain and parts.scheme == "http" and is_loopback(parts.hostname or "")):
            return
        raise RemoteError(f"{self.label}: redirects to {redacted(url)}, but weights are downloaded over https only")


def refuse_plain_http(address: str, insecure_localhost: bool) -> None:
    """Refuse an address that is not https, except http to this machine where that is allowed.

    Raises:
        WeightsError: the address is neither https nor, where that is allowed, http to this machine.
    """
    label = redacted(address)
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise WeightsError(f"{label}: not a valid server address ({error})") from error
    if not host or parts.scheme not in ("http", "https"):
        raise WeightsError(f"{label}: not a valid server address")
    if parts.scheme == "http" and not (insecure_localhost and is_loopback(host)):
        hint = "; --insecure-localhost allows it for this machine" if is_loopback(host) else ""
        raise WeightsError(f"{label}: weights are downloaded over https only{hint}")


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse(response: requests.Response) -> None:
    """Raise an error for a response that is not a file."""
    name, status = redacted(response.url), response.status_code
    says = f"{status} {(response.reason or '')[:SHOWN]}".strip()
    packed = response.headers.get("content-encoding", "identity")
    if status == 200 and packed != "identity":
        raise RemoteError(f"{name}: sent compressed ({packed[:SHOWN]}), which was not requested")
    if status in BUSY:
        raise PassingError(f"{name}: the server answered {says}")
    if status in (401, 403):
        raise RemoteError(f"{name}: the server denied access ({says}); is the address right, and is a key set?")
    if status in (404, 410):
        raise RemoteError(f"{name}: not found ({says})")
    if status != 200:
        raise RemoteError(f"{name}: the server answered {says}")


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield data as it arrives; ``iter_content`` would wait for a whole chunk."""
    from urllib3.exceptions import HTTPError

    try:
        while chunk := response.raw.read1(CHUNK, decode_content=False):
            yield chunk
    except (HTTPError, OSError, ValueError) as error:  # ValueError: bad chunked encoding, or closed meanwhile
        raise PassingError(f"{redacted(response.url)}: the connection broke ({_cause(error)})") from error


def _cause(error: BaseException) -> str:
    """The innermost cause of an error, which its wrappers repeat at length."""
    inner: BaseException = error
    while True:
        nested = getattr(inner, "reason", None) or next((a for a in inner.args if isinstance(a, BaseException)), None)
        if not isinstance(nested, BaseException):
            break
        inner = nested
    text = getattr(inner, "strerror", None) or str(inner)
    text = text.rpartition(": ")[2] if type(inner).__name__.startswith("N") else text
    return " ".join(f"{type(inner).__name__}: {text}".split())[:SHOWN]
