"""Versions and other values of records; files of anybody: regular ones of the right size, and JSON within bounds."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from facepipe.core.errors import WeightsError
from facepipe.weights.records import is_plain, is_version, parse_json, read_regular, shortened


def test_regular_files_and_links_to_them(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    (tmp_path / "link").symlink_to(path)
    assert read_regular(path, 5, exactly=True) == read_regular(tmp_path / "link", 9) == b"12345"
    for most, exactly in ((4, False), (4, True), (6, True)):
        with pytest.raises(WeightsError, match=f"has 5 bytes, expected .*{most}"):
            read_regular(path, most, exactly)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", 5)
    with pytest.raises(OSError, match="too long"):
        read_regular(tmp_path / ("x" * 5000), 5)
    with pytest.raises(WeightsError, match="not a valid file name"):
        read_regular(Path("a\0b"), 5)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "pipe link").symlink_to(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "socket"))
        for name in ("pipe", "zero", "pipe link", "folder", "socket"):
            with pytest.raises(WeightsError, match="not a regular file"):
                read_regular(tmp_path / name, 10)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "EOF"),
        (b"NaN", "value"),
        (b"[" * 10_000, "recursion"),
        (b'{"a": "\\u001b[2J"}', "control character"),
        (b'{"\\u0000": 1}', "control character"),
        (b" " * 4_000_001, "4,000,000"),
        (b"\xff", "value"),
    ],
)
def test_bad_json(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(content)


def test_plain_text() -> None:
    assert parse_json(b'{"a": ["x\\ny", 1.5, null]}') == {"a": ["x\ny", 1.5, None]}
    assert is_plain("Gr\u00fc\u00dfe, \u4f60\u597d \U0001f600\u200d\n\t")
    assert not any(is_plain(f"a{letter}") for letter in "\x1b\x07\r\x00\x7f\x9b\u202e\u2066")


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
