"""Results are made again, and every kind of difference is found and told."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe import Pipeline, __version__
from facepipe.classifier.inference.attributes import ClassValue
from facepipe.core.errors import DataError
from facepipe.pipeline.cli import main
from facepipe.pipeline.results import Box, DetectorUsed, Face, Models, Result
from facepipe.pipeline.verify import verify as verify_models
from facepipe.pipeline.verify.compare import TOLERANCES, compare
from facepipe.pipeline.verify.verify import VerifyOptions, verify
from facepipe.weights.manifest import Attribute, BinaryAttribute, read_manifest, write_manifest
from facepipe.weights.release import MANIFEST, Release

Run = Callable[..., tuple[int, str, str]]
COUNT = 6


@pytest.fixture
def run(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("verify", path, ...)`` gives the exit code, standard output and standard error; in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.fixture
def detected(run: Run, tmp_path: Path, photo: Callable[..., np.ndarray]) -> Path:
    """A folder ``pictures`` of six and a broken one, and their results as r.jsonl, r.csv and old.jsonl.

    The last is what facepipe 0.3.0 wrote.
    """
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(COUNT):
        cv2.imwrite(str(folder / f"{number}.png"), photo(number))
    (folder / "broken.png").write_bytes(b"once upon a time")
    assert run("detect", "pictures", "--json", "r.jsonl", "--csv", "r.csv", "--conf", 0.4)[0] == 1
    old = []
    for line in (tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines():
        result = json.loads(line)
        del result["source_sha256"], result["models"]["facepipe"]
        for used in (result["models"]["detector"], *result["models"]["classifiers"].values()):
            for field in set(used) - {"version", "sha256"}:
                del used[field]
        old.append(json.dumps(result))
    (tmp_path / "old.jsonl").write_text("\n".join(old) + "\n", encoding="utf-8")
    return tmp_path


def told(run: Run, path: object, *options: object) -> tuple[int, dict[str, Any]]:
    code, out, err = run("verify", path, *options, "--json")
    assert err == ""
    return code, json.loads(out)


def change(path: Path, number: int, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit one result of a file of JSON lines."""
    lines = path.read_text(encoding="utf-8").splitlines()
    result = json.loads(lines[number])
    edit(result)
    lines[number] = json.dumps(result)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_what_nobody_touched_is_identical(run: Run, detected: Path) -> None:
    code, out, err = run("verify", "r.jsonl")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"r.jsonl: {COUNT + 1} of {COUNT + 1} pictures",
        "largest differences: 0 px, 0 in a probability, 0 % of a number's range",
        f"{COUNT + 1} identical",
    ]
    code, report = told(run, "r.jsonl")
    assert (code, report["same"], report["facepipe"], report["seed"]) == (0, True, __version__, None)
    assert [each["source"] for each in report["checked"]][-1] == "pictures/broken.png"
    faces = sum(len(json.loads(line)["faces"]) for line in (detected / "r.jsonl").read_text().splitlines())
    assert faces > COUNT, "this shows nothing where there are no faces"


def test_tables_are_read_too(run: Run, detected: Path) -> None:
    pytest.importorskip("pyarrow")
    assert run("detect", "pictures", "--parquet", "r.parquet", "--conf", 0.4)[0] == 1
    parts = detected / "parts.parquet"  # as the engine on Ray leaves it
    parts.mkdir()
    shutil.copy(detected / "r.parquet", parts / "part-000000.parquet")
    shutil.copy(detected / "r.parquet", parts / "part-000001.parquet")
    (parts / "_SUCCESS").write_text("{}")
    for path, pictures in (("r.csv", COUNT + 1), ("r.parquet", COUNT + 1), ("parts.parquet", 2 * (COUNT + 1))):
        code, report = told(run, path)
        assert code == 0, report
        assert (report["pictures"], report["counts"]["identical"]) == (pictures, pictures)


def test_a_value_that_was_tampered_with(run: Run, detected: Path) -> None:
    def tamper(result: dict[str, Any]) -> None:
        face = result["faces"][0]
        face["attributes"]["gender"]["value"] = {"female": "male", "male": "female"}[
            face["attributes"]["gender"]["value"]
        ]
        face["attributes"]["age"]["value"] += 3
        face["box"]["x1"] -= 0.75
        face["attributes"]["eyes"]["points"]["nose"][1] += 2
        face["confidence"] -= 0.0004
        result["faces"][1]["attributes"]["smile"]["probabilities"]["no"] += 0.25

    change(detected / "r.jsonl", 2, tamper)
    code, report = told(run, "r.jsonl")
    assert code == 1
    assert report["counts"] == {
        **dict.fromkeys(report["counts"], 0),
        "identical": COUNT,
        "different": 1,
    }
    found = {(each["part"], each["field"]): each for each in report["checked"][2]["differences"]}
    assert set(found) == {
        *(("face 0", field) for field in ("box", "confidence", "age", "gender", "eyes nose")),
        ("face 1", "smile no"),
    }
    assert [key[1] for key, each in found.items() if each["within"]] == ["confidence"]
    assert found["face 0", "box"]["amount"] == pytest.approx(0.75)
    assert found["face 0", "age"]["amount"] == pytest.approx(0.03)
    assert report["largest"] == {"px": pytest.approx(2), "share": pytest.approx(0.25), "range": pytest.approx(0.03)}
    code, out, _ = run("verify", "r.jsonl")
    assert code == 1
    for said in ("pictures/2.png", "face 0", "gender", "male", "0.75 px", "3.00 %", f"{COUNT} identical, 1 different"):
        assert said in out
    assert "confidence" not in out, "it is within the tolerance"


def test_differences_as_of_another_processor_are_within_tolerance(run: Run, detected: Path) -> None:
    def nudge(result: dict[str, Any]) -> None:
        face = result["faces"][0]
        face["box"]["y2"] += 0.04
        face["attributes"]["age"]["interval"][0] += 0.05
        result["heads"][0]["confidence"] += 1e-6

    change(detected / "r.jsonl", 0, nudge)
    code, report = told(run, "r.jsonl")
    assert (code, report["same"]) == (0, True)
    assert (report["counts"]["within tolerance"], report["counts"]["identical"]) == (1, COUNT)
    assert report["largest"]["px"] == pytest.approx(0.04)
    assert run("verify", "r.jsonl")[1].splitlines()[-1] == f"{COUNT} identical, 1 within tolerance"


def test_a_face_that_is_gone_and_one_that_is_new(run: Run, detected: Path) -> None:
    boxes: list[dict[str, float]] = []

    def move(result: dict[str, Any]) -> None:
        boxes.append(dict(result["faces"][0]["box"]))
        result["faces"][0]["box"] = {"x1": 0, "y1": 0, "x2": 4, "y2": 4}

    change(detected / "r.jsonl", 1, move)
    code, report = told(run, "r.jsonl")
    assert code == 1
    found = {each["part"]: each for each in report["checked"][1]["differences"] if each["field"] == "found"}
    assert set(found) == {"face 0", "face 0 of now"}
    assert found["face 0"]["then"] == "0.00, 0.00, 4.00, 4.00"
    assert found["face 0 of now"]["now"].startswith(f"{boxes[0]['x1']:.2f}, ")


def test_a_table_that_was_tampered_with(run: Run, detected: Path) -> None:
    path = detected / "r.csv"
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    rows[0][header.index("age")] = "7.77"
    rows[0][header.index("x1")] = str(float(rows[0][header.index("x1")]) - 0.01)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    code, report = told(run, path)
    assert code == 1
    found = {each["field"]: each["within"] for each in report["checked"][0]["differences"]}
    assert found == {"age": False, "box": True}


def test_a_changed_picture_a_missing_one_and_a_mended_one(
    run: Run, detected: Path, photo: Callable[..., np.ndarray]
) -> None:
    folder = detected / "pictures"
    (folder / "1.png").unlink()
    cv2.imwrite(str(folder / "2.png"), photo(77))
    for results in ("r.jsonl", "r.csv"):
        code, report = told(run, results)
        assert code == 1
        verdicts = {each["source"]: each["verdict"] for each in report["checked"]}
        assert verdicts.pop("pictures/1.png") == "missing"
        assert verdicts.pop("pictures/2.png") == "changed"
        assert set(verdicts.values()) == {"identical"}
        assert len(verdicts) == COUNT - 1, "the broken one fails again the same way"
    code, out, _ = run("verify", "r.jsonl")
    assert code == 1
    assert f"{COUNT - 1} identical, 1 changed, 1 missing" in out
    cv2.imwrite(str(folder / "broken.png"), photo(3))
    (mended,) = [each for each in told(run, "r.jsonl")[1]["checked"] if "broken" in each["source"]]
    assert mended["verdict"] == "different"
    (error,) = mended["differences"]
    assert (error["field"], error["now"]) == ("error", None)
    assert not error["then"].startswith("pictures/")


def test_relative_sources_begin_where_root_says(run: Run, detected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = detected / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    code, report = told(run, detected / "r.jsonl")
    assert (code, report["counts"]["missing"]) == (1, COUNT)
    assert told(run, detected / "r.jsonl", "--root", detected)[0] == 0


def test_a_sample_is_the_same_for_the_same_seed(run: Run, detected: Path) -> None:
    def drawn(*options: object) -> list[str]:
        code, report = told(run, "r.jsonl", *options)
        assert code == 0
        return [each["source"] for each in report["checked"]]

    first = drawn("--sample", 3)
    assert (len(first), first) == (3, sorted(set(first)))
    assert drawn("--sample", 3) == first == drawn("--sample", 3, "--seed", 0)
    assert len({tuple(drawn("--sample", 3, "--seed", seed)) for seed in range(6)}) > 1
    assert len(drawn("--all", "--sample", 3)) == COUNT + 1
    assert "3 of 7 pictures (seed 4)" in run("verify", "r.jsonl", "--sample", 3, "--seed", 4)[1]
    assert [each["source"] for each in told(run, "r.csv", "--sample", 3)[1]["checked"]] == first


def test_results_of_an_older_facepipe(run: Run, detected: Path) -> None:
    code, report = told(run, "old.jsonl")
    (note,) = report["notes"]
    for part in ("older facepipe", "facepipe's version", "crop recipe", "least confidence", "own are taken"):
        assert part in note
    # They were made at 0.4, which nobody can tell from them; the release's own is 0.5, and the weakest are not there.
    assert code == 1
    missing = [each for picture in report["checked"] for each in picture["differences"] if each["field"] == "found"]
    assert missing
    assert all(each["now"] is None for each in missing)
    assert "note: " in run("verify", "old.jsonl")[1]


def test_another_version_of_facepipe_is_told(run: Run, detected: Path) -> None:
    def older(result: dict[str, Any]) -> None:
        result["models"]["facepipe"] = "0.4.9"

    for number in range(COUNT + 1):
        change(detected / "r.jsonl", number, older)
    code, report = told(run, "r.jsonl")
    assert (code, report["notes"]) == (0, [f"made by facepipe 0.4.9; this is {__version__}"])


def test_models_that_are_not_here(run: Run, detected: Path) -> None:
    def other(result: dict[str, Any]) -> None:
        result["models"]["detector"]["version"] = "3.2.1"

    def another_file(result: dict[str, Any]) -> None:
        result["models"]["classifiers"]["face"]["sha256"] = "ab" * 32

    change(detected / "r.jsonl", 0, other)
    change(detected / "r.jsonl", 3, another_file)
    code, report = told(run, "r.jsonl")
    assert code == 2
    assert report["same"] is False
    assert (report["counts"]["not run"], report["counts"]["identical"]) == (2, COUNT - 1)
    missing, different = report["notes"]
    assert "no detector 3.2.1" in missing
    assert "facepipe weights pull detector@3.2.1 --from SOURCE" in missing
    assert "abababababab…" in different
    assert "facepipe weights pull classifier@99.0.0 --replace --from SOURCE" in different
    out = run("verify", "r.jsonl")[1]
    assert f"{COUNT - 1} identical, 2 not run" in out
    (detected / "pictures" / "1.png").unlink()
    assert told(run, "r.jsonl")[0] == 1, "something that differs comes first"


def test_a_crop_recipe_that_was_changed(
    run: Run, detected: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = detected / "weights"
    shutil.copytree(tiny_weights, copied)
    path = copied / "classifier" / "99.0.0" / MANIFEST
    manifest = read_manifest(path)
    assert manifest.crop is not None
    crop = manifest.crop.model_copy(update={"margin": 0.5})
    write_manifest(manifest.model_copy(update={"crop": crop}), path)
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(copied))
    code, report = told(run, "r.jsonl")
    assert (code, report["recipe_differs"]) == (1, True)
    assert any("different crop recipe" in note and crop.sha256[:12] in note for note in report["notes"])
    assert report["counts"]["different"] == COUNT


def test_int8_on_a_processor_without_instructions_for_it_is_told(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pipeline() as pipeline:
        monkeypatch.setattr(verify_models, "has_vnni", lambda: False)
        assert verify_models.saturates(pipeline) is None
        detector = pipeline.parts()[0]
        detector.entry = detector.entry.model_copy(update={"precision": "int8"})
        assert "(VNNI)" in (verify_models.saturates(pipeline) or "")
        detector.entry = detector.entry.model_copy(update={"reduced_range": True})
        assert verify_models.saturates(pipeline) is None
        detector.entry = detector.entry.model_copy(update={"reduced_range": False})
        for able in (True, None):
            monkeypatch.setattr(verify_models, "has_vnni", lambda able=able: able)
            assert verify_models.saturates(pipeline) is None


def test_what_cannot_be_made_again_is_passed_over(run: Run, detected: Path) -> None:
    for number, edit in enumerate(
        (
            {"frame": 3, "time": 0.1, "source": "clip.mp4"},
            {"source": "clip.mp4", "error": "clip.mp4: no video"},
            {"source": None},
            {"source": "https://example.org/a.jpg"},
            {"source": "s3://bucket/a.jpg"},
        )
    ):
        change(detected / "r.jsonl", number, lambda result, edit=edit: result.update(edit))  # type: ignore[misc]
    code, report = told(run, "r.jsonl")
    assert code == 0
    assert report["skipped"] == {
        "of a frame of a video": 2,
        "without a path": 1,
        "of a picture with a URL (--allow-url fetches it)": 1,
        "of a picture in a bucket": 1,
    }
    assert report["pictures"] == COUNT + 1 - 5
    assert "skipped: 2 results of a frame of a video" in run("verify", "r.jsonl")[1]
    lines = (detected / "r.jsonl").read_bytes().splitlines(keepends=True)
    (detected / "only.jsonl").write_bytes(b"".join(lines[:3]))
    code, _, err = run("verify", "only.jsonl")
    assert code == 2
    assert "holds no picture that can be run again: 2 of a frame of a video, 1 without a path" in err


def test_files_that_are_no_results(run: Run, detected: Path) -> None:
    good = (detected / "r.jsonl").read_bytes().splitlines(keepends=True)
    table = (detected / "r.csv").read_bytes()
    files: dict[str, tuple[bytes, str]] = {
        "a.txt": (b"", "ends in .jsonl, .csv or .parquet"),
        "none.jsonl": (b"", "holds no results"),
        "none.csv": (b"", "holds no results"),
        "header.csv": (table.splitlines(keepends=True)[0], "holds no results"),
        "torn.jsonl": (b"".join(good)[:-40], f"torn.jsonl, line {COUNT + 1}: is not valid JSON"),
        "middle.jsonl": (b"".join([*good[:2], b'{"a": 1}\n', *good[2:]]), "line 3: is not a result of facepipe detect"),
        "wrong.jsonl": (good[0].replace(b'"faces":[{', b'"faces":[{"x":1,', 1), "line 1: is not a result that this"),
        "other.csv": (b"name,age\na,1\n", "is not a table of facepipe detect"),
        "cells.csv": (table + b"a,b\r\n", "has 2 cells"),
        "utf.csv": (table + b"\xff\xfe", "not a CSV file in UTF-8"),
        "number.csv": (table.replace(b"160,120", b"wide,120", 1), "width is 'wide'"),
        "old.csv": (b"source,error,width,height,face,version_detector,version_face\r\n", "an older facepipe"),
        "bad.parquet": (b"PAR1", "is not a complete Parquet file"),
    }
    pytest.importorskip("pyarrow")
    for name, (content, said) in files.items():
        (detected / name).write_bytes(content)
        code, out, err = run("verify", name, "--all")
        assert (code, out) == (2, ""), name
        assert said in err, name
    assert "cannot be read" in run("verify", "nowhere.jsonl")[2]
    with pytest.raises(DataError, match="line 1"):
        verify(detected / "wrong.jsonl", VerifyOptions())


NEAR = ClassValue(value="male", probability=0.5004, probabilities={"female": 0.4996, "male": 0.5004})
FLIPPED = ClassValue(value="female", probability=0.5003, probabilities={"female": 0.5003, "male": 0.4997})
GENDER = BinaryAttribute(name="gender", classes=("female", "male"))


def faces(*values: ClassValue | None, confidence: float = 0.9) -> Result:
    """A result with a face in each ten pixels, of these genders."""
    return Result(
        source="a.jpg",
        width=100,
        height=100,
        faces=tuple(
            Face(
                box=Box(x1=10 * number, y1=0, x2=10 * number + 8, y2=8),
                confidence=confidence - 0.1 * number,
                head=None,
                attributes=None if value is None else {"gender": value},
                reason=None,
            )
            for number, value in enumerate(values)
        ),
        heads=(),
        models=Models(detector=DetectorUsed(version="1.0.0", sha256="ab" * 32), classifiers={}),
        error=None,
    )


def compared(then: Result, now: Result, precision: str = "float32", attribute: Attribute = GENDER) -> dict[str, bool]:
    """Field to whether it is within tolerance."""
    found = compare(then, now, TOLERANCES[precision], 640, 0.25, [attribute])
    assert len({(each.part, each.field) for each in found}) == len(found)
    return {each.field: each.within for each in found}


def test_a_class_that_was_a_toss_up_may_flip_and_a_clear_one_not() -> None:
    within = compared(faces(NEAR), faces(FLIPPED))
    assert within.pop("gender") is True
    assert set(within.values()) == {True}
    clear = ClassValue(value="female", probability=0.9, probabilities={"female": 0.9, "male": 0.1})
    lie = clear.model_copy(update={"value": "male"})
    assert compared(faces(clear), faces(lie)) == {"gender": False}
    assert compared(faces(NEAR), faces(NEAR.model_copy(update={"value": "female"}))) == {"gender": False}
    assert compared(faces(NEAR), faces(None)) == {"gender": False}
    unsure = NEAR.model_copy(update={"value": None})
    again = ClassValue(value="male", probability=0.5008, probabilities={"female": 0.4992, "male": 0.5008})
    least = GENDER.model_copy(update={"abstain_below": 0.5006})
    assert compared(faces(unsure), faces(again), attribute=least)["gender"] is True
    assert compared(faces(unsure), faces(again))["gender"] is False


def test_a_box_on_the_edge_of_the_confidence_may_be_there_or_not() -> None:
    two, one = faces(NEAR, NEAR, confidence=0.3501), faces(NEAR, confidence=0.3501)
    assert compared(two, one) == compared(one, two) == {"found": True}
    assert compared(faces(NEAR, NEAR), faces(NEAR)) == {"found": False}


def test_the_order_matters_unless_it_was_a_tie() -> None:
    one = faces(NEAR, NEAR)
    swapped = one.model_copy(update={"faces": one.faces[::-1]})
    found = compare(one, swapped, TOLERANCES["float32"], 640, 0.25, [GENDER])
    assert {(each.part, each.field, each.within) for each in found} == {
        ("face 0", "place", False),
        ("face 1", "place", False),
    }
    tied = [face.model_copy(update={"confidence": 0.8 + 1e-5 * number}) for number, face in enumerate(one.faces)]
    before, after = (one.model_copy(update={"faces": tuple(tied[::step])}) for step in (1, -1))
    assert compare(before, after, TOLERANCES["float32"], 640, 0.25, [GENDER])[0].within


def test_larger_pictures_and_smaller_precisions_may_differ_by_more() -> None:
    one = faces(NEAR)
    moved = one.model_copy(update={"faces": (one.faces[0].model_copy(update={"box": Box(x1=0.3, y1=0, x2=8, y2=8)}),)})
    assert compared(one, moved) == {"box": False}
    assert compared(one, moved, "int8") == {"box": True}
    large = {"width": 6400, "height": 10}
    assert compared(one.model_copy(update=large), moved.model_copy(update=large)) == {"box": True}


def test_every_setting_that_numbers_depend_on_is_taken_from_the_results(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    publish_detector: Callable[..., Release],
    publish_classifier: Callable[..., Release],
    publish_colours: Callable[..., Release],
    photo: Callable[..., np.ndarray],
) -> None:
    """Version, input size, tiles, classifiers: nothing of this is named on the command line of verify."""
    pytest.importorskip("supervision")
    root = tmp_path / "weights"
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(root))
    publish_detector(root, "98.0.0", dynamic=True)
    publish_detector(root, "99.0.0", seed=4)
    publish_classifier(root)
    publish_colours(root, "shirt", region="torso")
    cv2.imwrite(str(tmp_path / "a.png"), photo(5, 200, 300))
    lines = []
    chosen: list[dict[str, Any]] = [{"imgsz": 96}, {"tiles": 64}, {"confidence": 0.45}]
    cv2.imwrite(str(tmp_path / "large.jpg"), photo(5, 400, 600))
    chosen += [{"imgsz": 96, "reduced_decode": reduced} for reduced in (False, True)]
    for settings in chosen:
        with Pipeline("98.0.0", ["shirt@0.1.0", "face"], **settings) as pipeline:
            (result,) = pipeline.run([str(tmp_path / ("large.jpg" if "reduced_decode" in settings else "a.png"))])
        assert result.faces or result.heads
        lines.append(result.model_dump_json())
    seen = [json.loads(line) for line in lines]
    assert len({(each["faces"] + each["heads"])[0]["box"]["x1"] for each in seen}) > 1
    assert any(each["faces"] for each in seen)
    (tmp_path / "r.jsonl").write_text("\n".join(lines), encoding="utf-8")
    report = verify(tmp_path / "r.jsonl", VerifyOptions())
    assert report.counts["identical"] == 5, report
