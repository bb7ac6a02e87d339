from __future__ import annotations

import pickle
import threading
from pathlib import Path

import pytest
from facepipe import AttributeClassifier, FaceDetector, FacepipeError
from facepipe.core.errors import DeviceError, WeightsError
from facepipe.pipeline.classifiers import Classifiers
from facepipe.pipeline.stages import Parts, Stages, Stopwatch
from facepipe.weights.release import Release


@pytest.fixture
def parts(detector_release: Release, classifier_release: Release) -> Parts:
    classifier = AttributeClassifier(release=classifier_release)
    return Parts(FaceDetector(release=detector_release), Classifiers(classifier))


def test_sessions_for_several_are_opened_when_they_are_wanted(parts: Parts) -> None:
    stages = Stages(parts, workers=2, threads=2)
    assert stages.parts() == parts
    assert stages.shared_parts(open_them=False) is None
    shared = stages.shared_parts()
    assert shared is not None
    assert shared.detector is not parts.detector
    assert stages.shared_parts(open_them=False) is shared
    assert Stages(parts, shared=shared, workers=2).shared_parts(open_them=False) is shared


def test_one_worker_and_an_accelerator_have_one_set_of_sessions(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Stages(parts, workers=1).shared_parts(open_them=False) is parts
    monkeypatch.setattr(parts.detector, "device", "cuda")
    stages = Stages(parts)
    assert stages.workers == 2
    assert stages.shared_parts() is parts


@pytest.mark.parametrize(("threads", "workers"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_as_many_workers_as_threads_four_at_most(parts: Parts, threads: int, workers: int) -> None:
    assert Stages(parts, threads=threads).workers == workers


def test_closed_stages_say_so(parts: Parts) -> None:
    stages = Stages(parts, workers=2)
    stages.close()
    for call in (stages.parts, stages.shared_parts, lambda: stages.ready(features=False)):
        with pytest.raises(FacepipeError, match="closed; make a new one"):
            call()


def test_what_cannot_be_used_is_refused(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match="workers must be at least 1"):
        Stages(parts, workers=0)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Stages(parts))
    monkeypatch.setattr(parts.detector, "classes", ("face",))
    with pytest.raises(WeightsError, match="does not find: head"):
        Stages(parts)


def test_pictures_are_read_under_the_limits(parts: Parts, tmp_path: Path) -> None:
    stages = Stages(parts)
    with pytest.raises(FacepipeError, match="allow_url"):
        stages.read("https://example.org/a.jpg")
    with pytest.raises(FacepipeError, match="no such file"):
        stages.read(tmp_path / "none.jpg")


def test_a_stopwatch_sums_the_time_of_every_thread() -> None:
    stopwatch = Stopwatch()

    def work() -> None:
        for _ in range(1000):
            stopwatch.add("detect", 0.5)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(ValueError, match="measured all the same"), stopwatch.measure("read"):
        raise ValueError("measured all the same")
    assert stopwatch.seconds["detect"] == 2000
    assert list(stopwatch.seconds) == ["detect", "read"]
