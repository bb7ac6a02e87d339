"""Publishing a run: what is refused, what is written, and that it happens as a whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe.core.errors import WeightsError
from facepipe.weights import publish as publishing
from facepipe.weights import store
from facepipe.weights.manifest import Manifest
from facepipe.weights.publish import PLOT_BYTES, Choices, publish_run
from facepipe.weights.release import Release, open_release
from facepipe.weights.rivals import WorseError
from facepipe.weights.store import find

AP = "AP50, face boxes >= 16 px at 640"
MakeRun = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user's root; the package's is emptied too."""
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "user"))
    monkeypatch.setattr(store, "PACKAGE_ROOT", tmp_path / "package")
    return tmp_path / "user"


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("stage", ["detector", "classifier"])
def test_a_run_becomes_a_version(stage: Any, root: Path, make_run: MakeRun) -> None:
    run = make_run(stage, int8=0.9, float16=0.901)
    before = everything(run)
    published = publish_run(run, Choices("1.0.0", notes="Made for a *test*."))
    assert everything(run) == before
    assert published.release.folder == root / stage / "1.0.0"
    release = find(stage, "1.0.0")
    release.verify()
    manifest = release.manifest
    assert manifest == published.release.manifest
    assert (manifest.version, manifest.notes) == ("1.0.0", "Made for a *test*.")
    assert [entry.precision for entry in manifest.files] == ["int8", "float16"]
    assert {metrics.command for metrics in manifest.metrics} == {
        f"facepipe evaluate-{stage} --data x.yaml --{stage} 1.0.0 --split val"
    }
    plots = {"card/pr.png", "card/calibration.png", "card/curves.png"}
    assert {document.name for document in manifest.documents} == {"MODEL_CARD.md", *plots}
    assert set(everything(release.folder)) == {
        "manifest.json",
        "MODEL_CARD.md",
        f"{stage}.int8.onnx",
        f"{stage}.float16.onnx",
        *plots,
    }, "no sheet of the data's pictures"
    assert sorted(path.name for path in (root / stage).iterdir()) == ["1.0.0"]
    (loss, *_) = published.losses
    assert (loss.exact.precision, loss.small.precision) == ("float16", "int8")
    assert loss.loss == pytest.approx(0.001)
    assert not published.remarks


def test_the_card_s_plots_are_small_and_whole(root: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(float16=0.9)
    colours = np.random.default_rng(0).integers(0, 256, (9, 16, 3), dtype=np.uint8)
    drawn = cv2.resize(colours, (1600, 900), interpolation=cv2.INTER_NEAREST)
    measured = run / "evaluation" / "float16"
    cv2.imwrite(str(measured / "pr.png"), drawn)
    cv2.imwrite(str(measured / "thresholds.png"), drawn)
    folder = publish_run(run, Choices("1.0.0")).release.folder
    plots = sorted((folder / "card").iterdir())
    assert [plot.name for plot in plots] == ["calibration.png", "curves.png", "pr.png", "thresholds.png"]
    assert sum(plot.stat().st_size for plot in plots) <= PLOT_BYTES
    shown = np.asarray(cv2.imread(str(folder / "card" / "pr.png")))
    assert shown.shape == (675, 1200, 3)
    wanted = cv2.resize(drawn, (1200, 675), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(shown - wanted).mean() < 25
    monkeypatch.setattr(publishing, "PLOT_BYTES", sum(plot.stat().st_size for plot in plots) - 1)
    again = publish_run(run, Choices("1.0.1")).release.folder / "card"
    assert np.asarray(cv2.imread(str(again / "pr.png"))).shape == (506, 900, 3)
    (measured / "pr.png").write_bytes(b"no picture")
    with pytest.raises(WeightsError, match=r"pr\.png: cannot be read as a picture"):
        publish_run(run, Choices("1.0.2"))


def test_the_card_and_its_plots_are_verified_too(root: Path, make_run: MakeRun) -> None:
    release = publish_run(make_run(), Choices("1.0.0")).release
    card = release.folder / "MODEL_CARD.md"
    card.write_text(card.read_text(encoding="utf-8").replace("0.9000", "0.9900"), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"MODEL_CARD\.md: not the file that was released"):
        release.verify()
    assert release.read()


def report(run: Path, precision: str = "float16") -> Path:
    return run / "evaluation" / precision / "evaluation.json"


def change_report(path: Path, **fields: Any) -> None:
    """Change fields of the record of figures in an evaluation.json."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["metrics"] |= fields
    path.write_text(json.dumps(content), encoding="utf-8")


def without_evaluation(run: Path) -> None:
    shutil.rmtree(run / "evaluation")


def other_file(run: Path) -> None:
    """The export was made anew, and the figures are of the file before it."""
    change_report(report(run), file_sha256="0" * 64)


def unnamed_file(run: Path) -> None:
    change_report(report(run), file_sha256=None)


def damaged(run: Path) -> None:
    report(run).write_text("{", encoding="utf-8")


def no_figures(run: Path) -> None:
    report(run).write_text('{"metrics": []}', encoding="utf-8")


def odd_figures(run: Path) -> None:
    change_report(report(run), values="many")


def changed_file(run: Path) -> None:
    file = run / "export" / "detector.float16.onnx"
    file.write_bytes(file.read_bytes() + b"\0")


def without_export(run: Path) -> None:
    shutil.rmtree(run / "export")


def vanished(run: Path) -> None:
    shutil.rmtree(run)


def a_release(run: Path) -> None:
    shutil.copyfile(run / "export" / "manifest.json", run / "manifest.json")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_evaluation, r"was not evaluated; measure it with: facepipe export-detector \S+runs/detector/a"),
        (other_file, r"measured on a file other than detector\.float16\.onnx \(SHA-256 differs\); measure it with"),
        (unnamed_file, "does not say which file was measured"),
        (damaged, r"evaluation\.json: not an evaluation"),
        (no_figures, "does not say which file was measured"),
        (odd_figures, r"evaluation\.json: not an evaluation \(Input should be"),
        (changed_file, "not the file that was released"),
        (without_export, r"not the folder of a run that was exported .*facepipe export-detector"),
        (vanished, "no such folder"),
        (a_release, "a release, not a run"),
    ],
)
def test_what_is_refused(damage: Callable[[Path], None], message: str, root: Path, make_run: MakeRun) -> None:
    run = make_run()
    damage(run)
    with pytest.raises(WeightsError, match=message):
        publish_run(run, Choices("1.0.0"))
    assert not root.exists()


def test_the_second_file_must_be_evaluated_too(root: Path, make_run: MakeRun) -> None:
    run = make_run(int8=0.9, float16=0.9)
    shutil.rmtree(run / "evaluation" / "float16")
    with pytest.raises(WeightsError, match=r"float16/evaluation\.json: missing, so detector\.float16\.onnx was not"):
        publish_run(run, Choices("1.0.0"))


def test_versions_are_not_overwritten_unless_asked(root: Path, make_run: MakeRun) -> None:
    first, second = make_run(name="a", float16=0.8), make_run(name="b", float16=0.9)
    publish_run(first, Choices("1.0.0"))
    before = everything(root)
    with pytest.raises(WeightsError, match="--replace"):
        publish_run(second, Choices("1.0.0"))
    assert everything(root) == before
    publish_run(second, Choices("1.0.0", replace=True))
    assert find("detector", "1.0.0").manifest.metrics[0].values[0].value == 0.9
    for bad in ("1.0", "one", "1.0.0/..", ""):
        with pytest.raises(WeightsError, match=r"looks like 1\.2\.3"):
            publish_run(first, Choices(bad))


@pytest.mark.parametrize("step", ["write_manifest", "verify", "rename"])
def test_a_failure_in_the_middle_leaves_nothing(
    step: str, root: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(name="a", float16=0.8)
    kept = everything(publish_run(run, Choices("1.0.0")).release.folder)
    other = make_run(name="b", float16=0.9)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    plain = Path.rename
    failures: list[Path] = []

    def rename(path: Path, target: Path) -> Path:
        """Fails at the first move out of the staging folder; what was there before must come back."""
        if ".publish-" in str(path) and not failures:
            failures.append(path)
            fail()
        return plain(path, target)

    if step == "rename":
        monkeypatch.setattr(Path, "rename", rename)
    elif step == "verify":
        monkeypatch.setattr(Release, "verify", fail)
        monkeypatch.setattr(publishing, "exported_release", lambda run: open_release(run / "export"))
    else:
        monkeypatch.setattr(store, "write_manifest", fail)
    for replace, version in ((True, "1.0.0"), (False, "2.0.0")):
        failures.clear()
        with pytest.raises(WeightsError, match="cannot be written"):
            publish_run(other, Choices(version, replace=replace))
    monkeypatch.undo()
    assert [path.name for path in (root / "detector").iterdir()] == ["1.0.0"]
    assert everything(root / "detector" / "1.0.0") == kept


def test_int8_that_loses_too_much_is_refused(root: Path, make_run: MakeRun) -> None:
    run = make_run(int8=0.8, float16=0.8123)
    with pytest.raises(WeightsError, match=r"int8 file loses too much: AP50.*loss 0\.0123 \(at most 0\.01\)"):
        publish_run(run, Choices("1.0.0"))
    assert not root.exists()
    published = publish_run(run, Choices("1.0.0", most_loss=0.02))
    card = (published.release.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| float16 0.8123 | int8 0.8000 | 0.0123 | at most 0.02 |" in card
    publish_run(make_run(name="edge", int8=0.8, float16=0.81), Choices("1.0.1"))  # a loss of 0.01 itself is allowed
    publish_run(make_run(name="gain", int8=0.82, float32=0.81), Choices("1.0.2"))


def with_value(path: Path, number: int, **fields: Any) -> None:
    """Change one figure in an evaluation.json."""
    values = json.loads(path.read_text(encoding="utf-8"))["metrics"]["values"]
    values[number] |= fields
    change_report(path, values=values)


def test_a_loss_of_few_boxes_is_told_and_not_judged(root: Path, make_run: MakeRun) -> None:
    run = make_run(int8=0.5, float16=0.9)
    for precision in ("int8", "float16"):
        with_value(report(run, precision), 0, count=12)
    published = publish_run(run, Choices("1.0.0"))
    assert "not judged: only 12" in str(published.losses[0])
    with_value(report(run, "int8"), 0, count=11)
    with pytest.raises(WeightsError, match="not measured on the same rows"):
        publish_run(run, Choices("1.0.1"))
    for precision in ("int8", "float16"):
        with_value(report(run, precision), 0, name="AP50, face boxes of some size")
    with pytest.raises(WeightsError, match="no AP50 of boxes of at least 16 px was measured"):
        publish_run(run, Choices("1.0.1"))


def test_classifiers_have_limits_of_their_own(root: Path, make_run: MakeRun) -> None:
    publish_run(make_run("classifier", "a", int8=0.898, float32=0.9), Choices("1.0.0"))
    with pytest.raises(WeightsError, match=r"gender\.accuracy: .* \(at most 0\.003\)"):
        publish_run(make_run("classifier", "b", int8=0.896, float32=0.9), Choices("1.0.1"))
    run = make_run("classifier", "c", int8=0.9, float32=0.9)
    with_value(report(run, "int8"), 1, value=5.7321)
    with pytest.raises(WeightsError, match=r"age\.mae: .*loss 0\.3000 \(at most 0\.1\)"):
        publish_run(run, Choices("1.0.1", most_loss=0.5))


def test_further_measurements_go_along(root: Path, make_run: MakeRun) -> None:
    """Of the run's file: the same again, the same and one figure more, and one at another size; and another model."""
    run = make_run(int8=0.9, float16=0.901)
    mine = json.loads(report(run, "int8").read_text(encoding="utf-8"))
    folder = run / "evaluation" / "side by side"
    contents = {
        "again": mine | {"detector": "0.0.0-a"},
        "large": {"metrics": mine["metrics"] | {"protocol": "at 1280 px", "values": mine["metrics"]["values"][:1]}},
        "yunet": {
            "detector": "yunet:y.onnx",
            "metrics": mine["metrics"] | {"file_sha256": "e" * 64, "protocol": "peer"},
        },
    }
    contents["large"]["metrics"]["values"] = [{"name": AP, "value": 0.95, "count": 2327}]
    other = [{"name": AP, "value": 0.7, "count": 2327}, {"name": "alarms at 0.9, nobody", "value": 0.6, "count": 60}]
    contents["yunet"]["metrics"]["values"] = other
    more = [*mine["metrics"]["values"], {"name": "recall, selfies", "value": 0.97, "count": 500}]
    protocol = f"{mine['metrics']['protocol']}. Selfies by a protocol of their own"
    contents["more"] = {"metrics": mine["metrics"] | {"protocol": protocol, "values": more}}
    for name, content in contents.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "evaluation.json").write_text(json.dumps(content), encoding="utf-8")
    manifest = publish_run(run, Choices("1.0.0")).release.manifest
    protocols = [metrics.protocol for metrics in manifest.metrics]
    assert protocols[:2] == ["val split of a test, detector"] * 2
    assert protocols[2:] == ["at 1280 px", "Selfies by a protocol of their own"]
    assert [metric.name for metric in manifest.metrics[3].values] == ["recall, selfies"]
    assert [each.name for each in manifest.beside] == ["yunet:y.onnx"]
    card = (root / "detector" / "1.0.0" / "MODEL_CARD.md").read_text(encoding="utf-8")
    beside = card[card.index("## Beside other models") : card.index("## What compression costs")]
    assert "|  | detector 1.0.0 (int8) | yunet:y.onnx |" in beside
    assert f"| {AP} | 0.9000 | 0.7000 |" in beside
    assert "nobody" not in beside, "a figure that ours lack"
    assert "yunet:y.onnx: peer. SHA-256 `eeee" in beside
    assert "at 1280 px." in card
    (folder / "yunet" / "evaluation.json").write_text("[]", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"yunet/evaluation\.json: not an evaluation"):
        publish_run(run, Choices("1.0.1"))


def test_what_the_publisher_ought_to_know_is_said(root: Path, make_run: MakeRun) -> None:
    published = publish_run(make_run(int8=0.9), Choices("1.0.0"))
    assert any("int8 is alone" in remark for remark in published.remarks)
    card = (published.release.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert re.search(r"Unknown: detector\.int8\.onnx was measured alone", card)
    run = make_run(name="b")
    change_report(report(run), labels_sha256="c" * 64)
    published = publish_run(run, Choices("1.0.1"))
    assert any("measured on other labels (cccccccccccc)" in remark for remark in published.remarks)
    card = (published.release.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "another data set than the one it was trained on" in card


def test_old_manifests_are_read_as_they_are() -> None:
    """That of detector 0.1.0, which no longer ships."""
    manifest = Manifest.model_validate_json(Path(__file__).with_name("manifest-0.1.0.json").read_bytes())
    assert (manifest.documents, manifest.notes) == ((), "")
    assert all(metrics.file_sha256 is None for metrics in manifest.metrics)
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


def beside(run: Path, release: Release, headline: float, folder: str = "in use") -> None:
    """Store a measurement of another release on the same rows in a run, as a side-by-side evaluation does."""
    content = json.loads(report(run).read_text(encoding="utf-8"))
    content["metrics"] |= {"file_sha256": release.entry().sha256, "protocol": "beside"}
    content["metrics"]["values"] = [content["metrics"]["values"][0] | {"value": headline}]
    content[release.stage] = release.label
    (run / "evaluation" / folder).mkdir()
    (run / "evaluation" / folder / "evaluation.json").write_text(json.dumps(content), encoding="utf-8")


def test_a_worse_model_is_published_by_force_only(root: Path, make_run: MakeRun) -> None:
    used = publish_run(make_run(float16=0.376), Choices("1.0.0")).release
    run = make_run(name="b", float16=0.238)
    beside(run, used, 0.376)
    before = everything(root)
    message = r"worse than detector 1\.0\.0 \(in use\): AP50.* 0\.3760 -> 0\.2380 .*--force"
    with pytest.raises(WorseError, match=message):
        publish_run(run, Choices("1.1.0"))
    assert everything(root) == before
    published = publish_run(run, Choices("1.1.0", force=True))
    (baseline,) = published.baselines
    (figure,) = baseline.figures
    assert (baseline.role, baseline.label, figure.difference) == ("in use", "1.0.0", pytest.approx(-0.138))
    assert find("detector").version == "1.0.0"


@pytest.mark.parametrize(("draws", "refused"), [([0.7, 0.8, 0.9, 1.0], True), ([0.7, 0.99, 0.9, 1.0], False)])
def test_what_was_drawn_of_the_same_rows_decides(
    root: Path, make_run: MakeRun, draws: list[float], refused: bool
) -> None:
    """The version in use was drawn 0.01 better each time, or not each time; other labels' draws do not count."""
    used = publish_run(make_run(float16=0.86), Choices("1.0.0")).release
    run = make_run(name="b", float16=0.85)
    beside(run, used, 0.86)
    beside(run, used, 0.86, "another")
    for path, values in (("float16", draws), ("in use", [0.71, 0.81, 0.91, 1.01])):
        file = report(run, path)
        file.write_text(json.dumps(json.loads(file.read_text()) | {"resampled": {AP: values}}))
    change_report(report(run, "another"), labels_sha256="d" * 64)
    if refused:
        with pytest.raises(WorseError, match=r"worse than detector 1\.0\.0 \(in use\)") as caught:
            publish_run(run, Choices("1.1.0"))
        (figure,) = caught.value.baselines[0].figures
        assert figure.interval == pytest.approx((-0.01, -0.01))
    else:
        (figure,) = publish_run(run, Choices("1.1.0")).baselines[0].figures
        assert figure.significant is False
    file = report(run)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"resampled": {AP: "many"}}))
    with pytest.raises(WeightsError, match="not an evaluation"):
        publish_run(run, Choices("1.2.0"))


def test_a_better_model_is_published_and_the_other_stays_in_use(root: Path, make_run: MakeRun) -> None:
    used = publish_run(make_run(float16=0.8), Choices("1.0.0")).release
    assert find("detector").version == "1.0.0"
    assert store.read_pins(root) == {}
    run = make_run(name="b", float16=0.9)
    beside(run, used, 0.8)
    published = publish_run(run, Choices("1.1.0"))
    assert [figure.better for figure in published.baselines[0].figures] == [True]
    assert store.read_pins(root) == {"detector": "1.0.0"}
    assert find("detector").version == "1.0.0"
    publish_run(run, Choices("1.2.0", use=True))
    assert find("detector").version == "1.2.0"
    publish_run(run, Choices("1.3.0"))
    assert find("detector").version == "1.2.0"


def test_an_older_number_or_the_same_pins_nothing(root: Path, make_run: MakeRun) -> None:
    for version in ("2.0.0", "1.0.0", "3.0.0-try"):
        publish_run(make_run(name=version, float16=0.8), Choices(version))
        assert find("detector").version == "2.0.0"
    publish_run(make_run(name="again", float16=0.8), Choices("2.0.0", replace=True))
    assert store.read_pins(root) == {}


def test_a_publishing_that_fails_pins_nothing(root: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_run(make_run(float16=0.8), Choices("1.0.0"))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_manifest", fail)
    with pytest.raises(WeightsError, match="cannot be written"):
        publish_run(make_run(name="b", float16=0.9), Choices("1.1.0"))
    assert store.read_pins(root) == {}


def test_the_start_is_a_baseline_too(root: Path, make_run: MakeRun) -> None:
    start = publish_run(make_run(float16=0.85), Choices("1.0.0")).release
    publish_run(make_run(name="b", float16=0.7), Choices("1.1.0", use=True, force=True))
    run = make_run(name="c", float16=0.75)
    path = run / "export" / "manifest.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["training"]["start"] = "1.0.0"
    path.write_text(json.dumps(content), encoding="utf-8")
    beside(run, start, 0.85, "start")
    with pytest.raises(WorseError, match=r"worse than detector 1\.0\.0 \(start\)") as caught:
        publish_run(run, Choices("1.2.0"))
    assert [(each.role, each.label) for each in caught.value.baselines] == [("in use", "1.1.0"), ("start", "1.0.0")]


def test_what_was_not_measured_on_the_same_rows_is_said(root: Path, make_run: MakeRun) -> None:
    publish_run(make_run(float16=0.85), Choices("1.0.0"))
    run = make_run(name="b", float16=0.9)
    change_report(report(run), labels_sha256="c" * 64, protocol="of other rows")
    published = publish_run(run, Choices("1.1.0"))
    assert any("not compared with detector 1.0.0 (in use)" in remark for remark in published.remarks)
