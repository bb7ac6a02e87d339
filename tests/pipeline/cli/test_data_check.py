"""``facepipe data check`` as a user types it: what it prints, writes, moves, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.core.errors import ImageError
from facepipe.pipeline.datasets.check import open_stored
from facepipe.pipeline.inputs.image_reader import read_frame

Run = Callable[..., tuple[int, str, str]]


def darken(root: Path, name: str = "train/p0") -> Path:
    path = root / "images" / f"{name}.png"
    cv2.imwrite(str(path), read_frame(path) // 6)
    return path


def test_a_clean_set_is_praised(run: Run, data: Path) -> None:
    code, out, err = run("data", "check", data, "--strict")
    assert (code, err) == (0, "")
    assert "6 pictures checked, no problems: every file is intact" in out
    for word in ("split", "source", "some", "0-8 px", ">96 px", "160 – 160 – 160"):
        assert word in out


def test_exit_codes(run: Run, data: Path, tmp_path: Path) -> None:
    darken(data.parent)
    code, out, _ = run("data", "check", data)
    assert code == 0
    assert "images/train/p0.png: 95 of 100 pixels are darker than" in out
    assert "6 pictures checked: 1 warning" in out.replace("2 warnings", "1 warning")
    assert run("data", "check", data, "--strict")[0] == 1
    (data.parent / "labels/train/p1.txt").write_text("0 1 2\nnonsense\n")
    code, out, _ = run("data", "check", data)
    assert code == 1
    assert "labels/train/p1.txt: line 1: expected class cx cy w h, or class and a polygon's points" in out
    assert "labels/train/p1.txt: line 2: the class must be a number, got 'nonsense'" in out
    for arguments in (
        [tmp_path / "none.yaml"],
        [data, "--kind", "dark"],
        [data, "--set-aside", tmp_path / "aside", "--kind", "split"],
        [data, "--detector", "99.0.0"],
        [data, "--restore", tmp_path],
        [data, "--sheet", tmp_path / "sheet.xyz"],
        [data, "--json", "/dev/full/x"],
        [data, "--persons", "--detector", "1.2.3"],
    ):
        code, _, err = run("data", "check", *arguments)
        assert code == 2
        assert err


def test_ten_of_a_kind_are_printed_or_all(run: Run, data: Path) -> None:
    (data.parent / "labels/train/p1.txt").write_text("bad\n" * 15)
    assert "… and 5 more (--all prints them)" in run("data", "check", data)[1]
    code, out, _ = run("data", "check", data, "--all")
    assert code == 1
    assert "line 15: the class must be a number, got 'bad'" in out
    assert "more" not in out


def test_the_files(run: Run, data: Path, tmp_path: Path) -> None:
    (data.parent / "labels/train/p1.txt").write_text("0 0.9 0.5 0.4 0.2\n1 0.5 0.5 0.3 0.5\n")
    sheet, report = tmp_path / "new" / "sheet.png", tmp_path / "report.json"
    code, out, _ = run("data", "check", data, "--sheet", sheet, "--json", report, "--workers", "1")
    assert code == 0
    assert str(sheet) in out
    assert read_frame(sheet).shape[1] > 1000
    content = json.loads(report.read_text(encoding="utf-8"))
    assert content["pictures"] == 6
    assert content["classes"] == ["face", "head"]
    (finding,) = content["findings"]
    assert finding == {
        "severity": "warning",
        "kind": "box-outside",
        "file": "labels/train/p1.txt",
        "line": 1,
        "picture": "images/train/p1.png",
        "other": None,
        "text": "a face extends 10.0% of a side outside the picture",
        "boxes": [[pytest.approx(0.7), pytest.approx(0.4), pytest.approx(1.1), pytest.approx(0.6)]],
    }
    row = next(row for row in content["by_class"] if (row["split"], row["name"]) == ("val", "head"))
    assert (row["labelled"], row["with_boxes"], row["boxes"]) == (2, 2, 2)


def test_set_aside_and_back(run: Run, data: Path, tmp_path: Path) -> None:
    root, aside = data.parent, tmp_path / "aside"
    dark = darken(root)
    (root / "images/train/p1.png").write_bytes(b"")
    (root / "images/val/p1.png").write_bytes((root / "images/val/p1.png").read_bytes()[:500])
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    code, out, _ = run("data", "check", data, "--set-aside", aside, "--strict")
    assert code == 0  # what is left has no fault
    assert f"set aside in {aside}: 3 pictures (6 files, 3 lines of the CSV)" in out
    assert f"facepipe data check {data} --restore {aside}" in out
    assert not dark.exists()
    assert (aside / "images/train/p0.png").is_file()
    assert run("data", "check", data, "--strict")[0] == 0
    code, out, _ = run("data", "check", data, "--restore", aside)
    assert (code, out) == (0, f"{data}: moved back 3 pictures (6 files, 3 lines of the CSV)\n")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert not aside.exists()


def test_kinds_name_what_is_set_aside(run: Run, data: Path, tmp_path: Path) -> None:
    root = data.parent
    darken(root)
    (root / "images/train/copy.png").write_bytes((root / "images/val/p0.png").read_bytes())
    (root / "labels/train/copy.txt").write_text((root / "labels/val/p0.txt").read_text())
    (root / "labelled.csv").open("a").write("images/train/copy.png,some,face;head\n")
    code, out, _ = run("data", "check", data, "--set-aside", tmp_path / "aside", "--kind", "copy-across")
    assert code == 0
    assert "1 picture (2 files, 1 lines of the CSV)" in out
    assert (tmp_path / "aside/images/train/copy.png").is_file()
    assert (root / "images/train/p0.png").is_file()
    assert (root / "images/val/p0.png").is_file()


def test_persons(run: Run, data: Path, tmp_path: Path) -> None:
    """The random detector finds something in every picture, where nothing is labelled."""
    for path in (data.parent / "labels").rglob("*.txt"):
        path.write_text("")
    code, out, _ = run("data", "check", data, "--persons", "--json", tmp_path / "r.json")
    assert code == 0
    assert "each seen by detector 99.0.0" in out
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["detector"] == "99.0.0"
    found = [finding for finding in content["findings"] if finding["kind"] == "not-labelled"]
    assert found
    assert all(finding["boxes"] for finding in found)


def test_names_are_printed_as_they_are(run: Run, data: Path) -> None:
    (data.parent / "labels/train/[red]x\x1b[2J:smile:.txt").write_text("")
    code, out, err = run("data", "check", data)
    assert code == 0
    assert "\x1b" not in out + err
    assert "[red]x\ufffd[2J:smile:.txt" in out


def test_no_training_framework_is_needed(data: Path) -> None:
    code = (
        "import sys\n"
        "from facepipe.pipeline.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    arguments = ["data", "check", str(data), "--sheet", str(data.parent / "sheet.png")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    heavy = {"torch", "torchvision", "tensorflow", "keras", "ultralytics", "matplotlib", "supervision", "roboflow"}
    assert not set(done.stderr.split()) & heavy


def test_the_reader_says_what_is_wrong_without_a_name() -> None:
    frame = np.zeros((20, 30, 3), np.uint8)
    opened = open_stored(cv2.imencode(".png", frame)[1].tobytes())
    assert (opened.frame.shape, opened.format, opened.turned) == ((20, 30, 3), "PNG", False)
    with pytest.raises(ImageError, match=r"^not a picture"):
        open_stored(b"once upon a time")
