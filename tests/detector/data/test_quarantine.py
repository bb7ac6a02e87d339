"""What is set aside comes back exactly; what fails has moved nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.core.errors import DataError
from facepipe.detector.data import quarantine as module
from facepipe.detector.data.dataset import read_description
from facepipe.detector.data.inventory import take_inventory
from facepipe.detector.data.quarantine import LIST, Moved, restore, set_aside

FACE, HEAD, EMPTY = "images/train/faces0.png", "images/val/heads1.png", "images/train/empty2.png"


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder; empty folders by an entry of their own."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else b"folder"
        for path in sorted(root.rglob("*"))
    }


def move(yaml: Path, folder: Path, *files: str) -> Moved:
    inventory = take_inventory(yaml)
    return set_aside(inventory.description, inventory.csv, files, folder)


def test_there_and_back(clean: Path, tmp_path: Path) -> None:
    before, folder = contents(clean.parent), tmp_path / "aside"
    assert move(clean, folder, FACE, HEAD) == Moved(pictures=2, files=5, lines=2)
    after = contents(clean.parent)
    gone = {FACE, "labels/train/faces0.txt", "ignore/train/faces0.txt", HEAD, "labels/val/heads1.txt"}
    assert set(before) - set(after) == gone
    assert {name: (folder / name).read_bytes() for name in gone} == {name: before[name] for name in gone}
    rows = (clean.parent / "labelled.csv").read_text().splitlines()
    assert len(rows) == 14
    assert not any(row.startswith((FACE, HEAD)) for row in rows)
    assert len(read_description(clean).pictures["train"]) == 8
    assert set(json.loads((folder / LIST).read_text())["batches"][0]["files"]) == gone
    assert restore(clean, folder) == Moved(pictures=2, files=5, lines=2)
    assert contents(clean.parent) == before
    assert not folder.exists()


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_two_batches_come_back_in_order(clean: Path, tmp_path: Path, ending: str) -> None:
    """The CSV to the last byte: line ends, a byte order mark, a quoted field, no line end at the end."""
    table = clean.parent / "labelled.csv"
    rows = table.read_text().splitlines()
    rows[1] = rows[1].replace('"a, b"', '"a,\nb"')
    text = "\ufeff" + (ending or "\n").join(rows) + ending
    table.write_bytes(text.encode())
    before, folder = contents(clean.parent), tmp_path / "aside"
    last = rows[-1].split(",")[0]
    assert move(clean, folder, FACE, EMPTY, last).lines == 4
    assert move(clean, folder, HEAD).pictures == 1
    assert move(clean, folder, FACE) == Moved(0, 0, 0)
    assert restore(clean, folder).pictures == 4
    assert contents(clean.parent) == before


def test_without_a_csv_and_without_label_files(clean: Path, tmp_path: Path) -> None:
    (clean.parent / "labelled.csv").unlink()
    clean.write_text("train: images/train\nval: images/val\nnames: [face, head]\n")
    (clean.parent / "labels/train/faces0.txt").unlink()
    before = contents(clean.parent)
    assert move(clean, tmp_path / "aside", FACE) == Moved(1, 1, 0)
    restore(clean, tmp_path / "aside")
    assert contents(clean.parent) == before


def test_labels_that_another_picture_needs_stay(clean: Path, tmp_path: Path) -> None:
    shutil.copyfile(clean.parent / FACE, clean.parent / "images/train/faces0.bmp")
    (clean.parent / "labelled.csv").open("a").write("images/train/faces0.bmp,x,face,\n")
    assert move(clean, tmp_path / "aside", FACE).files == 1
    assert (clean.parent / "labels/train/faces0.txt").is_file()


@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_failure_on_the_way_takes_all_back(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The disk is full at the first file, in the middle, and when the CSV is written."""
    before, real, calls = contents(clean.parent), os.rename, 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise OSError(errno.ENOSPC, "No space left on device", "somewhere")

    def rename(source: Path, target: Path) -> None:
        fail()
        real(source, target)

    def write(path: Path, content: bytes) -> None:
        if path.name == "labelled.csv":
            fail()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    monkeypatch.setattr(module.os, "rename", rename)
    monkeypatch.setattr(module, "write_whole", write)
    with pytest.raises(DataError, match=r"somewhere: cannot be set aside.*nothing was moved"):
        move(clean, tmp_path / "aside", FACE, HEAD)
    assert contents(clean.parent) == before
    assert not [path for path in (tmp_path / "aside").rglob("*") if path.is_file()]


def test_a_killed_run_is_taken_back_by_restore(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kill leaves: the list is written, some files have moved, the CSV has not changed."""
    before, real = contents(clean.parent), module._move
    done: list[Path] = []

    class Killed(BaseException):
        pass

    def stop(source: Path, target: Path) -> None:
        if len(done) >= 3:
            raise Killed
        real(source, target)
        done.append(target)

    monkeypatch.setattr(module, "_move", stop)
    with pytest.raises(Killed):
        move(clean, tmp_path / "aside", FACE, HEAD)
    monkeypatch.undo()
    assert contents(clean.parent) != before
    assert restore(clean, tmp_path / "aside") == Moved(pictures=2, files=3, lines=0)
    assert contents(clean.parent) == before


def test_another_file_system(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(clean.parent)

    def rename(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link", str(source))

    monkeypatch.setattr(module.os, "rename", rename)
    assert move(clean, tmp_path / "aside", FACE).files == 3
    assert not (clean.parent / FACE).exists()
    restore(clean, tmp_path / "aside")
    assert contents(clean.parent) == before


ALL_OF_VAL = tuple(f"images/val/{name}.png" for name in ("faces0", "heads1", "empty2", "faces3", "heads4", "empty5"))


def taken(folder: Path) -> None:
    (folder / FACE).parent.mkdir(parents=True)
    (folder / FACE).touch()


def listed(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / LIST).write_text(text)


@pytest.mark.parametrize(
    ("plant", "message", "files"),
    [
        (lambda root, folder: None, "would leave none in val", ALL_OF_VAL),
        (lambda root, folder: taken(folder), "already exists; choose another folder", (FACE,)),
        (lambda root, folder: listed(folder, '{"data": "x", "batches": []}'), "lists pictures of x", (FACE,)),
        (lambda root, folder: listed(folder, "["), "not a list of what was set", (FACE,)),
        (lambda root, folder: folder.symlink_to(root / "images"), "is among the pictures", (FACE,)),
        (lambda root, folder: folder.write_text(""), "cannot be set aside|not a list", (FACE,)),
    ],
)
def test_refused(
    clean: Path, tmp_path: Path, plant: Callable[[Path, Path], object], message: str, files: tuple[str, ...]
) -> None:
    plant(clean.parent, tmp_path / "aside")
    before = contents(clean.parent)
    with pytest.raises(DataError, match=message):
        move(clean, tmp_path / "aside", *files)
    assert contents(clean.parent) == before


def test_restore_refuses_what_it_cannot_do(clean: Path, tmp_path: Path) -> None:
    folder = tmp_path / "aside"
    with pytest.raises(DataError, match=r"set-aside\.json: no such file"):
        restore(clean, folder)
    move(clean, folder, FACE)
    (clean.parent / FACE).write_bytes(b"another")
    with pytest.raises(DataError, match="not the file that was set aside"):
        restore(clean, folder)
    (clean.parent / FACE).unlink()
    (folder / FACE).rename(tmp_path / "hidden.png")
    with pytest.raises(DataError, match="is missing; put it back"):
        restore(clean, folder)
    (tmp_path / "hidden.png").rename(folder / FACE)
    assert restore(clean, folder).files == 3
