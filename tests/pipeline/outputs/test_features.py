"""Features as files, and several classifiers, by the command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.core.errors import FacepipeError, MissingExtraError
from facepipe.pipeline.cli import main
from facepipe.pipeline.outputs.features import ROWS, FeatureFile
from facepipe.pipeline.results import Box, ClassifierUsed, DetectorUsed, Face, Models, Result
from facepipe.weights.release import Release

USED = ClassifierUsed(version="1.0.0", sha256="ab" * 32)
WIDTHS = {"face": 4, "shirt": 3}


def result(source: str, *features: dict[str, tuple[float, ...]] | None) -> Result:
    faces = tuple(
        Face(
            box=Box(x1=n, y1=1, x2=10, y2=11.5),
            confidence=0.5,
            head=None,
            attributes=None,
            reason="",
            features=each,
        )
        for n, each in enumerate(features)
    )
    models = Models(
        detector=DetectorUsed(version="1.0.0", sha256="ab" * 32),
        classifiers={"face": USED, "shirt": USED.model_copy(update={"version": "0.1.0"})},
    )
    return Result(source=source, width=20, height=20, faces=faces, heads=(), models=models, error=None)


RESULTS = [
    result("a.jpg", {"face": (1, 2, 3, 4), "shirt": (5, 6, 7)}, None, {"face": (0.1, 0.2, 0.3, 0.4)}),
    result("größe.jpg"),
    result("b.jpg", {"shirt": (8, 9, 10)}),
]


def write_some(file: FeatureFile) -> None:
    file.add(RESULTS[0])
    raise AttributeError("and then something breaks")


def write(path: Path, results: list[Result]) -> None:
    with FeatureFile(path, WIDTHS) as file:
        for each in results:
            file.add(each)


def test_npz(tmp_path: Path) -> None:
    write(tmp_path / "f.npz", RESULTS)
    with np.load(tmp_path / "f.npz") as found:
        arrays = dict(found)
    assert arrays["source"].tolist() == ["a.jpg", "a.jpg", "b.jpg"]
    assert arrays["face"].tolist() == [0, 2, 0]
    assert arrays["box"].tolist() == [[0, 1, 10, 11.5], [2, 1, 10, 11.5], [0, 1, 10, 11.5]]
    assert arrays["version_face"].tolist() == ["1.0.0"] * 3
    assert arrays["version_shirt"].tolist() == ["0.1.0"] * 3
    assert arrays["features_face"].dtype == arrays["features_shirt"].dtype == np.float32
    faces: list[list[float]] = [[1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], [np.nan] * 4]
    shirts: list[list[float]] = [[5, 6, 7], [np.nan] * 3, [8, 9, 10]]
    np.testing.assert_allclose(arrays["features_face"], np.array(faces))
    np.testing.assert_allclose(arrays["features_shirt"], np.array(shirts))


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    many = RESULTS * ROWS  # more rows than are held at a time
    write(tmp_path / "f.parquet", many)
    table = parquet.read_table(tmp_path / "f.parquet")
    assert table.num_rows == 3 * ROWS
    rows = table.slice(0, 3).to_pylist()
    assert [row["source"] for row in rows] == ["a.jpg", "a.jpg", "b.jpg"]
    assert rows[0]["features_shirt"] == [5, 6, 7]
    assert rows[1]["features_shirt"] is None
    assert rows[1]["features_face"] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert rows[2]["features_face"] is None
    assert rows[2]["box"] == [0, 1, 10, 11.5]
    assert table.slice(3 * ROWS - 3, 3).to_pylist() == rows


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_no_face_is_a_file_without_rows(suffix: str, tmp_path: Path) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    write(tmp_path / f"f.{suffix}", [RESULTS[1]])
    if suffix == "npz":
        with np.load(tmp_path / "f.npz") as found:
            assert found["features_face"].shape == (0, 4)
            assert found["box"].shape == (0, 4)
    else:
        from pyarrow import parquet

        assert parquet.read_table(tmp_path / "f.parquet").num_rows == 0


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_a_file_is_there_whole_or_not_at_all(suffix: str, tmp_path: Path) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"f.{suffix}"
    path.write_bytes(b"before")
    with pytest.raises(AttributeError), FeatureFile(path, WIDTHS) as file:
        write_some(file)
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    write(path, RESULTS)
    assert path.read_bytes() != b"before"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    with pytest.raises(FacepipeError, match="cannot be written"), FeatureFile(path / "below.npz", WIDTHS):
        pass
    with pytest.raises(FacepipeError, match=r"\.npz or \.parquet"):
        FeatureFile(tmp_path / "f.csv", WIDTHS)


def test_parquet_without_pyarrow_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"facepipe\[parquet\]"), FeatureFile(tmp_path / "f.parquet", WIDTHS):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def run(
    tmp_path: Path,
    publish_detector: Callable[..., Release],
    publish_colours: Callable[..., Release],
    photo: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """The command with a random detector and colour classifiers, run where two pictures lie."""
    publish_detector(tmp_path / "weights")
    publish_colours(tmp_path / "weights", "face", "99.0.0")
    publish_colours(tmp_path / "weights", "shirt", region="torso")
    publish_colours(tmp_path / "weights", "hat", region="head", features=None)
    publish_colours(tmp_path / "weights", "coat", region="torso", attribute="shirt_colour")
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)
    for seed in range(2):
        cv2.imwrite(f"{seed}.png", photo(seed))

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["detect", "0.png", "1.png", *map(str, arguments)])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_detect_with_several_classifiers_and_features(run: Callable, tmp_path: Path) -> None:
    options = ["--classifier", "face@99.0.0", "--classifier", "shirt", "--json", "out.jsonl", "--features", "f.npz"]
    code, out, err = run(*options, "--save", "drawn", "--conf", 0.3)
    assert (code, err) == (0, "")
    for word in ("face_colour", "shirt_colour"):
        assert word in out
    records = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert all(list(record["models"]["classifiers"]) == ["face", "shirt"] for record in records)
    faces = [(record["source"], index, face) for record in records for index, face in enumerate(record["faces"])]
    assert all("features" not in face for *_, face in faces)
    with np.load("f.npz") as found:
        arrays = dict(found)
    assert list(zip(arrays["source"].tolist(), arrays["face"].tolist(), strict=True)) == [
        (source, index) for source, index, face in faces if face["attributes"]
    ]
    torsos = ["shirt_colour" in face["attributes"] for *_, face in faces if face["attributes"]]
    assert any(torsos)
    assert np.isfinite(arrays["features_shirt"]).all(axis=1).tolist() == torsos
    assert np.isfinite(arrays["features_face"]).all()
    assert set(arrays["version_shirt"]) == {"0.1.0"}


def test_what_cannot_be_done_is_said_before_a_picture_is_read(run: Callable, tmp_path: Path) -> None:
    for options, message in (
        (["--classifier", "face", "--classifier", "hat", "--features", "f.npz"], "hat@0.1.0 gives no features"),
        (["--classifier", "shirt", "--classifier", "coat"], "both read an attribute called 'shirt_colour'"),
        (["--classifier", "shirt", "--classifier", "shirt@0.1.0"], "two classifiers are called 'shirt'"),
        (["--classifier", "scarf"], "there are: coat, face, hat, shirt"),
        (["--features", "f.csv"], ".npz or .parquet"),
        (["--features", "f.parquet", "--parquet", "f.parquet"], "both name"),
        (["--features", "0.png/f.npz"], "cannot be written"),
    ):
        code, out, err = run(*options)
        assert code == 2, options
        assert message in " ".join(err.replace("│", " ").split())
        assert out == ""
    assert not Path("f.npz").exists()
    Path("old.jsonl").write_text("old")
    assert run("--classifier", "hat", "--features", "f.npz", "--json", "old.jsonl")[0] == 2
    assert Path("old.jsonl").read_text() == "old"


def test_help_says_what_features_are_not(run: Callable) -> None:
    out = run("--help")[1]
    assert "not an identity embedding" in " ".join(out.split())
    assert "--features" in out


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_features_of_a_run_that_was_interrupted(run: Callable, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal holds them: what the first process has read comes out as if one had read it all."""
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    options = ["--classifier", "face@99.0.0", "--classifier", "shirt", "--conf", 0.3]
    assert run(*options, "--features", f"whole.{suffix}")[0] == 0
    assert run(*options, "--features", f"f.{suffix}", "--save", "0.png")[0] == 2  # before anything is begun
    journal = Path(f"f.{suffix}.partial.jsonl")
    assert not journal.exists()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(FeatureFile, "__enter__", full)
        code, _, err = run(*options, "--features", f"f.{suffix}")
        assert (code, journal.exists()) == (2, True)
        assert "No space left on device" in err
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    journal.write_bytes(b"".join(lines[:2]) + lines[2][:-20])
    code, out, err = run(*options, "--features", f"f.{suffix}", "--resume")
    assert code == 0
    assert "already done: 1 of 2 pictures" in err
    assert "1.png" in out
    assert "0.png" not in out
    assert not journal.exists()
    if suffix == "npz":
        with np.load("f.npz") as found, np.load("whole.npz") as whole:
            assert found.files == whole.files
            assert len(whole["face"]) > 2
            for name in whole.files:
                np.testing.assert_array_equal(found[name], whole[name])
    else:
        from pyarrow import parquet

        assert parquet.read_table("f.parquet").equals(parquet.read_table("whole.parquet"))
