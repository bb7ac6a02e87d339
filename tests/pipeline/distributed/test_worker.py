"""Reading ahead: each picture fetched once, and what a store says."""

from __future__ import annotations

from typing import Any

import pytest
from facepipe.core.errors import ImageError, ImageTooLargeError
from facepipe.pipeline.distributed.worker import ReadAhead
from facepipe.pipeline.inputs.image_reader import Limits


class Shop:
    """In place of ``Stores``: gives what ``answers`` say, and counts the requests."""

    def __init__(self, answers: dict[str, Any]):
        self.answers = answers
        self.asked: list[str] = []

    def open(self, address: str) -> tuple[Any, str]:
        return self, address

    def cat_file(self, path: str) -> bytes:
        self.asked.append(path)
        answer = self.answers[path]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def read_ahead(shop: Shop, sizes: dict[str, int | None], most: int = 1000) -> ReadAhead:
    return ReadAhead(shop, sizes.items(), Limits(bytes=most))  # type: ignore[arg-type]


def test_each_picture_is_fetched_once_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facepipe.pipeline.distributed.worker.BYTES", 25)
    names = [f"s3://b/{number:02}" for number in range(40)]
    shop = Shop({name: name.encode() for name in names})
    ahead = read_ahead(shop, dict.fromkeys(names, 10))
    for name in [names[1], names[0], *names[2:]]:
        assert ahead.take(name) == name.encode()
        assert ahead._held <= 30  # what is asked for comes whether there is room or not
    ahead.close()
    assert sorted(shop.asked) == names
    assert ahead.refused == 0
    assert "s3://b/00" in ahead
    assert "c.jpg" not in ahead


def test_what_a_store_says_becomes_the_pictures_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facepipe.pipeline.distributed.worker.PAUSE", 0)
    answers = {
        "s3://b/gone": FileNotFoundError("gone"),
        "s3://b/mine": PermissionError("Access Denied"),
        "s3://b/down": [OSError("reset"), OSError("reset"), OSError("reset")],
        "s3://b/back": [OSError("reset"), b"fine"],
        "s3://b/large": b"never asked for",
    }
    shop = Shop(answers)
    ahead = read_ahead(shop, {**dict.fromkeys(answers), "s3://b/large": 1001})
    expected: list[tuple[str, type[ImageError], str]] = [
        ("gone", ImageError, "s3://b/gone: no such file"),
        ("mine", ImageError, r"s3://b/mine: cannot be read \(Access Denied\)"),
        ("down", ImageError, r"s3://b/down: cannot be read \(OSError: reset\)"),
        ("large", ImageTooLargeError, "s3://b/large: over the limit of 1,000 bytes"),
    ]
    assert ahead.take("s3://b/back") == b"fine"
    for name, kind, told in expected:
        with pytest.raises(kind, match=told):
            ahead.take(f"s3://b/{name}")
    ahead.close()
    assert ahead.refused == 2  # not what is not there, nor what is too large
    assert ahead.why in ("Access Denied", "OSError: reset")
    assert "s3://b/large" not in shop.asked
