"""Two versions side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facepipe.core.errors import WeightsError
from facepipe.weights.diff import Change, Differences, differences
from facepipe.weights.manifest import Beside, Manifest, Metric, Metrics
from facepipe.weights.release import Release

LABELS, OTHERS = "ab" * 32, "cd" * 32


def metrics(protocol: str, labels: str | None = LABELS, sha256: str | None = None, **values: Any) -> Metrics:
    rows = [
        Metric(
            name=name.replace("__", ", ").replace("_at_", " at 0."), value=value[0], count=value[1], interval=value[2]
        )
        if isinstance(value, tuple)
        else Metric(name=name.replace("__", ", ").replace("_at_", " at 0."), value=value, count=100)
        for name, value in values.items()
    ]
    return Metrics(protocol=protocol, command="c", values=tuple(rows), labels_sha256=labels, file_sha256=sha256)


@pytest.fixture
def compare(tmp_path: Path, publish_detector: Callable[..., Release]) -> Any:
    """``compare(changes of the first, changes of the second)`` of two detectors, 1.0.0 and 2.0.0."""
    releases = [
        publish_detector(tmp_path, version=version, seed=seed) for seed, version in enumerate(("1.0.0", "2.0.0"))
    ]

    def run(first: dict[str, Any], second: dict[str, Any]) -> Differences:
        made = []
        for release, update in zip(releases, (first, second), strict=True):
            content = release.manifest.model_dump() | update
            made.append(Release(release.folder, Manifest.model_validate(content)))
        return differences(*made)

    run.sha256 = [release.manifest.files[0].sha256 for release in releases]  # type: ignore[attr-defined]
    return run


def test_changes_and_what_is_the_same(compare: Callable) -> None:
    found = compare(
        {"licence": "CC0-1.0", "thresholds": {"confidence": 0.5, "iou": 0.5, "max_detections": 20}},
        {
            "licence": "MIT",
            "thresholds": {"confidence": 0.25, "iou": 0.5, "max_detections": 20},
            "data": [{"name": "wider", "count": 2000, "labels_sha256": LABELS, "terms": "research"}],
            "training": {"seed": 0, "overrides": {"lr0": 0.5}, "history": ["long"]},
        },
    )
    assert found.changes == (
        Change("licence", "CC0-1.0", "MIT"),
        Change("threshold confidence", "0.5", "0.25"),
        Change("data wider", None, "2,000 pictures; research"),
        Change("labels", None, "abababababab"),
        Change("training overrides.lr0", None, "0.5"),
    )
    assert "input" in found.same
    assert "classes" in found.same
    assert "threshold" not in found.same


def test_attributes_and_crop(tmp_path: Path, publish_classifier: Callable[..., Release]) -> None:
    first, second = (publish_classifier(tmp_path, version=version) for version in ("1.0.0", "2.0.0"))
    content = second.manifest.model_dump()
    content["attributes"] = [each for each in content["attributes"] if each["name"] != "mask"]
    content["attributes"][0]["estimate"] = "median"
    content["crop"]["margin"] = 0.4
    found = differences(first, Release(second.folder, Manifest.model_validate(content)))
    assert Change("attribute age estimate", "mean", "median") in found.changes
    assert Change("attribute mask kind", "binary", None) in found.changes
    assert Change("crop margin", "0.25", "0.4") in found.changes
    assert "attribute gender" in found.same


def test_figures_of_one_protocol_compare(compare: Callable) -> None:
    found = compare(
        {"metrics": [metrics("p", recall_at_25__faces=0.8, alarms=0.2, gone=1.0, even=0.5, rows=0.5)]},
        {
            "metrics": [
                metrics("p", recall_at_4__faces=0.9, alarms=0.3, new=1.0, even=0.5, rows=(0.6, 99, None)),
            ]
        },
    )
    (measured,) = found.figures
    assert (measured.first, measured.second, measured.protocol) == ("1.0.0 float32", "2.0.0 float32", "p")
    told = {figure.name: (figure.difference, figure.better) for figure in measured.figures}
    assert told["recall at its own threshold, faces"] == (pytest.approx(0.1), True)
    assert told["alarms"] == (pytest.approx(0.1), False)
    assert told["even"] == (0, None)
    assert told["rows"] == (None, None)  # of another number of rows
    assert set(told) == {"recall at its own threshold, faces", "alarms", "even", "rows"}
    assert found.apart == ()


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        (("p", LABELS), ("q", LABELS), False),
        (("p", LABELS), ("p", OTHERS), False),
        (("p", None), ("p", LABELS), True),
    ],
)
def test_other_protocols_or_labels_do_not_compare(compare: Callable, first: tuple, second: tuple, alike: bool) -> None:
    found = compare({"metrics": [metrics(*first, ap=0.5)]}, {"metrics": [metrics(*second, ap=0.6)]})
    assert len(found.figures) == alike
    assert [(apart.of, apart.protocol) for apart in found.apart] == (
        [] if alike else [("1.0.0 float32", first[0]), ("2.0.0 float32", second[0])]
    )


@pytest.mark.parametrize("labels", [LABELS, OTHERS])
def test_what_was_measured_beside_compares(compare: Any, labels: str) -> None:
    beside = Beside(name="1.0.0", metrics=metrics("its own input", labels, compare.sha256[0], ap=0.5))
    found = compare(
        {"metrics": [metrics("old", OTHERS, ap=0.7)]}, {"metrics": [metrics("new", LABELS, ap=0.6)], "beside": [beside]}
    )
    if labels == OTHERS:
        assert found.figures == ()
        return
    (measured,) = found.figures
    assert [(figure.first.value, figure.second.value, figure.better) for figure in measured.figures] == [
        (0.5, 0.6, True)
    ]
    assert "by the publisher of 2.0.0" in measured.protocol
    assert [apart.protocol for apart in found.apart] == ["old"]


def test_two_stages_do_not_compare(detector_release: Release, classifier_release: Release) -> None:
    with pytest.raises(WeightsError, match="have different tasks"):
        differences(detector_release, classifier_release)
