"""Addresses of stores, the pictures behind them, and the blocks that they are cut into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from facepipe.core.errors import FacepipeError, ImageError, RemoteError, WeightsError
from facepipe.pipeline.distributed.listing import Stores, address_of, block_size, cut_blocks, list_pictures
from facepipe.pipeline.inputs.sources import is_store

SETTINGS = {"detector": "1.0.0", "--confidence": None, "--tiles": False}


@pytest.mark.parametrize("text", ["s3://bucket/a.jpg", "gs://b/**", "file:///srv/a.jpg", "S3://b/a", "sftp://host/a"])
def test_addresses_of_stores(text: str) -> None:
    assert is_store(text)


@pytest.mark.parametrize("text", ["a.jpg", "/srv/a.jpg", "https://a.org/a.jpg", "rtsp://cam", "camera:0", "C:\\a.jpg"])
def test_others_are_none(text: str) -> None:
    assert not is_store(text)


@pytest.mark.parametrize("path", ["/srv/pictures/a.jpg", "/a b/ü#1?.jpg"])
def test_a_listed_path_gets_an_address_that_leads_back(path: str) -> None:
    system, _ = Stores().open("file:///srv")
    address = address_of(system, "file", "", path)
    assert Stores().open(address)[1] == path


def test_no_address_with_a_password_or_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="contains a password") as caught:
        Stores().open("sftp://ann:secret@host/a.jpg")
    assert "secret" not in str(caught.value)
    with pytest.raises(WeightsError, match="memory:// belongs to one process"):
        Stores().open("memory://a.jpg")
    monkeypatch.setenv("FACEPIPE_OFFLINE", "1")
    with pytest.raises(RemoteError, match="FACEPIPE_OFFLINE"):
        Stores().open("s3://bucket/a.jpg")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Pictures, hidden ones, another file and a video in folders."""
    for name in ("b.jpg", "a.png", "deep/er/c.webp", ".hidden.jpg", "notes.txt", "clip.mp4", "deep/odd.name"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))
    return tmp_path / "tree"


def named(listing: Any, tree: Path) -> list[str]:
    return [source.removeprefix(f"file://{tree}/") for source in listing.sizes]


def test_a_folder_of_a_store(tree: Path) -> None:
    listing = list_pictures([f"file://{tree}"])
    assert named(listing, tree) == ["a.png", "b.jpg", "deep/er/c.webp"]
    assert list(listing.sizes.values()) == [5, 5, 14]
    assert (listing.passed_over, listing.videos) == (3, 1)
    assert named(list_pictures([f"file://{tree}/"], recursive=False), tree) == ["a.png", "b.jpg"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**", ["a.png", "b.jpg", "deep/er/c.webp"]),
        ("**/*.webp", ["deep/er/c.webp"]),
        ("*", ["a.png", "b.jpg", "deep/er/c.webp"]),
        ("?.jpg", ["b.jpg"]),
    ],
)
def test_globs_of_a_store(tree: Path, pattern: str, found: list[str]) -> None:
    assert named(list_pictures([f"file://{tree}/{pattern}"]), tree) == found


def test_what_is_named_itself_is_taken_and_each_once(tree: Path) -> None:
    (tree / "odd[1].jpg").write_bytes(b"1")
    texts = [f"file://{tree}/{name}" for name in ("deep/odd.name", "gone.jpg", "odd[1].jpg", "b.jpg", "*.jpg")]
    listing = list_pictures([*texts, str(tree / "a.png")])
    assert named(listing, tree) == [str(tree / "a.png"), "deep/odd.name", "gone.jpg", "odd[1].jpg", "b.jpg"]
    assert listing.sizes[f"file://{tree}/gone.jpg"] is None


def test_nothing_found_and_videos(tree: Path) -> None:
    with pytest.raises(ImageError, match=r"no picture found; .*gone: not there"):
        list_pictures([f"file://{tree}/gone"])
    with pytest.raises(ImageError, match=r"no picture found \(1 other files there\)"):
        list_pictures([f"file://{tree}/*.mp4"])
    for video in (f"file://{tree}/clip.mp4", str(tree / "clip.mp4")):
        with pytest.raises(FacepipeError, match=r"clip\.mp4: is a video; --engine ray"):
            list_pictures([video])


def test_blocks_follow_from_list_and_settings() -> None:
    sizes = {f"{number}.jpg": number for number in range(10)}
    blocks = cut_blocks(sizes, 4, SETTINGS)
    assert [len(block.sources) for block in blocks] == [4, 4, 2]
    assert blocks[2].sizes == (8, 9)
    assert [block.name for block in blocks] == sorted(block.name for block in blocks)
    assert blocks == cut_blocks(sizes, 4, dict(reversed(SETTINGS.items())))
    others = [cut_blocks(sizes, 4, {**SETTINGS, "--confidence": 0.5}), cut_blocks({"x.jpg": 1, **sizes}, 4, SETTINGS)]
    for other in others:
        assert not {block.name for block in blocks} & {block.name for block in other}


def test_block_sizes() -> None:
    assert [block_size(number) for number in (1, 500, 20_000, 10**6, 10**9)] == [25, 25, 79, 500, 500]
