"""A repository of the Hugging Face hub as a source of weights.

huggingface_hub knows the hub's address (``HF_ENDPOINT``), the user's key, and which commit a revision is now; that
commit is what everything is read from, so that a push to the repository in the middle of a pull mixes nothing. The
bytes themselves come through :mod:`facepipe.weights.registry.http_source`, and so under the same limits as from any
other server: ``hf_hub_download`` writes whatever a server sends, and checks it afterwards.
"""

from __future__ import annotations

import re
from functools import cached_property
from urllib.parse import quote, unquote

from ...core.errors import MissingExtraError, RemoteError, WeightsError
from .http_source import CONNECT, HttpSource
from .index import INDEX
from .source import PassingError, Stream

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
        try:
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
        except ImportError as error:
            raise MissingExtraError("huggingface_hub", "hub") from error
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
