"""What the API answers, and that it is what ``Pipeline.run`` says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.core.errors import FacepipeError, WeightsError
from facepipe.pipeline.drawing.anonymize import hide
from facepipe.pipeline.drawing.draw import draw
from facepipe.pipeline.results import Result
from facepipe.pipeline.serving.endpoint import Answer, example
from facepipe.pipeline.serving.models import Served, load
from facepipe.weights.release import Release
from starlette.testclient import TestClient

from .conftest import alike

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture
def pictures(photo: Callable[..., np.ndarray], encode: Callable[..., bytes]) -> list[bytes]:
    """Six pictures of different sizes."""
    return [encode(".png", photo(seed, 90 + 10 * seed, 160)) for seed in range(6)]


def offline(pictures: list[bytes], releases: tuple[Release, Release], **options: Any) -> list[Result]:
    with Pipeline(releases[0].folder, releases[1].folder, **options) as pipeline:
        return pipeline.run(pictures)


def same(got: tuple[Result, ...], expected: list[Result]) -> bool:
    """Whether an answer says what ``Pipeline.run`` does."""
    return len(got) == len(expected) and all(map(alike, got, expected))


@pytest.fixture
def releases(detector_release: Release, classifier_release: Release) -> tuple[Release, Release]:
    return detector_release, classifier_release


def test_one_picture_as_the_body(client: Callable[..., TestClient], pictures: list[bytes], releases: Any) -> None:
    answer = client().post("/v1/detect", content=pictures[0], headers={"content-type": "application/octet-stream"})
    assert answer.status_code == 200
    assert same(Answer.model_validate_json(answer.content).results, offline(pictures[:1], releases))


def test_many_pictures_in_a_form(client: Callable[..., TestClient], pictures: list[bytes], releases: Any) -> None:
    files = [("file", (f"größe {number}.png", picture)) for number, picture in enumerate(pictures)]
    results = Answer.model_validate_json(client().post("/v1/detect", files=files).content).results
    assert [result.source for result in results] == [f"größe {number}.png" for number in range(6)]
    assert same(results, offline(pictures, releases))
    assert sum(len(result.faces) for result in results) > 0


@pytest.fixture
def open_to_all(releases: tuple[Release, Release]) -> Served:
    """The random models from confidence 0 on: their own is 0.5."""
    return load(str(releases[0].folder), [str(releases[1].folder)], threads=2, confidence=0.0)


@pytest.mark.parametrize("conf", [0.0, 0.3, 0.5, 0.52, 0.6, 1.0])
def test_a_request_has_its_own_confidence(
    client: Callable[..., TestClient], pictures: list[bytes], releases: Any, open_to_all: Served, conf: float
) -> None:
    # Suppression and the cap on boxes come after the threshold, and heads are matched among those above it.
    files = [("file", picture) for picture in pictures]
    answer = client(open_to_all).post(f"/v1/detect?conf={conf}", files=files)
    results = Answer.model_validate_json(answer.content).results
    assert same(results, offline(pictures, releases, confidence=conf))


@pytest.mark.parametrize(("conf", "status"), [(0.0, 400), (0.49, 400), (0.5, 200), (0.6, 200)])
def test_no_confidence_lies_below_the_servers_own(
    client: Callable[..., TestClient], pictures: list[bytes], conf: float, status: int
) -> None:
    answer = client().post(f"/v1/detect?conf={conf}", files={"file": pictures[0]})
    assert answer.status_code == status
    assert status == 200 or answer.json()["detail"] == "conf: must be at least 0.5, this server's own minimum"


def test_one_bad_picture_fails_alone(client: Callable[..., TestClient], pictures: list[bytes], releases: Any) -> None:
    files = [("file", pictures[0]), ("file", b"no picture"), ("file", b""), ("file", pictures[1][:-50])]
    answer = client().post("/v1/detect", files=files)
    assert answer.status_code == 200
    good, *bad = Answer.model_validate_json(answer.content).results
    assert same((good,), offline(pictures[:1], releases))
    assert [result.width for result in bad] == [None] * 3
    for result, reason in zip(bad, ("not a picture", "empty", "cut short"), strict=True):
        assert reason in (result.error or "")
    assert bad[0].models == good.models


def test_a_form_of_one_answers_in_the_same_shape(client: Callable[..., TestClient], pictures: list[bytes]) -> None:
    anyone = client()
    form = anyone.post("/v1/detect", files={"file": ("a.png", pictures[0])}).json()
    body = anyone.post("/v1/detect", content=pictures[0], headers=JPEG).json()
    assert form["results"][0] | {"source": None} == body["results"][0]


def test_an_annotated_picture(
    client: Callable[..., TestClient],
    photo: Callable[..., np.ndarray],
    encode: Callable[..., bytes],
    pipeline: Pipeline,
) -> None:
    frame = photo(3)
    anyone, picture = client(), encode(".png", frame)
    result = pipeline.run(frame)
    assert result.faces
    for query, expected in (
        ("render=image", draw(frame, result)),
        ("render=image&hide=pixelate&what=heads", hide(frame, result, "pixelate", "heads")),
    ):
        answer = anyone.post(f"/v1/detect?{query}", content=picture, headers=JPEG)
        assert answer.headers["content-type"] == "image/jpeg"
        shown = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None
        assert shown.shape == expected.shape
        assert np.abs(shown.astype(int) - expected).mean() < 6  # JPEG's own loss
    assert anyone.post("/v1/detect?render=image", files=[("file", picture)] * 2).status_code == 400
    assert anyone.post("/v1/detect?hide=blur", content=picture, headers=JPEG).status_code == 400


def test_versions_that_requests_may_name(
    client: Callable[..., TestClient],
    pictures: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    publish_detector: Callable[..., Release],
    publish_classifier: Callable[..., Release],
    publish_colours: Callable[..., Release],
) -> None:
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path))
    old = publish_detector(tmp_path, "97.0.0", seed=5), publish_classifier(tmp_path, "97.0.0", seed=6)
    publish_detector(tmp_path)
    publish_classifier(tmp_path)
    publish_colours(tmp_path, "shirt", region="torso")
    publish_classifier(tmp_path, "96.0.0", seed=6)
    allowed = ["detector@97.0.0", "classifier@97.0.0", "shirt@0.1.0"]
    anyone = client(load("99.0.0", ["99.0.0"], allowed))

    def ask(query: str) -> Any:
        return anyone.post(f"/v1/detect?{query}", files=[("file", picture) for picture in pictures])

    answer = Answer.model_validate_json(ask("detector=97.0.0&classifier=97.0.0").content)
    assert same(answer.results, offline(pictures, old))
    with Pipeline("99.0.0", ["99.0.0", "shirt@0.1.0"], confidence=0.6) as pipeline:
        both = Answer.model_validate_json(ask("classifier=99.0.0&classifier=shirt@0.1.0&conf=0.6").content)
        assert same(both.results, pipeline.run(pictures))  # the torso hangs on the head, the head on the confidence
    refused = ask("classifier=96.0.0")
    assert (refused.status_code, refused.json()["code"]) == (400, "bad-request")
    assert refused.json()["detail"].endswith("there are: 99.0.0, 97.0.0, shirt@0.1.0")
    assert ask("detector=99.0.1").status_code == 400
    assert ask("classifier=99.0.0&classifier=97.0.0").status_code == 400
    models = anyone.get("/v1/models").json()
    assert [(each["version"], each["used"]) for each in models["detectors"]] == [("99.0.0", True), ("97.0.0", False)]
    assert [each["version"] for each in models["classifiers"]] == ["99.0.0", "97.0.0", "shirt@0.1.0"]
    assert models["detectors"][1]["sha256"] == answer.results[0].models.detector.sha256


def test_versions_that_are_not_there(tiny_weights: Path) -> None:
    with pytest.raises(FacepipeError, match="expected detector@VERSION"):
        load(allowed=["0.1.0"])
    with pytest.raises(WeightsError, match=r"no detector 1\.2\.3"):
        load(allowed=["detector@1.2.3"])


def test_what_the_server_tells_of_itself(client: Callable[..., TestClient]) -> None:
    anyone = client()
    assert anyone.get("/healthz").json() == {"status": "ok"}
    assert anyone.get("/readyz").json() == {"status": "ready"}
    assert {"faces", "heads", "models", "error"} <= set(anyone.get("/v1/schema").json()["properties"])
    document = anyone.get("/openapi.json").json()
    answers = document["paths"]["/v1/detect"]["post"]["responses"]
    assert {int(status) for status in answers} == {200, 400, 403, 408, 413, 415, 421, 422, 500, 503, 504}
    assert answers["200"]["content"]["application/json"]["example"] == example()
    assert "HTTPValidationError" not in str(document)
    choices = {each["name"]: each["schema"] for each in document["paths"]["/v1/detect"]["post"]["parameters"]}
    assert set(choices) == {"conf", "detector", "classifier", "render", "hide", "what"}
    assert (choices["detector"]["enum"], choices["classifier"]["items"]["enum"]) == (["99.0.0"], ["99.0.0"])


def test_the_example_is_a_real_answer() -> None:
    photo = Path(__file__).parents[3] / "examples" / "astronaut.jpg"
    with Pipeline("1.0.0", "1.0.0") as pipeline:
        result = pipeline.run(photo).model_copy(update={"source": photo.name})
    (shown,) = Answer.model_validate(example()).results
    assert (shown.source, shown.models) == (result.source, result.models)
    assert shown.faces[0].box.x1 == pytest.approx(result.faces[0].box.x1, abs=0.5)
    assert (shown.faces[0].attributes or {}).keys() == (result.faces[0].attributes or {}).keys()
