"""A repository on the Hugging Face hub as a source of weights.

huggingface_hub knows the hub's address (``HF_ENDPOINT``) and the user's key; it downloads, retries and caches. Its
files are checked like those of any other source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from ...core.errors import FacepipeError, RemoteError, WeightsError
from ...core.extras import require
from .http import NO_NETWORK, refuse_plain_http
from .index import INDEX
from .source import CHUNK, PassingError, Stream, described

ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[^/@]+))?(/(?P<folder>.*))?", re.ASCII)


class HubSource:
    """Releases in a model repository.

    Args:
        address: ``hf://owner/repo[@revision][/folder]``; write slashes in a revision as %2F.
        insecure_localhost: allow an ``HF_ENDPOINT`` on this machine over http.

    Raises:
        WeightsError: the address does not have that form.
    """

    remote = True

    def __init__(self, address: str, insecure_localhost: bool = False):
        self.label = address
        self._insecure_localhost = insecure_localhost
        parts = ADDRESS.fullmatch(address)
        if parts is None:
            raise WeightsError(
                f"{address}: a source on the Hugging Face hub is named hf://owner/repo[@revision][/folder]"
            )
        self.repo, self.revision = parts["repo"], unquote(parts["revision"] or "main")
        self.folder = (parts["folder"] or "").removesuffix(INDEX).strip("/")

    def open(self, place: str) -> Stream:
        """Open a file for reading, after downloading it into huggingface_hub's cache.

        Args:
            place: the file's path below the source, with slashes.

        Raises:
            PassingError, RemoteError: as :meth:`facepipe.weights.registry.source.Source.open`.
            WeightsError: ``HF_ENDPOINT`` is not https.
        """
        hub = require("huggingface_hub")
        refuse_plain_http(hub.hf_hub_url(self.repo, INDEX), self._insecure_localhost)
        name = f"{self.folder}/{place}" if self.folder else place
        hub.utils.disable_progress_bars()
        try:
            found = Path(hub.hf_hub_download(self.repo, name, revision=self.revision, library_name="facepipe"))
            file = found.open("rb")
        except FacepipeError:
            raise
        except Exception as error:  # its own, or its HTTP library's, which differs between its versions
            raise self._ours(error, name) from error

        def chunks() -> Iterator[bytes]:
            while chunk := file.read(CHUNK):
                yield chunk

        return Stream(found.stat().st_size, chunks(), file.close)

    def _ours(self, error: Exception, name: str) -> RemoteError:
        """Convert an error of huggingface_hub to one of ours."""
        known = require("huggingface_hub.errors")
        if isinstance(error, known.HFValidationError):
            return RemoteError(f"{self.label}: not a valid repository name ({described(error)})")
        if isinstance(error, known.OfflineModeIsEnabled):
            return RemoteError(f"{self.label}: HF_HUB_OFFLINE forbids the network")
        if isinstance(error, known.LocalEntryNotFoundError):
            return PassingError(f"{self.label}: no answer from the hub ({described(error)}). {NO_NETWORK}")
        if isinstance(error, known.EntryNotFoundError):
            return RemoteError(f"{self.label}: has no {name}" + (", so no facepipe weights" * (INDEX in name)))
        if isinstance(error, known.RevisionNotFoundError):
            return RemoteError(f"{self.label}: there is no revision {self.revision!r}")
        if isinstance(error, known.RepositoryNotFoundError):
            return RemoteError(
                f"{self.label}: there is no such repository, or you have no access to it (hf auth login)"
            )
        status = getattr(getattr(error, "response", None), "status_code", 0)
        kind = RemoteError if 400 <= status < 500 and status not in (408, 429) else PassingError
        says = f"answered {status}" if status else f"did not answer ({described(error)}). {NO_NETWORK}"
        return kind(f"{self.label}: the hub {says}")
