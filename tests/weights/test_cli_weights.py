from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.pipeline.cli import main
from facepipe.weights.manifest import Manifest


@pytest.fixture
def run(
    tmp_path: Path,
    publish_detector: Callable,
    publish_classifier: Callable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """A root of its own, with two detectors and a classifier, to be damaged at will."""
    root = tmp_path / "weights"
    publish_detector(root, version="98.0.0")
    publish_detector(root, seed=5)
    publish_classifier(root)
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(root))

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["weights", *arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_list_marks_the_default(run: Callable) -> None:
    code, out, _ = run("list")
    assert code == 0
    rows = [[cell.strip() for cell in line.split("│")] for line in out.splitlines() if line.startswith("│")]
    marked = {(row[1], row[2]): row[3] for row in rows}
    assert marked["detector", "98.0.0"] == ""
    assert marked["detector", "99.0.0"] == marked["classifier", "99.0.0"] == "*"
    assert "float32" in out
    assert "chance 0.5" in out


def test_show_tells_the_manifest(run: Callable) -> None:
    code, out, _ = run("show", "classifier", "99.0.0")
    assert code == 0
    for word in ("CC0-1.0", "left_eye", "margin 0.25", "SHA-256", "chance", "NHWC"):
        assert word in out
    manifest = Manifest.model_validate_json(run("show", "detector", "98.0.0", "--json")[1])
    assert (manifest.stage, manifest.version) == ("detector", "98.0.0")
    assert json.loads(run("show", "detector", "98.0.0", "--json")[1])["classes"] == ["face", "head"]
    code, _, err = run("show", "detector", "1.2.3")
    assert code == 2
    assert "99.0.0" in err
    assert run("show", "nose", "1.2.3")[0] == 2


def test_verify_finds_a_changed_file(run: Callable, tmp_path: Path) -> None:
    code, out, _ = run("verify")
    assert code == 0
    assert out.count("ok ") >= 3
    model = tmp_path / "weights" / "detector" / "98.0.0" / "model.onnx"
    content = bytearray(model.read_bytes())
    content[50] ^= 1
    model.write_bytes(content)
    code, out, _ = run("verify")
    assert code == 1
    assert out.count("WRONG") == 1
    assert str(model) in out
    assert run("verify", "detector", "98.0.0")[0] == 1
    assert run("verify", "detector")[0] == 1
    assert run("verify", "detector", "99.0.0")[0] == 0
    assert run("verify", "classifier", "99.0.0")[0] == 0
    assert run("verify", "detector", "1.2.3")[0] == 2
