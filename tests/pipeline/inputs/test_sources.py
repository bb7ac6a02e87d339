from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facepipe.core.errors import DataError, ImageError
from facepipe.pipeline.inputs.image_reader import read_frame, source_name
from facepipe.pipeline.inputs.sources import gather, read_list, shown

UNDECODABLE = os.fsdecode(b"caf\xe9.jpg")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of many things; the tests run beside it."""
    for name in (
        "b.jpg",
        "a.PNG",
        "größe 名.webp",
        "clip.MP4",
        "notes.txt",
        ".hidden.jpg",
        "sub/c.heic",
        "sub/deep/d.avif",
        "sub/deep/readme",
        ".cache/e.jpg",
        "x[1].jpg",
    ):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_a_folder_is_walked_in_order_and_the_rest_is_counted(tree: Path) -> None:
    found = gather(["photos"])
    names = ["a.PNG", "b.jpg", "größe 名.webp", "sub/c.heic", "sub/deep/d.avif", "x[1].jpg"]
    assert found.pictures == tuple(os.path.join("photos", *name.split("/")) for name in names)
    assert found.videos == (os.path.join("photos", "clip.MP4"),)
    assert found.passed_over == 2
    assert found.problems == ()
    flat = gather(["photos"], recursive=False)
    assert flat.pictures == tuple(path for path in found.pictures if "sub" not in path)
    assert flat.passed_over == 1
    assert gather([str(tree)]).pictures == tuple(str(tree.parent / path) for path in found.pictures)


def test_the_same_path_is_taken_once_in_its_first_place(tree: Path) -> None:
    found = gather(["photos/x[1].jpg", "photos", "photos/b.jpg", "./photos//b.jpg", str(tree / "b.jpg"), "photos"])
    assert found.pictures[0] == "photos/x[1].jpg"
    assert len(found.pictures) == 6
    assert found.passed_over == 2
    assert gather(["photos/sub", "photos"]).pictures[0] == os.path.join("photos", "sub", "c.heic")


@pytest.mark.parametrize(
    ("pattern", "names", "passed_over"),
    [
        ("photos/*.jpg", ["b.jpg", "x[1].jpg"], 0),
        ("photos/?.*", ["a.PNG", "b.jpg"], 0),
        ("photos/**/*.avif", ["sub/deep/d.avif"], 0),
        ("photos/**/c.*", ["sub/c.heic"], 0),
        ("photos/**", ["a.PNG", "b.jpg", "größe 名.webp", "sub/c.heic", "sub/deep/d.avif", "x[1].jpg"], 2),
        ("**/deep/*", ["sub/deep/d.avif"], 1),
        ("photos/s*", ["sub/c.heic", "sub/deep/d.avif"], 1),
        ("photos/sub/**/**/*", ["sub/c.heic", "sub/deep/d.avif"], 1),
        ("photos/*/deep/[a-d].avif", ["sub/deep/d.avif"], 0),
    ],
)
def test_globs_that_the_shell_has_left(tree: Path, pattern: str, names: list[str], passed_over: int) -> None:
    for text in (pattern, str(tree.parent / pattern)):
        found = gather([text])
        assert [Path(path).resolve() for path in found.pictures] == [tree / name for name in names]
        assert found.passed_over == passed_over
    assert gather([pattern]).pictures == tuple(f"photos/{name}" for name in names)


def test_what_is_named_itself_is_taken_whatever_it_is(tree: Path) -> None:
    found = gather(["photos/notes.txt", "missing.jpg", "missing.mkv", "photos/.hidden.jpg", "a\0b"])
    assert found.pictures == ("photos/notes.txt", "missing.jpg", "photos/.hidden.jpg", "a\0b")
    assert found.videos == ("missing.mkv",)
    for picture in found.pictures:
        with pytest.raises(ImageError):
            read_frame(picture)


def test_cameras_and_streams_are_videos_and_urls_need_leave(tree: Path) -> None:
    live = ("camera:0", "rtsp://10.0.0.9/live", "RTSPS://cam.example/1")
    assert gather(live).videos == live
    assert gather(["camera:x", "camera:1"]).pictures == ("camera:x",)
    with pytest.raises(ImageError, match=r"https://example\.org/a\.jpg\?…: is a URL.*--allow-url"):
        gather(["https://ann:secret@example.org/a.jpg?key=1234"])
    urls = ("https://example.org/a.jpg?page=1", "HTTP://example.org/picture")
    assert gather(urls * 2, allow_url=True).pictures == urls
    with pytest.raises(ImageError, match="download it first"):
        gather(["https://example.org/clip.mp4?x=1"], allow_url=True)
    with pytest.raises(ImageError, match="--from -"):
        gather(["-"])


def test_nothing_found_says_where_and_what_would_be_taken(tree: Path) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(ImageError, match=r"photos/empty: no picture or video found; facepipe takes jpg"):
        gather(["photos/empty"])
    with pytest.raises(ImageError, match=r"\(1 other files there\)"):
        gather(["photos/*.txt"])
    with pytest.raises(ImageError, match="nothing named"):
        gather([])
    found = gather(["photos/empty", "photos/*.nef", "photos/b.jpg"])
    assert found.pictures == ("photos/b.jpg",)
    assert found.problems == tuple(f"photos/{name}: holds no picture or video" for name in ("empty", "*.nef"))


def test_links_in_a_circle_end(tree: Path) -> None:
    for name in ("one", "two", "three"):
        (tree / "sub" / name).symlink_to(tree, target_is_directory=True)
    (tree / "sub" / "itself.jpg").symlink_to("itself.jpg")
    (tree / "sub" / "nowhere.jpg").symlink_to("gone.jpg")
    assert len(gather(["photos"]).pictures) == 8, "each folder once, and the broken links, whose failures will be told"
    assert len(gather(["photos/**/*.heic"]).pictures) == 1
    (tree.parent / "linked").symlink_to(tree / "sub" / "deep", target_is_directory=True)
    assert gather(["linked"]).pictures == (os.path.join("linked", "d.avif"),)


def test_a_folder_that_cannot_be_read_is_told_and_the_rest_is_taken(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = gather(["photos"])
    assert len(found.pictures) == 5
    assert found.problems == ("photos/sub/deep: cannot be read (Permission denied)",)
    with pytest.raises(ImageError, match="Permission denied"):
        gather(["photos/sub/deep"])


def test_paths_that_are_not_unicode_go_all_the_way(tmp_path: Path, encode: Callable[..., bytes]) -> None:
    folder = os.path.join(tmp_path, os.fsdecode(b"\xff\xfe"))
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    path = os.path.join(folder, UNDECODABLE)
    Path(path).write_bytes(encode(".jpg"))
    (tmp_path / "list").write_bytes(os.fsencode(path) + b"\n")
    for texts in ([str(tmp_path)], [path], [f"{tmp_path}/**/*.jpg"], [f"{folder}/*"], read_list(tmp_path / "list")):
        assert gather(texts).pictures == (path,)
    assert read_frame(path).shape == (120, 160, 3)
    Path(path).unlink()
    (Path(folder) / os.fsdecode(b"\xe9.txt")).touch()
    with pytest.raises(ImageError) as caught:
        gather([folder])
    str(caught.value).encode()  # can be printed


@pytest.mark.parametrize(
    "content",
    [
        b"a.jpg\nb c.jpg\n",
        b"a.jpg\r\n\r\nb c.jpg\r\n",
        b"\xef\xbb\xbfa.jpg\n\n  \nb c.jpg",
        b"a.jpg\0b c.jpg\0",
        "a.jpg\r\nb c.jpg\r\n".encode("utf-16"),
    ],
)
def test_lists(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    assert read_list(tmp_path / "list.txt") == ["a.jpg", "b c.jpg"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert read_list("-") == ["a.jpg", "b c.jpg"]


def test_lists_keep_what_a_name_may_hold(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes("größe\n名.jpg\0 b.jpg\0".encode() + b"caf\xe9.jpg\0")
    assert read_list(tmp_path / "list") == ["größe\n名.jpg", " b.jpg", UNDECODABLE]


def test_what_is_no_list_is_said(tmp_path: Path, encode: Callable[..., bytes]) -> None:
    (tmp_path / "blank").write_bytes(b"\n \r\n")
    (tmp_path / "photo").write_bytes(encode(".png", np.zeros((4, 4, 3), np.uint8)))
    for name, message in (
        ("blank", "the list is empty"),
        ("photo", "is a picture"),
        ("gone", "No such file"),
        (".", "list"),
    ):
        with pytest.raises(DataError, match=message):
            read_list(tmp_path / name)


def test_a_file_that_is_named_itself_is_tried_whatever_its_suffix_is(
    tmp_path: Path, encode: Callable[..., bytes]
) -> None:
    """Its first bytes decide; where they tell nothing, or the file is not there, the suffix does."""
    boxes = b"\0\0\0\x18ftypisom\0\0\2\0isommp41"
    contents = {
        "clip.dat": (boxes, True),
        "clip.jpg": (b"\x1a\x45\xdf\xa3" + bytes(50), True),
        "clip": (b"RIFF\0\0\0\0AVI LIST", True),
        "clip.bin": ((b"\x47" + bytes(187)) * 4, True),
        "photo.mp4": (encode(".jpg"), False),
        "photo.mkv": (encode(".webp"), False),
        "photo.dat": (encode(".png"), False),
        "photo.avi": (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", False),
        "text.mp4": (b"once upon a time", True),
        "text.txt": (b"once upon a time", False),
        "empty.mov": (b"", True),
    }
    for name, (content, video) in contents.items():
        (tmp_path / name).write_bytes(content)
        found = gather([str(tmp_path / name)])
        assert bool(found.videos) is video, name
        assert bool(found.pictures) is not video, name
    assert gather([str(tmp_path / "none.mp4")]).videos
    assert gather([str(tmp_path / "none.jpg")]).pictures


def test_what_is_no_url_is_an_error_of_its_own() -> None:
    assert gather(["http://[", "http://[::1/a.mp4"], allow_url=True).pictures == ("http://[", "http://[::1/a.mp4")
    for url in ("http://[", "http://[::1/a.mp4", "https://[x]/"):
        with pytest.raises(ImageError, match="is not a URL"):
            read_frame(url, allow_url=True)


def test_names_of_urls_have_no_credentials() -> None:
    url = "https://ann:se@cret@example.org:8443/a@b.jpg?key=1#x"
    assert source_name(url) == "https://example.org:8443/a@b.jpg?key=1"
    assert shown(url) == "https://example.org:8443/a@b.jpg?…"
    assert shown("http://example.org/\x1b[2J") == "http://example.org/\ufffd[2J"
