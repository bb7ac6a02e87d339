"""``facepipe data export``: from JSON lines to files of labelling tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.pipeline.cli import main


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, arguments)])
    return stopped.value.code


@pytest.fixture
def results(tmp_path: Path, tiny_weights: Path, photo: Callable[..., np.ndarray]) -> Path:
    """Results of two pictures and of one that cannot be read, made by the random models."""
    for seed in (3, 4):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), photo(seed))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert run("detect", tmp_path, "--json", tmp_path / "faces.jsonl", "--threads", 1) == 1
    return tmp_path / "faces.jsonl"


@pytest.mark.parametrize("tool", ["label-studio", "fiftyone", "coco"])
def test_every_box_goes_along(results: Path, tool: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = [json.loads(line) for line in results.read_text().splitlines()]
    boxes = sum(len(each["faces"]) + len(each["heads"]) for each in told)
    assert boxes > 2
    capsys.readouterr()
    out = results.with_name("export.json")
    assert run("data", "export", results, "--as", tool, "--out", out) == 0
    assert f"{boxes} boxes in 2 pictures" in capsys.readouterr().out
    content = json.loads(out.read_text())
    if tool == "label-studio":
        entries = [entry for task in content for entry in task["predictions"][0]["result"]]
        assert sum(entry["type"] == "rectanglelabels" for entry in entries) == boxes
        assert {entry["from_name"] for entry in entries} >= {"box", "gender", "age"}
        assert out.with_name("export.interface.xml").is_file()
    elif tool == "fiftyone":
        assert set(content["labels"]) == {"3", "4"}
        assert sum(map(len, content["labels"].values())) == boxes
    else:
        assert len(content["annotations"]) == boxes
        assert out.with_name("export.cvat-labels.json").is_file()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no results"),
        ("{}\n", "line 1: is not a result"),
        ("\n{\n", "line 2: is not a result"),
        (None, "cannot be read"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, content: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "faces.jsonl"
    if content is not None:
        path.write_text(content)
    assert run("data", "export", path, "--as", "coco", "--out", tmp_path / "out.json") == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out.json").exists()


def test_results_of_other_models_are_refused(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *rest = results.read_text().splitlines()
    other = json.loads(first)
    other["models"]["detector"]["version"] = "1.0.0"
    results.write_text("\n".join([first, json.dumps(other), *rest]) + "\n")
    assert run("data", "export", results, "--as", "fiftyone", "--out", results.with_name("out.json")) == 2
    assert "different models" in " ".join(capsys.readouterr().err.split())


def test_a_place_that_cannot_be_written(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = results / "out.json"
    assert run("data", "export", results, "--as", "coco", "--out", out) == 2
    assert "cannot be written" in " ".join(capsys.readouterr().err.split())
