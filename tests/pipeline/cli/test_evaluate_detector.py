"""``facepipe evaluate-detector``, with random weights on a tiny data set."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.pipeline.cli import app, main
from facepipe.weights.manifest import FaceCheck
from facepipe.weights.store import find, publish
from typer.testing import CliRunner, Result

PEERS = Path(__file__).parents[4] / "shared" / "data" / "peers"
BASE = ["evaluate-detector", "--threads", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DATA.yaml of one picture to train on and four of validation: two with a face, two with nobody."""
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(2)
    rows = ["file,source,labelled_classes"]
    for split, count in (("train", 1), ("val", 4)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            frame = cv2.resize(random.integers(0, 256, (8, 8, 3), dtype=np.uint8), (96, 64))
            cv2.imwrite(str(root / "images" / split / f"{number}.png"), frame)
            source = "people" if number < 2 else "nobody"
            if source == "people":
                (root / "labels" / split / f"{number}.txt").write_text("0 0.5 0.5 0.4 0.6\n1 0.5 0.5 0.5 0.7\n")
            rows.append(f"images/{split}/{number}.png,{source},face;head")
    (root / "labelled.csv").write_text("\n".join(rows) + "\n")
    (root / "faces.csv").write_text(
        "file,source,split\n" + "".join(f"images/val/{n}.png,{'ab'[n % 2]},val\n" for n in range(4))
    )
    (root / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: {0: face, 1: head}\nlabelled: labelled.csv\n"
    )
    return root / "data.yaml"


@pytest.fixture(autouse=True)
def weights(tiny_weights: Path) -> Path:
    return tiny_weights


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [*BASE, *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_one_detector(data: Path, tmp_path: Path) -> None:
    result = run("--data", data, "--json", tmp_path / "figures.json", "--out", tmp_path / "report")
    assert result.exit_code == 0, result.output
    for part in ("detector 99.0.0: val split, 4 pictures", "at most 1000 boxes", "face >= 16 px at 640", "by source"):
        assert part in result.output
    assert "false alarms a picture at 0.5, pictures without a person (n = 2)" in result.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["file_sha256"] == find("detector").entry().sha256
    assert figures["command"] == "facepipe evaluate-detector --data data.yaml --detector 99.0.0 --split val"
    assert "AP50, face boxes >= 16 px at 640" in {value["name"] for value in figures["values"]}
    assert json.loads((tmp_path / "report" / "evaluation.json").read_text())["metrics"] == figures
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json", "report"]


def test_several_side_by_side(data: Path, tmp_path: Path) -> None:
    result = run(
        *("--data", data, "--detector", "99.0.0", "--detector", "99.0.0@float32"),
        *("--closeups", data.with_name("faces.csv"), "--closeup-sources", "a,b"),
        *("--json", tmp_path / "figures.json", "--out", tmp_path / "report"),
    )
    assert result.exit_code == 0, result.output
    for part in ("detector 99.0.0@float32", "face AP50, >= 16 px", "own threshold", "ms a picture", "a and b", "1.00"):
        assert part in result.output
    first, second = json.loads((tmp_path / "figures.json").read_text())["detectors"]
    assert (first["detector"], second["detector"]) == ("99.0.0", "99.0.0@float32")
    assert first["values"] == second["values"]
    assert first["file_sha256"] == second["file_sha256"]
    assert any(value["name"] == "recall of a face that fills the frame at 0.5, a" for value in first["values"])
    assert "A face that fills the frame" in first["protocol"]
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["99.0.0", "99.0.0-float32"]
    assert (tmp_path / "report" / "99.0.0" / "pr.png").is_file()


def test_the_faces_as_a_classifier_checks_them(data: Path, tmp_path: Path) -> None:
    plain = find("classifier")
    attributes = tuple(
        each.model_copy(update={"face_check": FaceCheck(weight=1.0, neutral=9.0)}) if each.name == "mask" else each
        for each in plain.manifest.attributes
    )
    manifest = plain.manifest.model_copy(update={"attributes": attributes, "version": "99.1.0"})
    publish(manifest, [plain.folder / file.name for file in manifest.files], tmp_path / "weights")
    result = run(
        *("--data", data, "--face-check", tmp_path / "weights" / "classifier" / "99.1.0"),
        *("--json", tmp_path / "figures.json"),
    )
    assert result.exit_code == 0, result.output
    first, second = json.loads((tmp_path / "figures.json").read_text())["detectors"]
    assert (first["detector"], second["detector"]) == ("99.0.0", "99.0.0 with the face check")
    assert "checked by 99.1.0" in second["protocol"]
    assert "--detector 99.0.0 --split val --face-check " in second["command"]
    alarms = [
        next(value["value"] for value in each["values"] if value["name"].startswith("false face alarms"))
        for each in (first, second)
    ]
    assert alarms[1] < alarms[0]
    whole, half = find("detector", "1.0.0").entry("int8").sha256, find("detector", "1.0.0").entry("float16").sha256
    checked = run(
        *("--data", data, "--face-check", tmp_path / "weights" / "classifier" / "99.1.0"),
        *("--detector", "1.0.0@int8", "--detector", "1.0.0@float16", "--json", tmp_path / "shipped.json"),
    )
    assert checked.exit_code == 0, checked.output
    shipped = json.loads((tmp_path / "shipped.json").read_text())["detectors"]
    assert [each["file_sha256"] for each in shipped] == [whole, whole, half, half]
    assert "--detector 1.0.0@float16 --split" in shipped[3]["command"]
    heads = [
        [value for value in each["values"] if value["name"].startswith("false head alarms")] for each in (first, second)
    ]
    assert heads[0] == heads[1]


@pytest.mark.skipif(not PEERS.is_dir(), reason="the peers' files are not here")
def test_peers_beside_ours(data: Path) -> None:
    yunet, scrfd = PEERS / "face_detection_yunet_2023mar.onnx", PEERS / "scrfd_500m.onnx"
    result = run("--data", data, "--detector", "99.0.0", "--detector", f"yunet:{yunet}", "--detector", f"scrfd:{scrfd}")
    assert result.exit_code == 0, result.output
    assert "yunet:face_detection_yunet_2023mar.onnx: val split" in result.output
    assert "head not measured: this detector has no such class" in result.output


def test_close_ups_alone(data: Path, tmp_path: Path) -> None:
    result = run(
        *("--closeups", data.with_name("faces.csv"), "--closeup-sources", "a,b", "--json", tmp_path / "figures.json")
    )
    assert result.exit_code == 0, result.output
    assert "contains the picture's centre" in result.output
    (figures,) = json.loads((tmp_path / "figures.json").read_text())["detectors"]
    assert [value["count"] for value in figures["values"]] == [2, 2, 4] * 2  # at 0.5, its own, and at 0.25


def test_wider_s_protocol(data: Path, tmp_path: Path) -> None:
    io = pytest.importorskip("scipy.io")

    def cells(*values: object) -> np.ndarray:
        column = np.empty((len(values), 1), object)
        column[:, 0] = values
        return column

    boxes = np.array([[400.0, 300, 200, 200]])
    names = {"event_list": cells("e"), "file_list": cells(cells("0")), "face_bbx_list": cells(cells(boxes))}
    io.savemat(tmp_path / "wider_face_val.mat", names)
    for setting in ("easy", "medium", "hard"):
        io.savemat(tmp_path / f"wider_{setting}_val.mat", {"gt_list": cells(cells(np.array([[1.0]])))})
    result = run("--data", data, "--wider-splits", tmp_path)
    assert result.exit_code == 0, result.output
    assert "AP by WIDER FACE's protocol, hard (n = 1)" in result.output
    assert "1 of the 1 official validation pictures" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--data is needed"),
        (["--closeups", "faces.csv", "--out", "report"], "--data is needed"),
        (["--data", "gone.yaml"], "gone.yaml: no such file"),
        (["--data", "DATA", "--detector", "9.9.9"], "9.9.9"),
        (["--data", "DATA", "--detector", "99.0.0", "--detector", "99.0.0"], "given twice"),
        (["--data", "DATA", "--detector", "99.0.0@int8"], "has no int8 file"),
        (["--data", "DATA", "--detector", "scrfd:gone.onnx"], "gone.onnx: cannot be read"),
        (["--data", "DATA", "--split", "test"], "no split test"),
        (["--data", "DATA", "--wider-splits", "nowhere"], "wider_face_val.mat: no such file"),
        (["--data", "DATA", "--imgsz", "1280"], "cannot run at imgsz 1280"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(
            [*BASE, *(str(data) if word == "DATA" else word for word in arguments), "--json", str(tmp_path / "f.json")]
        )
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split()).replace("│ ", "")
    assert not list(tmp_path.iterdir())


def test_a_report_without_matplotlib_is_refused_before_the_work(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit):
        main([*BASE, "--data", str(data), "--out", str(tmp_path / "report")])
    assert "matplotlib is not installed" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_the_random_detector_finds_something(data: Path, photo: Callable[..., np.ndarray]) -> None:
    """Otherwise the tests above would measure nothing."""
    from facepipe import FaceDetector

    assert sum(len(found) for found in FaceDetector(confidence=0.1).detect([photo(seed) for seed in range(4)]))
