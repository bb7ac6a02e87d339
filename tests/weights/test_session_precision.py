"""Which of a release's files runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facepipe import AttributeClassifier, FaceDetector, Pipeline
from facepipe.core import cpu as processors
from facepipe.core.cpu import has_avx2, has_vnni, usable_cpus
from facepipe.core.errors import WeightsError
from facepipe.weights.manifest import Metrics
from facepipe.weights.release import Release
from facepipe.weights.session import choose_file

NAME = "AP50, face boxes >= 16 px at 640"


def figures(entry: Any, value: float, count: int = 1000) -> Metrics:
    return Metrics.model_validate(
        {
            "protocol": "p",
            "command": "c",
            "values": [{"name": NAME, "value": value, "count": count}],
            "file_sha256": entry.sha256,
        }
    )


@pytest.fixture
def release(detector_release: Release) -> Callable[..., Release]:
    """``release(loss, count)``: a detector with an int8 and a float16 file (of the same content) and their figures."""
    (only,) = detector_release.manifest.files
    small = only.model_copy(update={"precision": "int8"})
    large = only.model_copy(update={"precision": "float16", "sha256": "f" * 64, "name": "other.onnx"})

    def make(
        loss: float | None = 0.0, count: int = 1000, files: tuple[Any, ...] = (small, large), reduced: bool = False
    ) -> Release:
        metrics = [] if loss is None else [figures(small, 0.9 - loss, count), figures(large, 0.9, count)]
        listed = tuple(each.model_copy(update={"reduced_range": reduced}) for each in files)
        changed = {"files": listed, "metrics": tuple(metrics)}
        return Release(detector_release.folder, detector_release.manifest.model_copy(update=changed))

    return make


@pytest.mark.parametrize(
    ("vnni", "device", "loss", "count", "chosen"),
    [
        (True, "cpu", 0.0, 1000, "int8"),
        (True, "cpu", 0.01, 1000, "int8"),
        (True, "cpu", 0.02, 1000, "float16"),
        (True, "cpu", -0.3, 1000, "int8"),
        (True, "cpu", 0.0, 50, "float16"),  # too few boxes to judge by
        (True, "cpu", None, 0, "float16"),  # nobody measured it
        (False, "cpu", 0.0, 1000, "float16"),
        (None, "cpu", 0.5, 1000, "int8"),  # the manifest's first
        (True, "cuda", 0.0, 1000, "float16"),
        (True, "cuda:1", 0.0, 1000, "float16"),
        (True, "tensorrt", 0.0, 1000, "float16"),
    ],
)
def test_auto(
    release: Callable[..., Release],
    monkeypatch: pytest.MonkeyPatch,
    vnni: bool | None,
    device: str,
    loss: float | None,
    count: int,
    chosen: str,
) -> None:
    monkeypatch.setattr("facepipe.weights.session.has_vnni", lambda: vnni)
    assert choose_file(release(loss, count), "auto", device).precision == chosen


@pytest.mark.parametrize(
    ("reduced", "avx2", "loss", "chosen"),
    [
        (True, True, 0.0, "int8"),
        (True, True, 0.02, "float16"),
        (True, False, 0.0, "float16"),
        (False, True, 0.0, "float16"),  # its sums saturate
    ],
)
def test_auto_without_vnni(
    release: Callable[..., Release],
    monkeypatch: pytest.MonkeyPatch,
    reduced: bool,
    avx2: bool,
    loss: float,
    chosen: str,
) -> None:
    monkeypatch.setattr("facepipe.weights.session.has_vnni", lambda: False)
    monkeypatch.setattr("facepipe.weights.session.has_avx2", lambda: avx2)
    assert choose_file(release(loss, reduced=reduced)).precision == chosen


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_a_release_of_one_file_has_no_choice(
    release: Callable[..., Release], monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr("facepipe.weights.session.has_vnni", lambda: precision != "int8")
    alone = release(None, files=tuple(e for e in release().manifest.files if e.precision == precision))
    for device in ("cpu", "cuda"):
        assert choose_file(alone, "auto", device).precision == precision


def test_what_is_asked_for_is_taken_or_refused(release: Callable[..., Release]) -> None:
    both = release(0.5)
    for asked, taken in (("int8", "int8"), ("float16", "float16"), ("fp16", "float16"), (None, "int8")):
        assert choose_file(both, asked).precision == taken
    for asked in ("float32", "fp32"):
        with pytest.raises(WeightsError, match=r"no float32 file; it has: int8, float16"):
            choose_file(both, asked)
    with pytest.raises(WeightsError, match="no precision 'half'; there are: auto, int8, float16, float32"):
        choose_file(both, "half")


def test_results_name_the_file_that_ran(
    release: Callable[..., Release], detector_release: Release, classifier_release: Release, tmp_path: Path
) -> None:
    """The second of two files, whose hash is another."""
    import onnx

    model = onnx.load(detector_release.folder / detector_release.entry().name)
    model.doc_string = "the same, with another hash"
    onnx.save(model, tmp_path / "exact.onnx")
    from facepipe.weights.release import file_entry

    small = detector_release.entry().model_copy(update={"precision": "int8"})
    exact = file_entry(tmp_path / "exact.onnx", "float32")
    (tmp_path / small.name).write_bytes(detector_release.read())
    two = Release(tmp_path, detector_release.manifest.model_copy(update={"files": (small, exact)}))
    frame = np.zeros((60, 60, 3), np.uint8)
    for precision, entry in (("int8", small), ("float32", exact)):
        detector = FaceDetector(release=two, precision=precision)
        result = Pipeline(detector, classifier_release.folder).run(frame)
        assert result.models.detector.sha256 == detector.entry.sha256 == entry.sha256
        assert detector.with_threads(1).entry == entry
        assert result.models.classifiers["face"].sha256 == AttributeClassifier(release=classifier_release).entry.sha256


def test_a_pipeline_takes_a_precision(tiny_weights: Path) -> None:
    assert Pipeline(precision="float32").models == Pipeline().models
    with pytest.raises(WeightsError, match="has no int8 file; it has: float32"):
        Pipeline(precision="int8")


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx512f avx512_vnni movbe\n", True),
        ("flags : fpu avx2 avx_vnni\n", True),
        ("flags : fpu avx2 avx512f avx5124vnniw\n", False),
        ("Features\t: fp asimd asimddp\n", True),
        ("Features : fp asimd i8mm\n", True),
        ("Features : fp asimd\n", False),
        ("isa : rv64imafdc\n", None),
        ("", None),
    ],
)
def test_vnni_on_linux(cpuinfo: str, expected: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(Path, "read_text", lambda self: cpuinfo)
    assert has_vnni() is expected


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [("flags : fpu avx avx2\n", True), ("flags : fpu avx\n", False), ("Features : asimd\n", False)],
)
def test_avx2_on_linux(cpuinfo: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(Path, "read_text", lambda self: cpuinfo)
    assert has_avx2() is expected


def test_avx2_where_only_numpy_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"AVX2": True}
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr("numpy._core._multiarray_umath.__cpu_features__", table)
    assert has_avx2() is True
    table.clear()
    assert has_avx2() is False


@pytest.mark.parametrize(
    ("machine", "told", "expected"),
    [
        ("arm64", "1\n0\n", True),
        ("arm64", "0\n0\n", False),
        ("arm64", "", None),
        ("x86_64", "RDWRFSGS AVX2 AVX512F AVX512VNNI\n", True),
        ("x86_64", "RDWRFSGS AVX2\n", False),
    ],
)
def test_vnni_on_a_mac(machine: str, told: str, expected: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Done:
        stdout = told

    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: Done())
    assert has_vnni() is expected


def test_vnni_where_only_numpy_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    table: dict[str, bool] = {}
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr("numpy._core._multiarray_umath.__cpu_features__", table)
    monkeypatch.setattr("platform.machine", lambda: "AMD64")
    table["AVX512VNNI"] = True
    assert has_vnni() is True
    table["AVX512VNNI"] = False
    assert has_vnni() is None, "it may have AVX-VNNI"
    monkeypatch.setattr("platform.machine", lambda: "ARM64")
    table["ASIMDDP"] = False
    assert has_vnni() is False


@pytest.mark.parametrize(
    ("quota", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 6), ("900000 100000", 6)]
)
def test_processors_are_those_of_the_affinity_and_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, expected: int
) -> None:
    (tmp_path / "job" / "step").mkdir(parents=True)
    (tmp_path / "job" / "cpu.max").write_text(f"{quota}\n")
    (tmp_path / "job" / "step" / "cpu.max").write_text("max 100000\n")
    monkeypatch.setattr(processors, "_affinity", lambda: 6)
    monkeypatch.setattr(processors, "CGROUPS", tmp_path)
    read = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda self: "0::/job/step\n" if str(self) == "/proc/self/cgroup" else read(self)
    )
    assert usable_cpus() == expected


def test_an_old_quota_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cpu,cpuacct" / "docker"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("100000\n")
    (folder / "cpu.cfs_period_us").write_text("50000\n")
    monkeypatch.setattr(processors, "_affinity", lambda: 6)
    monkeypatch.setattr(processors, "CGROUPS", tmp_path)
    read = Path.read_text
    told = "5:memory:/docker\n4:cpu,cpuacct:/docker\n"
    monkeypatch.setattr(Path, "read_text", lambda self: told if str(self) == "/proc/self/cgroup" else read(self))
    assert usable_cpus() == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the platform has no affinity")
def test_an_affinity_for_one_processor_leaves_one() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)
