"""The version in use: chosen, kept, given back; a damaged choice is an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.core.errors import WeightsError
from facepipe.weights.release import Release
from facepipe.weights.store import find, pin_key, read_pins, use, write_pin

Publish = Callable[..., Release]


def test_pins_are_written_and_taken_back(tmp_path: Path) -> None:
    assert read_pins(tmp_path) == read_pins(tmp_path / "none") == {}
    write_pin(tmp_path, "classifier", "0.1.0", "shirt")
    write_pin(tmp_path, "detector", "1.0.0")
    assert read_pins(tmp_path) == {pin_key("classifier", "shirt"): "0.1.0", pin_key("detector"): "1.0.0"}
    write_pin(tmp_path, "detector", None)
    assert read_pins(tmp_path) == {"classifier/shirt": "0.1.0"}


def test_a_version_can_be_chosen_and_given_back(
    root: Path, tmp_path: Path, publish_detector: Publish, publish_classifier: Publish
) -> None:
    publish_detector(tmp_path / "package", version="1.0.0")
    publish_detector(root, version="2.0.0")
    publish_classifier(root, version="1.0.0")
    assert use("detector", "1.0.0").version == "1.0.0"
    assert find("detector").folder == tmp_path / "package" / "detector" / "1.0.0"
    assert find("classifier").version == "1.0.0"
    assert json.loads((root / "current.json").read_text(encoding="utf-8")) == {"detector": "1.0.0"}
    publish_detector(root, version="3.0.0")
    assert find("detector").version == "1.0.0", "a newer one changes nothing"
    assert find("detector", "2.0.0").version == "2.0.0"
    use("classifier", "1.0.0")
    assert use("detector", None).version == find("detector").version == "3.0.0"
    assert json.loads((root / "current.json").read_text(encoding="utf-8")) == {"classifier": "1.0.0"}
    assert sorted(path.name for path in root.iterdir()) == ["classifier", "current.json", "detector"]


def test_only_what_is_there_and_whole_can_be_chosen(root: Path, publish_detector: Publish) -> None:
    release = publish_detector(root, version="1.0.0")
    publish_detector(root, version="2.0.0")
    with pytest.raises(WeightsError, match=r"no detector 5\.0\.0; there are: 1\.0\.0, 2\.0\.0"):
        use("detector", "5.0.0")
    (release.folder / "model.onnx").write_bytes(b"something else")
    with pytest.raises(WeightsError, match="not the file that was released"):
        use("detector", "1.0.0")
    assert not (root / "current.json").exists()
    assert find("detector").version == "2.0.0"


def test_a_chosen_version_that_is_gone_is_an_error_with_the_mend(root: Path, publish_detector: Publish) -> None:
    publish_detector(root, version="1.0.0")
    gone = publish_detector(root, version="2.0.0")
    use("detector", "2.0.0")
    gone.folder.rename(root / "away")
    with pytest.raises(
        WeightsError, match=r"no detector 2\.0\.0; there are: 1\.0\.0.*weights use detector newest"
    ) as caught:
        find("detector")
    assert str(root / "current.json") in str(caught.value)
    assert find("detector", "1.0.0").version == "1.0.0"
    use("detector", None)
    assert find("detector").version == "1.0.0"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"nose": "1.0.0"}', b'{"detector": 1}', b'{"detector": "../../x"}'],
)
def test_a_damaged_choice_is_an_error_and_is_never_written_over(
    content: bytes, root: Path, publish_detector: Publish
) -> None:
    publish_detector(root, version="1.0.0")
    path = root / "current.json"
    path.write_bytes(content)
    for call in (lambda: find("detector"), lambda: use("detector", "1.0.0"), lambda: use("detector", None)):
        with pytest.raises(WeightsError, match="remove the file") as caught:
            call()
        assert str(path) in str(caught.value)
    assert path.read_bytes() == content
    assert find("detector", "1.0.0").version == "1.0.0"
    path.unlink()
    assert find("detector").version == "1.0.0"


def test_a_choice_that_cannot_be_written_changes_nothing(
    root: Path, publish_detector: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1.0.0", "2.0.0"):
        publish_detector(root, version=version)
    use("detector", "1.0.0")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(WeightsError, match=r"current\.json: cannot be written \(No space left"):
        use("detector", "2.0.0")
    assert find("detector").version == "1.0.0"
    assert sorted(path.name for path in root.iterdir()) == ["current.json", "detector"]
