from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.core.errors import WeightsError
from facepipe.weights import store
from facepipe.weights.release import Release, open_release
from facepipe.weights.store import find, installed, publish, releases, use, version_key

Publish = Callable[..., Release]


def test_versions_sort_by_number_and_names_come_before_the_release() -> None:
    expected = ["0.1.0", "0.2.0-rc1", "0.2.0", "0.10.0", "1.0.0-alpha", "1.0.0-beta", "1.0.0", "10.0.0"]
    assert sorted(set(expected), key=version_key) == expected


def test_the_newest_final_version_is_the_default(root: Path, publish_detector: Publish) -> None:
    publish_detector(root, version="1.0.0-try")
    assert find("detector").version == "1.0.0-try"
    for version in ("0.9.0", "0.10.0"):
        publish_detector(root, version=version)
    assert find("detector").version == "0.10.0"
    assert [release.version for release in releases()] == ["0.9.0", "0.10.0", "1.0.0-try"]
    assert find("detector", "0.9.0").version == "0.9.0"
    assert find("detector", root / "detector" / "0.9.0").version == "0.9.0"
    assert find("detector", str(root / "detector" / "0.9.0")).version == "0.9.0"


def test_what_is_not_there_is_said(root: Path, publish_detector: Publish) -> None:
    with pytest.raises(WeightsError, match="no detector is installed") as caught:
        find("detector")
    assert str(root) in str(caught.value)
    with pytest.raises(WeightsError, match="there are: none"):
        find("detector", "1.0.0")
    release = publish_detector(root, version="1.0.0")
    with pytest.raises(WeightsError, match=r"no detector 2.0.0; there are: 1.0.0"):
        find("detector", "2.0.0")
    with pytest.raises(WeightsError, match="holds a detector, not a classifier"):
        find("classifier", release.folder)
    with pytest.raises(WeightsError, match="no such manifest"):
        find("detector", root / "detector" / "none")


def test_the_user_s_release_wins_over_the_package_s(root: Path, tmp_path: Path, publish_detector: Publish) -> None:
    shipped = publish_detector(tmp_path / "package", version="1.0.0", seed=1)
    newer = publish_detector(tmp_path / "package", version="2.0.0", seed=1)
    assert find("detector", "1.0.0").folder == shipped.folder
    own = publish_detector(root, version="1.0.0", seed=2)
    assert find("detector", "1.0.0").folder == own.folder
    assert find("detector").folder == newer.folder
    assert len(releases("detector")) == 2


def test_bytes_are_given_out_only_when_they_agree(root: Path, publish_detector: Publish) -> None:
    release = publish_detector(root)
    path = release.folder / "model.onnx"
    content = path.read_bytes()
    assert release.read() == release.read("float32") == content
    release.verify()
    with pytest.raises(WeightsError, match="no int8 file; it has: float32"):
        release.read("int8")
    for damaged in (content[:-1], content + b"\0", content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match="not the file that was released"):
            release.read()
        with pytest.raises(WeightsError):
            release.verify()
    path.unlink()
    with pytest.raises(WeightsError, match="incomplete"):
        release.read()


def test_a_damaged_model_is_never_run(root: Path, publish_detector: Publish) -> None:
    from facepipe import FaceDetector

    path = publish_detector(root).folder / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(WeightsError, match="SHA-256"):
        FaceDetector()


def test_publishing_happens_or_does_not(root: Path, tmp_path: Path, publish_detector: Publish) -> None:
    release = publish_detector(root, version="1.0.0", seed=1)
    with pytest.raises(WeightsError, match="exists"):
        publish_detector(root, version="1.0.0", seed=2)
    other = publish_detector(tmp_path / "other", version="1.0.0", seed=2)
    wrong = tmp_path / "model.onnx"
    wrong.write_bytes(b"something else")
    for replace, version in ((True, "1.0.0"), (False, "1.1.0")):
        manifest = other.manifest.model_copy(update={"version": version})
        with pytest.raises(WeightsError, match="not the file"):
            publish(manifest, [wrong], root, replace=replace)
    assert [path.name for path in (root / "detector").iterdir()] == ["1.0.0"]
    assert open_release(release.folder).manifest == release.manifest
    replaced = publish(other.manifest, [other.folder / "model.onnx"], root, replace=True)
    assert replaced.folder == release.folder
    assert replaced.entry().sha256 == other.entry().sha256 != release.entry().sha256
    assert [path.name for path in (root / "detector").iterdir()] == ["1.0.0"]


def lying(root: Path, publish_detector: Publish, version: str) -> str:
    """A folder whose manifest names another version."""
    publish_detector(root, version="77.0.0").folder.rename(root / "detector" / version)
    return "name the folder after it"


def unreadable(root: Path, publish_detector: Publish, version: str) -> str:
    """A manifest that is no JSON."""
    (publish_detector(root, version=version).folder / "manifest.json").write_text("{", encoding="utf-8")
    return "bad manifest"


def from_the_future(root: Path, publish_detector: Publish, version: str) -> str:
    """A manifest with a field that this facepipe does not know."""
    path = publish_detector(root, version=version).folder / "manifest.json"
    content = json.loads(path.read_text(encoding="utf-8")) | {"telepathy": True, "facepipe": "9.8.7"}
    path.write_text(json.dumps(content), encoding="utf-8")
    return r"telepathy.*\(it was written by facepipe 9\.8\.7\)"


@pytest.mark.parametrize("damage", [lying, unreadable, from_the_future])
def test_a_bad_manifest_stops_nobody_who_names_another_version(
    damage: Callable[..., str], root: Path, publish_detector: Publish, publish_classifier: Publish
) -> None:
    publish_detector(root, version="2.0.0")
    publish_classifier(root, version="1.0.0")
    message = damage(root, publish_detector, "1.0.0")
    good, broken = installed()
    assert [(release.stage, release.version) for release in good] == [("classifier", "1.0.0"), ("detector", "2.0.0")]
    assert [(bad.stage, bad.version) for bad in broken] == [("detector", "1.0.0")]
    assert find("detector", "2.0.0").version == find("detector").version == "2.0.0"
    assert find("classifier").version == "1.0.0"
    with pytest.raises(WeightsError, match=message) as caught:
        find("detector", "1.0.0")
    assert str(root / "detector" / "1.0.0") in str(caught.value)


@pytest.mark.parametrize("damage", [lying, unreadable, from_the_future])
def test_a_broken_newest_version_is_left_out_with_a_warning(
    damage: Callable[..., str], root: Path, publish_detector: Publish, caplog: pytest.LogCaptureFixture
) -> None:
    publish_detector(root, version="2.0.0")
    message = damage(root, publish_detector, "3.0.0")
    for _ in range(2):
        assert find("detector").version == "2.0.0"
    (record,) = caplog.records  # once in a process
    assert re.search(f"warning: .*{message}.*skipped$", record.getMessage())
    with pytest.raises(WeightsError, match=message):
        find("detector", "3.0.0")
    with pytest.raises(WeightsError, match=message):
        use("detector", "3.0.0")
    assert use("detector", None).version == find("detector").version == "2.0.0"


def test_the_only_one_is_broken(root: Path, publish_detector: Publish) -> None:
    message = unreadable(root, publish_detector, "3.0.0")
    with pytest.raises(WeightsError, match=f"no detector is installed.*{message}"):
        find("detector")


@pytest.mark.parametrize("where", ["detector", "detector/3.0.0", "current.json", "."])
def test_an_unreadable_folder_is_left_out_with_a_warning(
    where: str,
    root: Path,
    tmp_path: Path,
    publish_detector: Publish,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As for another user; the tests may run as root, whom no mode stops."""
    publish_detector(tmp_path / "package", version="1.0.0")
    publish_detector(root, version="3.0.0")
    barred, stat, listdir = root / where, os.stat, os.listdir

    def refuse(path: object, *more: object, **named: object) -> object:
        if isinstance(path, str | Path) and (Path(path) == barred or barred in Path(path).parents):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "listdir", lambda path: refuse(path) and listdir(path))
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != barred)
    if where == "current.json":
        with pytest.raises(WeightsError, match=r"current\.json: cannot be read \(Permission denied\)"):
            find("detector")
        return
    assert find("detector").version == "1.0.0"
    assert find("detector", "1.0.0").version == "1.0.0"
    assert any("cannot be read (Permission denied)" in record.getMessage() for record in caplog.records)
    with pytest.raises(WeightsError, match="Permission denied"):
        find("detector", "3.0.0")


def test_a_file_in_place_of_the_folder(root: Path, tmp_path: Path, publish_detector: Publish) -> None:
    publish_detector(tmp_path / "package", version="1.0.0")
    root.write_bytes(b"no folder")
    assert find("detector").version == "1.0.0"
    with pytest.raises(WeightsError, match="cannot be written"):
        use("detector", "1.0.0")


def test_no_home_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, publish_detector: Publish, publish_classifier: Publish
) -> None:
    """HOME is not set and the user has no entry in the system's list, as in a container with ``--user``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACEPIPE_WEIGHTS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", Mock(side_effect=KeyError("uid not found")))
    shipped = find("detector")
    assert store.PACKAGE_ROOT in shipped.folder.parents
    with pytest.raises(WeightsError, match="name another folder with FACEPIPE_WEIGHTS"):
        use("detector", shipped.version)
    with pytest.raises(WeightsError, match="name another folder with FACEPIPE_WEIGHTS"):
        publish(shipped.manifest.model_copy(update={"version": "9.0.0"}), [])
    assert list(tmp_path.iterdir()) == []


def test_no_such_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEPIPE_WEIGHTS", "~nobody-of-that-name/weights")
    with pytest.raises(WeightsError, match="give a full path"):
        find("detector")


def test_a_broken_trial_or_folder_is_never_the_newest(root: Path, publish_detector: Publish) -> None:
    publish_detector(root, version="2.0.0")
    unreadable(root, publish_detector, "3.0.0-try")
    publish_detector(root, version="4.0.0").folder.rename(root / "detector" / "old")
    assert find("detector").version == "2.0.0"
    assert sorted(bad.version for bad in installed("detector")[1]) == ["3.0.0-try", "old"]


def test_a_broken_own_version_hides_the_shipped_one_that_is_named(
    root: Path, tmp_path: Path, publish_detector: Publish
) -> None:
    publish_detector(tmp_path / "package", version="1.0.0")
    unreadable(root, publish_detector, "1.0.0")
    with pytest.raises(WeightsError, match="bad manifest"):
        find("detector", "1.0.0")
    assert find("detector").folder == tmp_path / "package" / "detector" / "1.0.0"  # nobody asked for that one


def test_a_pipeline_works_with_either_version(
    root: Path, publish_detector: Publish, publish_classifier: Publish, photo: Callable[..., np.ndarray]
) -> None:
    """The classifier stays; the detector goes to another version and back."""
    for version, seed in (("1.0.0", 11), ("2.0.0", 5)):
        publish_detector(root, version=version, seed=seed)
    publish_classifier(root, version="1.0.0")
    results: dict[str, list] = {}
    for choice in ("1.0.0", "2.0.0", "1.0.0", None):
        use("detector", choice)
        with Pipeline() as pipeline:
            result = pipeline.run(photo(0))
        assert result.models.detector.version == (choice or "2.0.0")
        assert result.models.classifiers["face"].version == "1.0.0"
        assert result.faces
        boxes = [face.box for face in result.faces]
        assert results.setdefault(result.models.detector.version, boxes) == boxes
    assert results["1.0.0"] != results["2.0.0"]
