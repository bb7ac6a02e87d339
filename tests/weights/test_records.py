"""Versions, and other values that records hold."""

from __future__ import annotations

import pytest
from facepipe.weights.records import is_version, shortened


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("1.2.3", True),
        ("1.2.3-rc.1", True),
        ("1.2.3.dev1", True),
        ("1.2.3\n", False),
        ("\u0661.2.3", False),
        ("1.2", False),
        ("1.2.3-\u00e9", False),
        (f"1.2.{'3' * 10}", False),
    ],
)
def test_versions(text: str, right: bool) -> None:
    assert is_version(text) is right


def test_long_texts_are_quoted_by_their_beginning() -> None:
    assert shortened("a\n") == r"'a\n'"
    assert len(shortened("x" * 5000)) == 63
