"""``facepipe evaluate``: the report's files, pictures that cannot be read, wrong usage."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import pytest
from facepipe.pipeline.cli import main


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "--threads", "1", *map(str, arguments)])
    return stopped.value.code


def test_the_command(told_itself: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = told_itself.parent / "report"
    assert run("--data", told_itself, "--out", out, "--json", out / "again.json") == 0
    printed = capsys.readouterr().out
    for part in ("detector 99.0.0 (float32) at confidence 0.5", "end to end", "found: 1.000", "no column 'split'"):
        assert part in printed
    assert sorted(path.name for path in out.iterdir()) == [
        "again.json", "evaluation.json", "faces.csv", "losses.png", "worst.png"
    ]  # fmt: skip
    told = json.loads((out / "evaluation.json").read_text())
    assert json.loads((out / "again.json").read_text()) == told
    assert told["command"] == (
        "facepipe evaluate --data told.csv --split val --detector 99.0.0 --classifier 99.0.0 --precision auto --iou 0.5"
    )
    assert {each["attribute"]: each["end_to_end"]["value"] for each in told["losses"]} == {
        "age": 1.0, "gender": 1.0, "eyes": 1.0
    }  # fmt: skip
    chart = cv2.imread(str(out / "losses.png"))
    assert chart is not None
    assert chart.shape[1] > 600
    with (out / "faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == told["faces"]
    assert all(row["gender"] == row["gender_on_found"] == row["gender_on_true"] for row in rows)


def test_a_picture_that_cannot_be_read(told_itself: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = len(told_itself.read_text().splitlines()) - 1
    lost = sum(line.startswith("b.png") for line in told_itself.read_text().splitlines())
    (told_itself.parent / "b.png").write_bytes(b"no picture")
    target = told_itself.parent / "figures.json"
    assert run("--data", told_itself, "--json", target) == 1
    assert "b.png" in capsys.readouterr().err
    told = json.loads(target.read_text())
    assert (told["faces"], told["pictures"], len(told["unreadable"])) == (whole - lost, 2, 1)
    for name in "ac":
        (told_itself.parent / f"{name}.png").write_bytes(b"")
    assert run("--data", told_itself) == 2
    assert "no picture of" in capsys.readouterr().err


def test_nothing_found(told_itself: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = told_itself.parent / "report"
    assert run("--data", told_itself, "--conf", "1", "--out", out) == 0
    assert "found: 0.000 [0.000, 0.000] of the faces (0); false alarms: 0" in capsys.readouterr().out
    told = json.loads((out / "evaluation.json").read_text())
    assert (told["overlap"]["value"], told["errors"], told["boxes_against_labels"]) == (None, [], {})
    assert {each["lost"]["missed"]["value"] for each in told["losses"]} == {1.0}
    assert {metric["name"] for metric in told["scores"]["found boxes"]} == set()


def test_wrong_usage(told_itself: Path) -> None:
    assert run("--data", told_itself, "--split", "everything") == 2
    assert run("--data", told_itself, "--precision", "int4") == 2
    assert run("--data", told_itself, "--classifier", "99.0.0", "--classifier", "99.0.0") == 2
