from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.pipeline.cli import main
from facepipe.weights.comparison import Baseline, Figure
from facepipe.weights.manifest import Manifest, Metric
from facepipe.weights.rivals import WorseError

from ...weights import conftest

make_run = conftest.make_run


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


def marked(out: str) -> set[tuple[str, str]]:
    rows = [[cell.strip() for cell in line.split("│")] for line in out.splitlines() if line.startswith("│")]
    return {(row[1], row[2]) for row in rows if row[3] == "*"}


def test_use_and_back(run: Callable, tmp_path: Path) -> None:
    code, out, _ = run("use", "detector", "98.0.0")
    assert code == 0
    assert "detector 98.0.0 is used from now on" in out
    assert marked(run("list")[1]) == {("detector", "98.0.0"), ("classifier", "99.0.0")}
    code, out, _ = run("use", "detector", "newest")
    assert code == 0
    assert "detector 99.0.0 is used from now on (the newest, whichever that is)" in out
    assert marked(run("list")[1]) == {("detector", "99.0.0"), ("classifier", "99.0.0")}
    code, _, err = run("use", "detector", "1.2.3")
    assert code == 2
    assert "there are: 1.0.0" in err


def test_list_goes_on_when_the_chosen_version_is_gone(run: Callable, tmp_path: Path) -> None:
    run("use", "detector", "98.0.0")
    (tmp_path / "weights" / "detector" / "98.0.0").rename(tmp_path / "away")
    code, out, err = run("list")
    assert code == 0
    assert marked(out) == {("classifier", "99.0.0")}
    assert "facepipe weights use detector newest" in err
    assert run("show", "detector", "99.0.0")[0] == 0


def test_a_broken_release_is_listed_with_the_reason(run: Callable, tmp_path: Path) -> None:
    path = tmp_path / "weights" / "detector" / "98.0.0" / "manifest.json"
    path.write_text("{", encoding="utf-8")
    code, out, err = run("list")
    assert code == 0
    assert "BROKEN" in out
    assert not err
    assert marked(out) == {("detector", "99.0.0"), ("classifier", "99.0.0")}
    assert run("show", "detector", "99.0.0")[0] == 0
    code, _, err = run("show", "detector", "98.0.0")
    assert code == 2
    assert "bad manifest" in err
    code, out, _ = run("verify")
    assert code == 1
    assert out.count("WRONG") == 1
    assert str(path) in out


def test_publish(run: Callable, make_run: Callable, tmp_path: Path) -> None:
    folder = make_run(int8=0.9, float16=0.901)
    notes = tmp_path / "notes.md"
    notes.write_text("Not for *doors*.", encoding="utf-8")
    code, out, _ = run("publish", str(folder), "--version", "98.5.0", "--notes", str(notes))
    assert code == 0
    assert "float16 0.9010, int8 0.9000, loss 0.0010 (at most 0.01)" in out
    assert "detector 98.5.0 is published" in out
    assert "detector 99.0.0 is still used when no version is named" in out
    card = (tmp_path / "weights" / "detector" / "98.5.0" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Not for *doors*." in card
    assert "MODEL_CARD.md" in run("show", "detector", "98.5.0")[1]
    assert run("verify", "detector", "98.5.0")[0] == 0
    code, _, err = run("publish", str(folder), "--version", "98.5.0")
    assert code == 2
    assert "this version already exists" in err
    code, out, _ = run("publish", str(folder), "--version", "98.5.0", "--replace", "--notes", "Words.")
    assert code == 0
    assert "Words." in run("show", "detector", "98.5.0")[1]
    code, out, _ = run("publish", str(folder), "--version", "100.0.0")
    assert "detector 99.0.0 is still used when no version is named" in out
    code, out, _ = run("publish", str(folder), "--version", "101.0.0", "--use")
    assert code == 0
    assert "detector 101.0.0 is used when no version is named" in out
    worse = make_run(name="worse", int8=0.7)
    code, out, err = run("publish", str(worse), "--version", "102.0.0")
    assert code == 2
    assert all(word in out for word in ("101.0.0 (in use)", "0.9000", "0.7000", "-0.2000", "worse"))
    assert "worse than detector 101.0.0 (in use)" in err
    assert err.count("\n") == 1
    code, out, _ = run("publish", str(worse), "--version", "102.0.0", "--force")
    assert code == 0
    assert "detector 101.0.0 is still used when no version is named" in out
    for arguments, message in (
        ((str(folder), "--version", "1.0.0", "--notes", "gone.md"), "gone.md: cannot be read"),
        ((str(tmp_path / "none"), "--version", "1.0.0"), "no such folder"),
        ((str(folder), "--version", "1.0"), "looks like 1.2.3"),
    ):
        code, _, err = run("publish", *arguments)
        assert code == 2
        assert message in err
    assert run("publish", str(folder))[0] == 2


def test_no_control_sequence_reaches_the_terminal(run: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "weights" / "detector" / "1.0.0\x1b[2J\x9b1m"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    for arguments in (("list",), ("verify",)):
        _, out, err = run(*arguments)
        assert "1.0.0\ufffd[2J" in (out + err).replace("\n", "")
        assert not {"\x1b", "\x9b"} & set(out + err)


@pytest.mark.parametrize("letter", ["a", "\u00e9"])
@pytest.mark.parametrize("length", [150, 300, 5000])
def test_names_that_are_too_long(run: Callable, letter: str, length: int) -> None:
    name = letter * length
    for arguments in (
        ("publish", name, "--version", "1.0.0"),
        ("publish", ".", "--version", name, "--notes", name),
        ("show", "detector", name),
        ("show", "detector", f"./{name}"),
        ("use", f"detector@{name}"),
        ("remove", "detector", name),
        ("pull", "detector", "--from", f"./{name}"),
        ("pull", f"detector@1.0.0-{name}", "--from", "."),
    ):
        code, _, err = run(*arguments)
        assert code == 2, arguments[0]
        assert err.count("\n") == 1
        assert err.startswith("error: ")


@pytest.mark.parametrize("stage", ["detector", "classifier"])
def test_a_training_that_is_not_published_shows_what_it_was_compared_with(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(*_: object, **__: object) -> None:
        now, then = (Metric(name="gender.accuracy", value=value, count=1000) for value in (0.8, 0.9))
        raise WorseError("worse", (Baseline("in use", "1.0.0", (Figure("gender.accuracy", then, now),)),))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"facepipe.{stage}.train.train_{stage}", train)
    with pytest.raises(SystemExit) as ended:
        main([f"train-{stage}", "--data", "x", "--version", "1.1.0"])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert all(word in out for word in ("1.0.0 (in use)", "0.9000", "0.8000", "-0.1000", "worse"))
    assert err == "error: worse\n"
