from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe import __version__
from facepipe.pipeline.inputs.image_reader import read_frame


@pytest.fixture
def picture(tmp_path: Path, encode: Callable[..., bytes]) -> Path:
    path = tmp_path / "picture.jpg"
    path.write_bytes(encode(".jpg"))
    return path


def test_version_help_and_usage(run: Callable) -> None:
    assert run("--version") == (0, f"facepipe {__version__}\n", "")
    code, out, _ = run("detect", "--help")
    assert code == 0
    for option in ("--json", "--save", "--conf", "--detector", "--classifier", "--device", "--threads", "--timing"):
        assert option in out
    for wrong in (["detect"], ["detect", "--conf", "2", "a.jpg"], ["detect", "--nope", "a.jpg"], ["nope"]):
        assert run(*wrong)[0] == 2


def test_table_names_picture_faces_and_attributes(run: Callable, picture: Path) -> None:
    code, out, err = run("detect", picture)
    assert (code, err) == (0, "")
    for word in (str(picture), "160 x 120", "age", "gender", "years", "conf"):
        assert word in out
    assert "left_eye" not in out
    assert all(len(line) <= 80 for line in out.splitlines()[1:])
    assert "left_eye" in run("detect", picture, "--wide")[1]


def test_bad_inputs_are_lines_and_the_others_are_done(
    run: Callable, bad_inputs: dict[str, Path], odd_inputs: dict[str, Path], tmp_path: Path
) -> None:
    bad, odd = [path for name, path in bad_inputs.items() if name != "folder"], list(odd_inputs.values())
    images = [*odd[:3], *bad[:3], *odd[3:9], *bad[3:], *odd[9:]]
    target = tmp_path / "out.jsonl"
    code, out, err = run("detect", *images, "--json", target)
    assert code == 1
    records = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [record["source"] for record in records] == [str(image) for image in images]
    assert [record["source"] for record in records if record["error"]] == [str(path) for path in bad]
    assert len(err.splitlines()) == len(bad)
    for line, path in zip(err.splitlines(), bad, strict=True):
        assert line.startswith(f"error: {path}: ")
    for path in odd:
        assert path.name in out
    assert run("detect", *bad)[0] == 1
    assert run("detect", *odd)[0] == 0


def test_json_on_standard_output_is_alone_there(run: Callable, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.jpg").write_bytes(picture.read_bytes())
    pictures = [picture, tmp_path / "missing.jpg", tmp_path / "copy.jpg", picture]
    code, out, err = run("detect", *pictures, "--json", "-", "--timing")
    assert code == 1
    assert [json.loads(line)["error"] is None for line in out.splitlines()] == [True, False, True]
    assert "missing.jpg" in err
    timing = err.splitlines()[-1]
    for part in ("import", "load", "read", "detect", "classify", "total"):
        assert f"{part} " in timing


def test_saved_pictures_do_not_overwrite_each_other_or_an_input(
    run: Callable, encode: Callable[..., bytes], tmp_path: Path
) -> None:
    inputs = [tmp_path / "a" / "x.jpg", tmp_path / "b" / "x.png", tmp_path / "out" / "x-faces.jpg"]
    for path in inputs:
        path.parent.mkdir()
        path.write_bytes(encode(path.suffix))
    before = inputs[2].read_bytes()
    saved = {"a/x-faces.jpg", "b/x-faces.jpg", "out/x-faces-faces.jpg"}
    for _ in range(2):  # the second run makes the same files, and takes the same names
        assert run("detect", *inputs, "--save", tmp_path / "out")[0] == 0
        found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jpg")}
        assert found == {"x-faces.jpg", *saved}
    assert inputs[2].read_bytes() == before
    for name in saved:
        assert read_frame(tmp_path / "out" / name).shape == (480, 640, 3)


def test_a_very_long_picture_is_saved_as_png(run: Callable, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "long.png"), np.zeros((2, 65600, 3), np.uint8))
    assert run("detect", tmp_path / "long.png", "--save", tmp_path / "out")[0] == 0
    assert read_frame(tmp_path / "out" / "long-faces.png").shape == (2, 65600, 3)


def test_set_up_errors_exit_with_2(run: Callable, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for options, message in (
        (["--detector", "77.0.0"], "no detector 77.0.0"),
        (["--classifier", str(tmp_path)], "no such manifest"),
        (["--device", "abacus"], "unknown device"),
        (["--save", tmp_path / "file"], "the folder cannot be created"),
        (["--json", tmp_path / "file" / "a.jsonl"], "cannot be written"),
        (["--csv", tmp_path], "is a folder"),
        (["--csv", "/dev/full"], "cannot be written"),
        (["--json", "/dev/full"], "cannot be written"),
    ):
        code, out, err = run("detect", picture, *options)
        assert code == 2
        assert out == "" or "/dev/full" in options
        assert err.startswith("error: ")
        assert message in err
    plain = picture.rename(picture.with_suffix(""))  # whose name contradicts no option
    code, _, err = run("detect", plain, "--json", plain)
    assert code == 2
    assert "overwrite" in err
    picture = plain
    assert read_frame(picture).shape == (120, 160, 3)


def test_confidence_and_versions_are_passed_on(run: Callable, picture: Path) -> None:
    def heads(*options: str) -> int:
        record = json.loads(run("detect", picture, "--json", "-", "--threads", "1", *options)[1])
        assert record["models"]["detector"]["version"] == "99.0.0"
        return len(record["heads"])

    assert heads("--conf", "0.95") < heads("--conf", "0.3", "--detector", "99.0.0", "--classifier", "99.0.0")


def test_names_are_printed_as_they_are(run: Callable, encode: Callable[..., bytes], tmp_path: Path) -> None:
    name = "[red]größe 名[/red] :smile:.jpg"
    (tmp_path / "[red]größe 名[").mkdir()
    (tmp_path / name).write_bytes(encode(".jpg"))
    code, out, _ = run("detect", tmp_path / name)
    assert code == 0
    assert name in out
    (tmp_path / "a\x1b[2Jb.jpg").write_bytes(encode(".jpg"))
    code, out, err = run("detect", tmp_path / "a\x1b[2Jb.jpg", tmp_path / "c\x1b[2Jd.jpg")
    assert code == 1
    assert "\x1b" not in out + err


def test_a_poor_terminal_and_a_closed_pipe(tiny_weights: Path, tmp_path: Path, encode: Callable[..., bytes]) -> None:
    """Standard output that knows ASCII only, and a reader that leaves after the first line."""
    names = [f"größe{number}.jpg" for number in range(20)]
    for name in names:
        (tmp_path / name).write_bytes(encode(".jpg"))
    command = [sys.executable, "-c", "from facepipe.pipeline.cli import main; main()", "detect", *names]
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=tmp_path, env=ascii_only, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"gr??e") == 20
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_detect_imports_no_training_framework(picture: Path, tiny_weights: Path) -> None:
    """In a process of its own: a whole run, then a look at everything that was imported on the way."""
    code = (
        "import sys\n"
        "from facepipe.pipeline.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    out = picture.parent / "out"
    arguments = ["detect", str(picture), "--save", str(out), "--json", "-", "--csv", str(out / "faces.csv")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["faces"]
    imported = set(done.stderr.split())
    assert {"cv2", "onnxruntime", "facepipe"} <= imported
    heavy = {"torch", "torchvision", "tensorflow", "keras", "ultralytics", "onnx", "tf2onnx", "pandas", "matplotlib"}
    assert not imported & (heavy | {"yaml", "scipy", "jax", "supervision", "pyarrow", "av"})


def test_example_portrait_runs(run: Callable) -> None:
    portrait = Path(__file__).parents[3] / "examples" / "astronaut.jpg"
    assert run("detect", portrait, "--json", "-")[0] == 0
