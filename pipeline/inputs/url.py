"""What is a URL, and how one is shown. Fetching is apart (``fetch``): it has all of HTTP and TLS imported."""

from __future__ import annotations

import re
from typing import TypeGuard

STORE = re.compile(r"(?!https?://|rtsps?://)[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_url(source: object) -> TypeGuard[str]:
    """Whether a source is the text of an http or https URL."""
    return isinstance(source, str) and source[:8].lower().startswith(("http://", "https://"))


def is_store(text: str) -> bool:
    """Whether a text is the address of a store, such as ``s3://bucket/a.jpg``: not a path, a web page or a stream."""
    return STORE.match(text) is not None


def shown(url: str) -> str:
    """A URL fit for a message: without user, password, fragment and its query, which may hold a key.

    >>> shown("https://ann:secret@example.org/a.jpg?key=1234")
    'https://example.org/a.jpg?…'
    """
    bare, asked, _ = without_credentials(url).partition("?")
    return bare + ("?…" if asked else "")


def without_credentials(url: str) -> str:
    """A URL without user, password and fragment; its query tells one picture from another and stays.

    >>> without_credentials("https://ann:secret@example.org/a.jpg?page=1")
    'https://example.org/a.jpg?page=1'
    """
    scheme, _, rest = url.partition("://")
    end = min((place for mark in "/?#\\" if (place := rest.find(mark)) >= 0), default=len(rest))
    bare = rest[:end].rpartition("@")[2] + rest[end:]
    return printable(f"{scheme}://{bare.partition('#')[0]}")


def printable(text: str) -> str:
    """Text of others' making without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
