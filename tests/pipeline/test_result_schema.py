"""The published JSON Schema holds for what is really written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import facepipe
import numpy as np
import pytest
from facepipe import Pipeline, Result
from facepipe.pipeline.cli import main

Check = Callable[[Any], None]


@pytest.fixture(scope="module")
def check() -> Check:
    """Raises where a value does not follow the schema."""
    jsonschema = pytest.importorskip("jsonschema", reason="it comes with the extra dev")
    told = facepipe.schema()
    jsonschema.Draft202012Validator.check_schema(told)
    return jsonschema.Draft202012Validator(told).validate


@pytest.fixture
def results(tiny_weights: Path, photo: Callable[..., np.ndarray], tmp_path: Path) -> list[Result]:
    """Results of a picture with faces, of one with a face too small to read, and of one that is missing."""
    tiny = photo(3)
    with Pipeline(confidence=0.3) as pipeline:
        found = pipeline.run([photo(3), tiny[:24, :30].copy(), str(tmp_path / "missing.jpg")])
    face = found[0].faces[0]
    unread = face.model_copy(update={"attributes": None, "reason": "too small", "reasons": {"face": "too small"}})
    in_video = found[0].model_copy(update={"frame": 7, "time": 0.25, "faces": (unread,), "source": "clip.mp4"})
    assert face.attributes
    assert found[2].error
    return [*found, in_video]


def test_real_results_follow_it(check: Check, results: list[Result]) -> None:
    for result in results:
        check(json.loads(result.model_dump_json()))
        assert Result.model_validate_json(result.model_dump_json()) == result


def test_fields_are_described_where_a_class_has_them_from_another(check: Check) -> None:
    told = facepipe.schema()["$defs"]
    for name in ("DetectorUsed", "ClassifierUsed"):
        assert told[name]["properties"]["sha256"]["description"] == "Of the model file that ran."
    assert "crop recipe" in told["ClassifierUsed"]["properties"]["crop_sha256"]["description"]


def test_others_do_not(check: Check, results: list[Result]) -> None:
    from jsonschema import ValidationError  # type: ignore[import-untyped]

    told = json.loads(results[0].model_dump_json())
    changes: list[dict[str, Any]] = [
        {"height": "tall"}, {"colour": "red"}, {"faces": [{"box": {}}]}, {"models": None}
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(ValidationError):
            check(told | change)
    told.pop("frame")
    with pytest.raises(ValidationError, match="'frame' is a required property"):
        check(told)


def test_every_field_is_described_as_it_is() -> None:
    told = facepipe.schema()
    assert told["required"] == [field for field in Result.model_fields if field != "saved"]
    face = told["$defs"]["Face"]["properties"]
    assert "features" not in face
    assert face["head"]["description"] == "Index into the result's heads of the head that the face lies in."
    assert face["confidence"]["description"].startswith("The detector's, 0 to 1")
    assert told["$defs"]["ClassValue"]["properties"]["value"]["description"].startswith("None if probability is below")


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["schema"])
    assert stopped.value.code == 0
    assert json.loads(capsys.readouterr().out) == facepipe.schema()


def test_public_names() -> None:
    assert set(facepipe.__all__) <= set(dir(facepipe))
    for name in facepipe.__all__:
        assert getattr(facepipe, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = facepipe.nothing
