"""Addresses of what lies in buckets and other stores: how fsspec opens them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from ...core.errors import RemoteError, WeightsError
from ...weights.registry.bucket_source import open_store
from ...weights.registry.source import offline, redacted


def scheme_of(address: str) -> str:
    """``s3`` of ``s3://bucket/a.jpg``."""
    return address.partition("://")[0].lower()


class Stores:
    """The file systems of addresses, each opened once. Threads may share them."""

    def __init__(self) -> None:
        self._systems: dict[str, Any] = {}

    def open(self, address: str) -> tuple[Any, str]:
        """The file system of an address, and the path there.

        Raises:
            WeightsError: no store that another process can reach, or one that fsspec does not know; an address with a
                password.
            RemoteError: a network is forbidden (``FACEPIPE_OFFLINE``).
            MissingExtraError: what the store needs is not installed.
        """
        scheme, netloc = scheme_of(address), urlsplit(address).netloc
        root = f"{scheme}://{netloc}/"
        system = self._systems.get(root)
        if system is None:
            if scheme == "memory":
                raise WeightsError(f"{redacted(address)}: memory:// lies in one process; the workers are others")
            if ":" in netloc.rpartition("@")[0]:
                raise WeightsError(
                    f"{redacted(address)}: holds a password, which would stand in every row; give it as the store's "
                    "own tools take it (~/.aws, gcloud auth, the environment)"
                )
            if scheme != "file" and offline():
                raise RemoteError(f"{redacted(address)}: needs a network, which FACEPIPE_OFFLINE forbids")
            system = self._systems[root] = open_store(root)[0]
        return system, str(system._strip_protocol(address))


def address_of(system: Any, scheme: str, netloc: str, path: str) -> str:
    """The address of a path that a store has listed.

    Args:
        system: of fsspec.
        scheme, netloc: of the address that was listed.
        path: as the store gives it: ``bucket/a.jpg`` of S3, ``/srv/a.jpg`` of a disk.

    Raises:
        WeightsError: the store has no address that leads back to that path.
    """
    bare = path.lstrip("/")
    for address in (f"{scheme}://{bare}", f"{scheme}://{netloc}/{bare}"):
        if str(system._strip_protocol(address)) == path:
            return address
    raise WeightsError(f"{scheme}://{netloc}: what lies there has no address of its own ({path})")
