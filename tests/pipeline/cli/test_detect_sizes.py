"""``facepipe detect --imgsz`` and ``--tiles``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.pipeline.cli import main
from facepipe.weights.release import Release


@pytest.fixture
def large(tmp_path: Path, photo: Callable[..., np.ndarray]) -> Path:
    path = tmp_path / "large.png"
    cv2.imwrite(str(path), photo(1, 200, 300))
    return path


@pytest.fixture
def run(
    tiny_weights: Path, dynamic_release: Release, large: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, int, str]]:
    """``run("--imgsz", 96)`` detects in the large picture: exit code, number of faces and heads, standard error."""

    def call(*options: object, detector: object = dynamic_release.folder) -> tuple[int, int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["detect", str(large), "--json", "-", "--detector", str(detector), *map(str, options)])
        out, err = capsys.readouterr()
        found = json.loads(out) if out else {"faces": [], "heads": []}
        return int(ended.value.code or 0), len(found["faces"]) + len(found["heads"]), err

    return call


def test_a_larger_input_finds_more(run: Callable[..., tuple[int, int, str]]) -> None:
    code, found, err = run()
    assert (code, err) == (0, "")
    assert 0 < found < run("--imgsz", 256)[1]
    assert run("--imgsz", 33)[1] == run("--imgsz", 64)[1] == found


def test_a_size_that_a_release_does_not_take(run: Callable[..., tuple[int, int, str]]) -> None:
    code, _, err = run("--imgsz", 96, detector="99.0.0")
    assert code == 2
    assert err == "error: detector 99.0.0 cannot run at imgsz 96; it takes 64 only\n"
    assert run("--imgsz", 31)[0] == 2


def test_tiles_find_more(run: Callable[..., tuple[int, int, str]]) -> None:
    pytest.importorskip("supervision", reason="needs the extra tiles")
    found = run()[1]
    in_tiles = run("--tiles")[1]
    assert found < in_tiles == run("--tile-size", 64)[1]
    assert run("--tile-size", 300)[1] == found  # the picture is no larger than the tile
    assert run("--tile-size", 31)[0] == 2
    assert found < run("--tiles", detector="99.0.0")[1]  # a fixed size is enough


def test_a_pipeline_hands_size_and_tiles_on(tiny_weights: Path, dynamic_release: Release, large: Path) -> None:
    pytest.importorskip("supervision", reason="needs the extra tiles")
    with Pipeline(dynamic_release.folder) as plain, Pipeline(dynamic_release.folder, imgsz=100, tiles=48) as tiled:
        detector = tiled.parts().detector
        assert (detector.imgsz, detector.tiles) == (128, 48)
        assert len(plain.run(large).heads) < len(tiled.run(large).heads)
