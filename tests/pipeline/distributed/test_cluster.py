"""The models that are chosen for every worker, how many workers fit, and clusters that do not answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facepipe.core.errors import DeviceError, FacepipeError, MissingExtraError, WeightsError
from facepipe.pipeline.distributed.cluster import Workers, choose_models, cluster, fit, ray_module


def test_models_are_named_so_that_any_machine_finds_them(
    tiny_weights: Path, classifier_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(classifier_release.folder.parent)
    chosen = choose_models(None, [f".{os.sep}{classifier_release.folder.name}"], "auto", "cpu")
    assert (chosen.detector.version, chosen.detector.name) == ("99.0.0", "face")
    assert Path(chosen.classifiers[0].version).samefile(classifier_release.folder)
    assert list(chosen.attributes) == ["face"]
    detector, classifiers = chosen.open("cpu", 1, None, None, False)
    assert (detector.release.version, len(classifiers)) == ("99.0.0", 1)


def test_another_model_of_that_version_is_refused(
    tmp_path: Path,
    publish_detector: Callable[..., Any],
    publish_classifier: Callable[..., Any],
    tiny_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = choose_models(None, None, "auto", "cpu")
    publish_detector(tmp_path, seed=12)
    publish_classifier(tmp_path)
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"detector 99\.0\.0: is a different model there"):
        chosen.open("cpu", 1, None, None, False)


class Resources:
    """In place of ``ray``."""

    def __init__(self, **has: float):
        self._has = has

    def cluster_resources(self) -> dict[str, float]:
        return self._has


@pytest.mark.parametrize(
    ("has", "device", "actors", "threads", "workers"),
    [
        ({"CPU": 8}, "cpu", None, None, Workers(8, 1, 0)),
        ({"CPU": 8}, "cpu", 3, None, Workers(3, 2, 0)),
        ({"CPU": 8}, "cpu", None, 4, Workers(2, 4, 0)),
        ({"CPU": 8}, "cpu", 1, 3, Workers(1, 3, 0)),
        ({"CPU": 16, "GPU": 4}, "cuda", None, None, Workers(4, 4, 1)),
        ({"CPU": 16, "GPU": 4}, "cuda", 2, 2, Workers(2, 2, 1)),
    ],
)
def test_how_many_workers_fit(
    has: dict[str, float], device: str, actors: int | None, threads: int | None, workers: Workers
) -> None:
    assert fit(Resources(**has), device, actors, threads, True) == workers  # type: ignore[arg-type]


def test_workers_that_do_not_fit() -> None:
    with pytest.raises(DeviceError, match=r"3 workers of 1 CPU do not fit this machine \(2 CPUs, 0 GPUs\)"):
        fit(Resources(CPU=2), "cpu", 3, None, True)  # type: ignore[arg-type]
    assert fit(Resources(CPU=2), "cpu", 3, None, False) == Workers(3, 1, 0)  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="Ray has no GPU"):
        fit(Resources(CPU=2), "cuda", None, None, True)  # type: ignore[arg-type]


def test_no_cluster_at_the_address() -> None:
    pytest.importorskip("ray", reason="needs the extra 'ray'")
    with (
        pytest.raises(FacepipeError, match=r"127\.0\.0\.1:1: no Ray cluster answers there"),
        cluster("127.0.0.1:1"),
    ):
        raise AssertionError("not reached")


@pytest.mark.parametrize("missing", ["ray", "fsspec"])
def test_without_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=rf"{missing} is not installed; .*facepipe\[ray\]"):
        ray_module()
