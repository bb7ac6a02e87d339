"""A repository of the Hugging Face hub as a source of weights.

huggingface_hub knows the hub's address (``HF_ENDPOINT``), the user's key, and which commit a revision is now; that
commit is what everything is read from, so that a push to the repository in the middle of a pull mixes nothing. The
bytes themselves come through :mod:`facepipe.weights.registry.http`, and so under the same limits as from any
other server: ``hf_hub_download`` writes whatever a server sends, and checks it afterwards.

A web server as a source of weights.

requests does the talking, with its usual proxies and certificates. What is ours is what it may not do: leave https,
follow a redirect to where that is not kept, unpack what it gets, or send a key to another host than the source's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from ...core.errors import RemoteError, WeightsError
from ...core.extras import require
from .index import INDEX
from .source import CHUNK, PassingError, Stream, redacted

if TYPE_CHECKING:
    import requests


ADDRESS = re.compile(r"^hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[^/@]+))?(/(?P<folder>.*))?$")


class HubSource:
    """Releases in a repository of models.

    Args:
        address: ``hf://owner/repo[@revision][/folder]``; a revision with slashes is written with %2F.
        insecure_localhost: allow an ``HF_ENDPOINT`` of this very machine by http.

    Raises:
        WeightsError: the address is not of that form.
    """

    remote = True

    def __init__(self, address: str, insecure_localhost: bool = False):
        self.told = address
        self._insecure_localhost = insecure_localhost
        parts = ADDRESS.match(address)
        if parts is None:
            raise WeightsError(
                f"{address}: a source on the Hugging Face hub is named hf://owner/repo[@revision][/folder]"
            )
        self.repo, self.revision = parts["repo"], unquote(parts["revision"] or "main")
        self.folder = (parts["folder"] or "").removesuffix(INDEX).strip("/")

    def open(self, place: str, start: int = 0, validator: str | None = None) -> Stream:
        """As :meth:`facepipe.weights.registry.source.Source.open`."""
        return self._server.open(place, start, validator)

    @cached_property
    def _server(self) -> HttpSource:
        """The repository's files at one commit.

        Raises:
            PassingError: the hub does not answer.
            RemoteError: there is no such repository, revision or index, or the hub refuses it.
        """
        require("huggingface_hub")
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HfHubHTTPError,
            HFValidationError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
        from huggingface_hub.utils import build_hf_headers

        index = f"{self.folder}/{INDEX}" if self.folder else INDEX
        try:
            url = hf_hub_url(self.repo, index, revision=self.revision)
            HttpSource(url, insecure_localhost=self._insecure_localhost)  # refuses an endpoint without https
            headers = build_hf_headers(library_name="facepipe")
            found = get_hf_file_metadata(url, timeout=CONNECT, library_name="facepipe", token=_key(headers))
        except HFValidationError as error:
            raise RemoteError(f"{self.told}: no name of a repository ({error})") from error
        except OfflineModeIsEnabled as error:
            raise RemoteError(f"{self.told}: HF_HUB_OFFLINE forbids the network") from error
        except EntryNotFoundError as error:
            raise RemoteError(f"{self.told}: holds no {index}, so no weights of facepipe") from error
        except RevisionNotFoundError as error:
            raise RemoteError(f"{self.told}: there is no revision {self.revision!r}") from error
        except RepositoryNotFoundError as error:
            raise RemoteError(
                f"{self.told}: there is no such repository, or it is not open to you (hf auth login)"
            ) from error
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", 0)
            kind = RemoteError if 400 <= status < 500 and status not in (408, 429) else PassingError
            raise kind(f"{self.told}: the hub answers {status}") from error
        except (RemoteError, WeightsError):
            raise
        except Exception as error:  # its HTTP library's own, which is another in each generation of huggingface_hub
            raise PassingError(
                f"{self.told}: no answer from the hub ({type(error).__name__}: {error}). Is there a network? What is "
                "installed works without one; a folder can be a source too (--from FOLDER)"
            ) from error
        commit = hf_hub_url(self.repo, index, revision=found.commit_hash or self.revision)
        return HttpSource(commit.removesuffix(quote(INDEX)), headers, self._insecure_localhost)


def _key(headers: dict[str, str]) -> str | bool:
    """The user's key from the headers that huggingface_hub makes; False for none."""
    return headers.get("authorization", "").removeprefix("Bearer ") or False


CONNECT, SILENCE = 10.0, 30.0
"""Seconds until a connection must stand, and between two pieces of an answer (``download.py`` sets further limits)."""
REDIRECTS = 5
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which the same question may be answered (RFC 9110)."""


class HttpSource:
    """Releases below an address.

    Args:
        address: https://host/folder; a query, such as a key of the store, is sent with every file.
        headers: sent to that host, and to no other that it redirects to.
        insecure_localhost: allow http to this very machine.

    Raises:
        WeightsError: the address is not https.
    """

    remote = True

    def __init__(self, address: str, headers: Mapping[str, str] | None = None, insecure_localhost: bool = False):
        self.address, self.headers = address, dict(headers or {})
        self.told = redacted(address)
        parts = urlsplit(address)
        self._plain = parts.scheme == "http"
        """Whether http is allowed at all: only where the source itself is this machine by http."""
        if not parts.hostname:
            raise WeightsError(f"{self.told}: no address of a server")
        if self._plain and not (insecure_localhost and _is_loopback(parts.hostname)):
            hint = "; --insecure-localhost allows it for this machine" if _is_loopback(parts.hostname) else ""
            raise WeightsError(f"{self.told}: weights are taken over https only{hint}")

    def open(self, place: str, start: int = 0, validator: str | None = None) -> Stream:
        """As :meth:`facepipe.weights.registry.source.Source.open`, with ``Range`` and ``If-Range`` (RFC 9110)."""
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if validator:
                headers["If-Range"] = validator
        response = self._ask(self._url(place), headers)
        told = redacted(response.url)
        try:
            if start and (response.status_code == 416 or not _fits(response, start)):
                response.close()
                return self.open(place)  # the file is shorter now, or another part came: the whole of it, then
            self._refuse(response, told)
            begin, total = _extent(response, start)
        except BaseException:
            response.close()
            raise
        return Stream(begin, total, _validator(response.headers), _chunks(response, told), response.close)

    def _url(self, place: str) -> str:
        parts = urlsplit(self.address)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(place)}", fragment=""))

    def _ask(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Send a request, and follow redirects as far as they may go."""
        requests = require("requests")
        home = _host(url)
        for _ in range(REDIRECTS + 1):
            self._check(url)
            own = self.headers if _host(url) == home else {}
            try:
                response = requests.get(
                    url,
                    headers={**own, **headers},
                    auth=_as_it_is if own else None,
                    stream=True,
                    timeout=(CONNECT, SILENCE),
                    allow_redirects=False,
                )
            except requests.exceptions.SSLError as error:
                raise RemoteError(f"{redacted(url)}: its certificate is not good ({_cause(error)})") from error
            except requests.exceptions.Timeout as error:
                raise PassingError(f"{redacted(url)}: no answer in time") from error
            except requests.exceptions.ConnectionError as error:
                raise PassingError(
                    f"{redacted(url)}: no connection to {urlsplit(url).hostname} ({_cause(error)}). Is there a "
                    "network? What is installed works without one; a folder can be a source too (--from FOLDER)"
                ) from error
            except (requests.exceptions.RequestException, ValueError) as error:
                raise RemoteError(f"{redacted(url)}: cannot be asked for ({_cause(error)})") from error
            if not response.is_redirect:
                return response
            response.close()
            url = urljoin(url, response.headers["location"])
        raise RemoteError(f"{self.told}: more than {REDIRECTS} redirects")

    def _check(self, url: str) -> None:
        """Raise RemoteError where a redirect leaves https."""
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname:
            return
        if self._plain and parts.scheme == "http" and _is_loopback(parts.hostname or ""):
            return
        raise RemoteError(f"{self.told}: redirects to {redacted(url)}, and weights are taken over https only")

    def _refuse(self, response: requests.Response, told: str) -> None:
        """Raise an error for an answer that is none."""
        status = response.status_code
        if status == 200 or (status == 206 and "content-range" in response.headers):
            if response.headers.get("content-encoding", "identity") != "identity":
                raise RemoteError(
                    f"{told}: came packed ({response.headers['content-encoding']}), which was not asked for"
                )
            return
        if status in BUSY:
            raise PassingError(f"{told}: the server answers {status} {response.reason}")
        if status in (401, 403):
            raise RemoteError(
                f"{told}: the server refuses it ({status} {response.reason}); is the address right, and a key set?"
            )
        if status in (404, 410):
            raise RemoteError(f"{told}: not there ({status} {response.reason})")
        raise RemoteError(f"{told}: the server answers {status} {response.reason}")


def _extent(response: requests.Response, start: int) -> tuple[int, int | None]:
    """Offset of the first byte of an answer, and the size of the whole file where it is told."""
    if response.status_code == 206:
        total = response.headers["content-range"].rpartition("/")[2]
        return start, int(total) if total.isdecimal() else None
    length = response.headers.get("content-length", "")
    return 0, int(length) if length.isdecimal() else None


def _fits(response: requests.Response, start: int) -> bool:
    """Whether an answer is no part of a file, or begins where it was asked to."""
    unit, _, extent = response.headers.get("content-range", "").partition(" ")
    return response.status_code != 206 or (unit == "bytes" and extent.partition("-")[0] == str(start))


def _validator(headers: Mapping[str, str]) -> str | None:
    """What ``If-Range`` takes: a strong ETag, else the date of the last change."""
    tag = headers.get("etag", "")
    return tag if tag.startswith('"') else headers.get("last-modified")


def _chunks(response: requests.Response, told: str) -> Iterator[bytes]:
    """What comes, when it comes: ``iter_content`` would wait until a whole chunk is there."""
    from urllib3.exceptions import HTTPError

    try:
        while chunk := response.raw.read1(CHUNK, decode_content=False):
            yield chunk
    except (HTTPError, OSError, ValueError) as error:  # ValueError: chunked badly, or closed under our hands
        raise PassingError(f"{told}: the connection broke ({_cause(error)})") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An ``auth`` that leaves our key in its place; without one requests would put in what ``.netrc`` says."""
    return request


def _host(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _cause(error: BaseException) -> str:
    """The innermost reason of an error, which its wrappers repeat at length."""
    inner: BaseException = error
    while True:
        nested = getattr(inner, "reason", None) or next((a for a in inner.args if isinstance(a, BaseException)), None)
        if not isinstance(nested, BaseException):
            break
        inner = nested
    text = getattr(inner, "strerror", None) or str(inner)
    return f"{type(inner).__name__}: {text.rpartition(': ')[2] if type(inner).__name__.startswith('N') else text}"
