"""Classifiers with names: where they lie, how they are found, chosen and published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.core.errors import WeightsError
from facepipe.pipeline.cli import main
from facepipe.weights import store
from facepipe.weights.publish import Choices, publish_run
from facepipe.weights.release import Release, joined, split_name
from facepipe.weights.store import find, installed, releases, use

Publish = Callable[..., Release]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publish_colours: Publish, publish_detector: Publish) -> Path:
    """Two versions of the classifier without a name, two of ``shirt``, one of ``hat``; none in the package."""
    monkeypatch.setattr(store, "PACKAGE_ROOT", tmp_path / "package")
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "user"))
    folder = tmp_path / "user"
    publish_detector(folder, "1.0.0")
    for name, version in (
        ("face", "0.1.0"),
        ("face", "1.0.0"),
        ("shirt", "0.1.0"),
        ("shirt", "0.2.0"),
        ("hat", "3.0.0"),
    ):
        publish_colours(folder, name, version)
    return folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.0.0", ("", "1.0.0")),
        ("1.0.0-try", ("", "1.0.0-try")),
        ("face@1.0.0", ("", "1.0.0")),
        ("face", ("", None)),
        ("shirt@0.1.0", ("shirt", "0.1.0")),
        ("shirt", ("shirt", None)),
        ("1.0", ("", "1.0")),
    ],
)
def test_a_name_and_a_version_are_taken_apart(text: str, expected: tuple) -> None:
    assert split_name("classifier", text) == expected
    name, version = expected
    if name and version:
        assert joined(name, version) == text


@pytest.mark.parametrize(
    "text", ["Shirt@1.0.0", "@1.0.0", "a b@1.0.0", "../x@1.0.0", "shirt@", "shirt@1", "shirt@a@1.0.0"]
)
def test_what_cannot_be_a_name_or_version_is_refused(text: str) -> None:
    with pytest.raises(WeightsError, match=r"is named like shirt@1\.0\.0|looks like 1\.2\.3"):
        split_name("classifier", text)


def test_they_lie_a_folder_deeper_and_keep_apart(root: Path) -> None:
    assert find("classifier", "shirt@0.1.0").folder == root / "classifier" / "shirt" / "0.1.0"
    assert find("classifier", "shirt").label == "shirt@0.2.0"
    assert find("classifier", "hat").label == "hat@3.0.0"
    assert find("classifier").folder == root / "classifier" / "1.0.0", "neither the hat nor the shirt"
    for text in ("0.1.0", "face@0.1.0"):
        assert find("classifier", text).folder == root / "classifier" / "0.1.0"
    assert find("classifier", "face").label == find("classifier", "face@1.0.0").label == "1.0.0"
    assert find("classifier", root / "classifier" / "shirt" / "0.1.0").name == "shirt"
    labels = ["0.1.0", "1.0.0", "hat@3.0.0", "shirt@0.1.0", "shirt@0.2.0"]
    assert [release.label for release in releases("classifier")] == labels
    with pytest.raises(WeightsError, match=r"no classifier 3\.0\.0; there are: 0\.1\.0, 1\.0\.0"):
        find("classifier", "3.0.0")
    with pytest.raises(WeightsError, match=r"no classifier shirt@3\.0\.0; there are: shirt@0\.1\.0, shirt@0\.2\.0"):
        find("classifier", "shirt@3.0.0")
    with pytest.raises(WeightsError, match="no classifier is called 'glove'; there are: face, hat, shirt"):
        find("classifier", "glove")
    assert find("detector", "face").label == find("detector").label
    with pytest.raises(WeightsError, match="no detector is called 'tiny'; there are: face"):
        find("detector", "tiny")


def test_only_names_and_no_face(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publish_colours: Publish
) -> None:
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "other"))
    publish_colours(tmp_path / "other", "shirt")
    assert find("classifier", "shirt").version == "0.1.0"
    with pytest.raises(WeightsError, match="no classifier is installed"):
        find("classifier")


def test_each_name_has_a_version_in_use_of_its_own(root: Path) -> None:
    assert use("classifier", "shirt@0.1.0").label == find("classifier", "shirt").label == "shirt@0.1.0"
    assert find("classifier").label == "1.0.0"
    assert find("classifier", "hat").label == "hat@3.0.0"
    use("classifier", "0.1.0")
    pins = {"classifier": "0.1.0", "classifier/shirt": "0.1.0"}
    assert json.loads((root / "current.json").read_text()) == pins
    assert use("classifier", "shirt").label == find("classifier", "shirt").label == "shirt@0.2.0"
    assert find("classifier").label == "0.1.0"
    assert use("classifier", "face").label == "1.0.0"
    assert json.loads((root / "current.json").read_text()) == {}
    use("classifier", "shirt@0.1.0")
    (root / "classifier" / "shirt" / "0.1.0").rename(root / "away")
    with pytest.raises(WeightsError, match=r"selects classifier shirt@0\.1\.0.*use classifier shirt@newest"):
        find("classifier", "shirt")
    assert find("classifier").label == "1.0.0"


def test_a_broken_one_stops_only_its_own_name(root: Path) -> None:
    path = root / "classifier" / "shirt" / "0.2.0" / "manifest.json"
    path.write_text("{")
    (root / "classifier" / "hat" / "3.0.0").rename(root / "classifier" / "shirt" / "9.0.0")
    _, broken = installed("classifier")
    assert sorted(bad.label for bad in broken) == ["shirt@0.2.0", "shirt@9.0.0"]
    assert find("classifier").label == "1.0.0"
    assert find("classifier", "shirt@0.1.0").label == "shirt@0.1.0"
    with pytest.raises(WeightsError, match=r"the manifest says classifier hat@3\.0\.0; name the folder after it"):
        find("classifier", "shirt@9.0.0")
    assert find("classifier", "shirt").label == "shirt@0.1.0"  # the others are left out with a warning


def test_publishing_puts_a_name_in_its_folder(root: Path, tmp_path: Path, publish_colours: Publish) -> None:
    with pytest.raises(WeightsError, match="this version already exists"):
        publish_colours(root, "shirt")
    assert publish_colours(tmp_path / "r", "face", "2.0.0").folder == tmp_path / "r" / "classifier" / "2.0.0"
    assert sorted(path.name for path in (root / "classifier" / "shirt").iterdir()) == ["0.1.0", "0.2.0"]


def test_a_run_is_published_under_a_name(root: Path, make_run: Callable[..., Path]) -> None:
    run = make_run("classifier", int8=0.9, float16=0.901)
    release = publish_run(run, Choices("beard@1.0.0")).release
    assert release.folder == root / "classifier" / "beard" / "1.0.0"
    assert (release.manifest.name, release.version, release.label) == ("beard", "1.0.0", "beard@1.0.0")
    assert find("classifier", "beard").folder == release.folder
    assert "--classifier beard@1.0.0" in release.manifest.metrics[0].command
    card = (release.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    for words in (
        "# facepipe classifier beard@1.0.0",
        "facepipe detect photo.jpg --classifier beard@1.0.0",
        "facepipe weights use classifier beard@newest",
        'Pipeline(classifier="beard@1.0.0")',
    ):
        assert words in card
    release.verify()
    assert publish_run(run, Choices("7.0.0")).release.folder == root / "classifier" / "7.0.0"
    with pytest.raises(WeightsError, match="this version already exists"):
        publish_run(run, Choices("beard@1.0.0"))
    for bad in ("beard", "Beard@1.0.0", "beard@1"):
        with pytest.raises(WeightsError, match=r"looks like 1\.2\.3|is named like"):
            publish_run(run, Choices(bad))


def test_a_name_in_a_run_s_manifest_stays(root: Path, make_run: Callable[..., Path]) -> None:
    run = make_run("classifier")
    path = run / "export" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": "beard"}))
    assert publish_run(run, Choices("1.0.0")).release.label == "beard@1.0.0"
    assert publish_run(run, Choices("face@9.0.0")).release.label == "9.0.0"


def test_the_commands(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["weights", *arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    def marked() -> set[str]:
        rows = [line.split("│") for line in run("list")[1].splitlines() if line.startswith("│")]
        return {row[2].strip() for row in rows if row[1].strip() == "classifier" and row[3].strip() == "*"}

    assert marked() == {"1.0.0", "hat@3.0.0", "shirt@0.2.0"}
    code, out, _ = run("use", "classifier", "shirt@0.1.0")
    assert code == 0
    assert "classifier shirt@0.1.0 is used from now on (until another is chosen)" in out
    assert marked() == {"1.0.0", "hat@3.0.0", "shirt@0.1.0"}
    assert "shirt@0.2.0 is used from now on (the newest" in run("use", "classifier", "shirt@newest")[1]
    assert "1.0.0 is used from now on (the newest" in run("use", "classifier", "face@newest")[1]
    out = run("show", "classifier", "shirt@0.1.0")[1]
    assert "classifier shirt@0.1.0" in out
    assert "3 numbers per face" in out
    assert run("verify", "classifier", "shirt@0.1.0")[0] == 0
    code, out, _ = run("verify")
    assert code == 0
    assert "ok    classifier shirt@0.2.0" in out
    code, _, err = run("use", "classifier", "shirt@7.0.0")
    assert code == 2
    assert "there are: shirt@0.1.0, shirt@0.2.0" in err
