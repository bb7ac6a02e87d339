"""The outputs of ``facepipe detect`` as they are typed: folders kept, one file, standard output, names, bounds."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from facepipe.pipeline.cli import main
from facepipe.pipeline.cli._detect_options import Drawn, Videos, Written
from facepipe.pipeline.cli.detect import output_options
from facepipe.pipeline.drawing.options import DrawOptions
from facepipe.pipeline.inputs.image_reader import read_frame
from facepipe.pipeline.outputs.names import FreeNames, shared_folder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def tree(tmp_path: Path, encode: Callable[..., bytes], photo: Callable[..., np.ndarray]) -> Path:
    """Two pictures of one name in two folders, ``dup/a/x.png`` and ``dup/b/x.png``, which differ."""
    import cv2

    for number, name in enumerate("ab"):
        (tmp_path / "dup" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "dup" / name / "x.png"), photo(number, 90, 160))
    return tmp_path / "dup"


def files(folder: Path) -> set[str]:
    """The files of a folder but for its record."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(".")}


def test_saved_files_keep_the_folders_and_are_named_in_json_and_csv(run: Run, tree: Path, tmp_path: Path) -> None:
    out, lines, table = tmp_path / "out", tmp_path / "r.jsonl", tmp_path / "r.csv"
    assert run("detect", tree, "--save", out, "--json", lines, "--csv", table)[0] == 0
    assert files(out) == {"a/x-faces.jpg", "b/x-faces.jpg"}
    expected = [str(out / "a" / "x-faces.jpg"), str(out / "b" / "x-faces.jpg")]
    assert [json.loads(line)["saved"] for line in lines.read_text().splitlines()] == expected
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert list(dict.fromkeys(row["saved"] for row in rows)) == expected
    assert run("verify", lines)[0] == 0
    assert run("verify", table)[0] == 0


def test_without_save_nothing_of_it_is_in_json_and_csv(run: Run, tree: Path) -> None:
    assert "saved" not in run("detect", tree, "--json", "-")[1]
    assert "saved" not in run("detect", tree, "--csv", "-")[1]


def test_a_second_run_never_replaces_another_pictures_file(run: Run, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("detect", tree / "a", "--save", out)[0] == 0
    first = (out / "x-faces.jpg").read_bytes()
    assert run("detect", tree / "b", "--save", out)[0] == 0
    assert (out / "x-faces.jpg").read_bytes() == first
    assert files(out) == {"x-faces.jpg", "x-faces-2.jpg"}
    assert run("detect", tree / "b" / "x.png", "--save", out)[0] == 0  # the same picture: the same file
    assert files(out) == {"x-faces.jpg", "x-faces-2.jpg"}
    (out / "x-blurred.jpg").write_bytes(b"somebody's own")
    assert run("detect", tree / "b", "--save", out, "--blur", "faces")[0] == 0
    assert (out / "x-blurred.jpg").read_bytes() == b"somebody's own"


def test_crops_of_another_run_are_not_replaced(run: Run, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops"
    assert run("detect", tree / "a", "--crops", out)[0] == 0
    before = {path: path.read_bytes() for path in out.rglob("*.jpg")}
    assert before
    assert run("detect", tree / "b", "--crops", out)[0] == 0
    assert {path: path.read_bytes() for path in before} == before


def test_one_picture_is_saved_as_the_file_that_is_named(run: Run, tree: Path, tmp_path: Path) -> None:
    for name in ("out/y.jpg", "z.png", "w.webp"):
        assert run("detect", tree / "a" / "x.png", "--save", tmp_path / name)[0] == 0
        assert read_frame(tmp_path / name).ndim == 3
    code, _, err = run("detect", tree, "--save", tmp_path / "one.jpg")
    assert code == 2
    assert "is one file, but there are 2 sources" in err
    code, _, err = run("detect", tree / "a" / "x.png", "--save", tree / "a" / "x.png")
    assert code == 2
    assert "would overwrite that input" in err


def test_rows_on_standard_output(run: Run, tree: Path, tmp_path: Path) -> None:
    code, out, err = run("detect", tree, tmp_path / "missing.jpg", "--csv", "-")
    assert code == 1
    rows = list(csv.DictReader(io.StringIO(out)))
    assert rows[0]["source"] == str(tree / "a" / "x.png")
    assert rows[-1]["error"]
    assert run("detect", tree, "--csv", tmp_path / "t.csv")[0] == 0
    rest = [row for row in rows if not row["error"]]
    assert rest == list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text())))
    code, _, err = run("detect", tree, "--csv", "-", "--json", "-")
    assert code == 2
    assert "both go to standard output" in err


@pytest.mark.parametrize(
    "options",
    [
        ("--csv", "t.json"),
        ("--csv", "t.csv.gz"),
        ("--json", "t.csv"),
        ("--parquet", "t.csv"),
        ("--coco", "t.jsonl"),
        ("--save", "t.csv"),
        ("--crops", "t.jpg"),
        ("--tracks", "t.png"),
    ],
)
def test_suffixes_that_contradict_the_option_are_refused(run: Run, tree: Path, options: tuple[str, str]) -> None:
    code, _, err = run("detect", tree, *options)
    assert code == 2
    assert err.startswith(f"error: Invalid value: {options[0]} {options[1]}: {options[0]} writes ")
    assert len(err.splitlines()) == 1


LONG = "n" * 300


@pytest.mark.parametrize(
    "options",
    [
        ("--seconds", "inf"),
        ("--seconds", "nan"),
        ("--seconds", "1e300"),
        ("--conf", "nan"),
        ("--imgsz", "100000"),
        ("--tile-size", "100000"),
        ("--threads", "100000"),
        ("--workers", "100000"),
        ("--every", "9" * 30),
        ("--csv", f"{LONG}.csv"),
        ("--csv", f"{'é' * 130}.csv"),
        ("--csv", f"{'n' * 245}.csv"),
        ("--json", f"{LONG}.jsonl"),
        ("--save", LONG),
        ("--save", f"{LONG}.jpg"),
        ("--crops", f"{LONG}/x"),
        ("--coco", f"{LONG}.json"),
        ("--tracks", f"{LONG}.csv"),
        ("--from", LONG),
    ],
)
def test_what_is_out_of_every_bound_is_one_line(
    run: Run, tree: Path, options: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("detect", tree, *options)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("name", [LONG, f"{LONG}.jpg", "x" * 5000, "camera:99999999999999999999"])
def test_sources_that_cannot_be_are_rows(run: Run, name: str) -> None:
    code, out, err = run("detect", name, "--json", "-")
    assert code in (1, 2)
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert code == 2 or json.loads(out.splitlines()[-1])["error"]


def test_a_long_name_is_saved_in_bytes_that_fit(run: Run, tree: Path, tmp_path: Path) -> None:
    source = tmp_path / f"{'é' * 120}.png"
    source.write_bytes((tree / "a" / "x.png").read_bytes())
    assert run("detect", source, "--save", tmp_path / "out")[0] == 0
    assert len(files(tmp_path / "out")) == 1


def test_quiet_and_verbose(run: Run, tree: Path, tmp_path: Path) -> None:
    (tree / "notes.txt").write_text("no picture")
    assert "skipped" in run("detect", tree)[2]
    for quiet in (("-q", "detect", tree), ("detect", tree, "--quiet"), ("--log-level", "warning", "detect", tree)):
        assert run(*quiet)[2] == ""
    assert "timing: " in run("detect", tree, "-v")[2]
    assert run("-q", "-v", "detect", tree)[0] == 2
    assert "skipped" in run("detect", tree)[2]  # of one process: the next command says as much as ever


def test_a_window_wants_a_video(run: Run, tree: Path) -> None:
    for drawing in ((), ("--draw", "boxes"), ("--label-fields", "age", "--blur", "faces", "--save", tree / "out")):
        assert "--show: there is no video among the sources" in run("detect", tree, "--show", *drawing)[2]
    for drawing in (("--draw", "boxes"), ("--label-fields", "age", "--blur", "faces", "--save", tree / "out")):
        assert "--draw and --label-fields need --save or --show" in " ".join(run("detect", tree, *drawing)[2].split())


def test_the_folder_that_all_sources_share(tmp_path: Path) -> None:
    for name in ("p/a", "p/b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "p" / "a" / "x.jpg").touch()
    assert shared_folder([str(tmp_path / "p")]) == str(tmp_path / "p")
    assert shared_folder([str(tmp_path / "p" / "a" / "x.jpg")]) == str(tmp_path / "p" / "a")
    assert shared_folder([str(tmp_path / "p" / "a"), str(tmp_path / "p" / "b")]) == str(tmp_path / "p")
    assert shared_folder([str(tmp_path / "p" / "*" / "*.jpg")]) == str(tmp_path / "p")
    assert shared_folder(["https://x/a.jpg", "camera:0"]) is None


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be locked there")
def test_two_runs_at_once_into_one_folder(run: Run, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    names = FreeNames(tmp_path / "out", ())
    code, _, err = run("detect", tree, "--save", tmp_path / "out", "--csv", tmp_path / "t.csv")
    names.close()
    assert code == 2
    assert "another facepipe is writing it" in err
    assert not (tmp_path / "t.csv").exists()


def test_what_is_drawn_holds_for_files_and_windows(tmp_path: Path) -> None:
    for place in (Drawn(draw="boxes", save=tmp_path), Drawn(draw="boxes")):
        options = {**vars(Written()), **vars(place), **vars(Videos(show=place.save is None))}
        assert output_options(options).drawing == DrawOptions(frozenset({"boxes"}))
    assert output_options({**vars(Written()), **vars(Drawn(save=tmp_path))}).drawing is None
