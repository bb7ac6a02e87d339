"""Released models with random weights, small and made in a moment, and the markers ``train``, ``browser`` and ``slow``.

A test file that imports a training framework, or a module of facepipe that does, is marked ``train``; one that drives a
browser, ``browser``. Other tests that train through the command line are marked ``train`` where they stand. Both kinds
are ``slow``, and so are the tests in ``slow.txt``, which ``pytest --record-slow SECONDS`` writes. A file that imports a
package which is not installed is skipped, and so is a ``train`` test without the frameworks.
"""

from __future__ import annotations

import ast
import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from facepipe.weights import store
from facepipe.weights.manifest import Manifest
from facepipe.weights.release import Release, file_entry, open_release
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # of tests that import ONNX Runtime before facepipe

# The two trainers never share a process but here. tensorflow and triton (torch's compiler) each bring an LLVM; triton
# crashes when it is loaded after tensorflow, and is harmless before it.
with contextlib.suppress(ImportError):
    import triton._C.libtriton  # noqa: F401

# The same examples in every run: a change is judged by its own faults (new ones: --hypothesis-profile=default).
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

ROOT = Path(__file__).parents[1]
FRAMEWORKS = frozenset({"torch", "torchvision", "tensorflow", "keras", "ultralytics", "tf2onnx"})
BROWSERS = frozenset({"selenium"})
SLOW = Path(__file__).with_name("slow.txt")

VERSION = "99.0.0"
"""Of the random releases: newer than any real one, so they are the default where they are found at all."""
DETECTOR_SIZE, STRIDE, CROP_SIZE = 64, 16, 32
POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
ATTRIBUTES: tuple[dict[str, Any], ...] = (
    {"kind": "numeric", "name": "age", "unit": "years", "low": 0.0, "high": 100.0, "bins": 101},
    {"kind": "binary", "name": "gender", "classes": ["female", "male"]},
    {"kind": "binary", "name": "glasses", "classes": ["no", "yes"]},
    {"kind": "binary", "name": "smile", "classes": ["no", "yes"]},
    {"kind": "binary", "name": "mask", "classes": ["no", "yes"]},
    {
        "kind": "points",
        "name": "eyes",
        "points": POINTS,
        "mirror": [("left_eye", "right_eye"), ("mouth_left", "mouth_right")],
    },
)
WIDTHS = {"age": 101, "gender": 2, "glasses": 2, "smile": 2, "mask": 2, "eyes": 2 * len(POINTS)}


@cache
def _imports(path: Path) -> tuple[frozenset[str], frozenset[Path]]:
    """The packages from outside that a file imports at its top level, and the files of this repository."""
    outside, own = set(), set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            outside |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            first, *rest = (node.module or "").split(".")
            if node.level == 0 and first != "facepipe":
                outside.add(first)
                continue
            folder = path.parents[node.level - 1] if node.level else ROOT
            base = folder.joinpath(*([first] if node.level else []), *rest)
            named = [base, *(base / alias.name for alias in node.names)]
            own |= {file for one in named for file in (one.with_suffix(".py"), one / "__init__.py") if file.is_file()}
    return frozenset(outside - set(sys.stdlib_module_names)), frozenset(own)


@cache
def _needed(path: Path) -> frozenset[str]:
    """The packages that importing a file imports, through modules of this repository as well."""
    found: set[str] = set()
    waiting, seen = [path], set()
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            outside, own = _imports(file)
            found |= outside
            waiting.extend(own)
    return frozenset(found)


@cache
def _missing(packages: Iterable[str]) -> list[str]:
    return sorted(name for name in packages if find_spec(name) is None)


class _Skipped(pytest.Module):
    """A test file that needs a package which is not installed."""

    def collect(self) -> list[Any]:
        needs = ", ".join(_missing(_needed(self.path)))
        pytest.skip(f"{self.path.relative_to(ROOT)} needs {needs}", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Skip a file that cannot be imported for want of a package, instead of an error."""
    return _Skipped.from_parent(parent, path=module_path) if _missing(_needed(module_path)) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by imports and by measured time, and skip what trains where there is nothing to train with."""
    slow = set(SLOW.read_text("utf-8").splitlines())
    for item in items:
        needed = _needed(item.path)
        for marker, packages in (("browser", BROWSERS), ("train", FRAMEWORKS)):
            if needed & packages:
                item.add_marker(marker)
        if item.get_closest_marker("train") and (missing := _missing(FRAMEWORKS)):
            item.add_marker(pytest.mark.skip(f"needs {', '.join(missing)}: pip install '.[train]'"))
        if any(map(item.get_closest_marker, ("train", "browser"))) or _name(item.nodeid) in slow:
            item.add_marker("slow")


def _name(nodeid: str) -> str:
    """A test without its parameters."""
    return nodeid.partition("[")[0]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-slow",
        type=float,
        metavar="SECONDS",
        help="write tests/slow.txt anew: of the files that ran, the tests that took longer, all parameters together",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record-slow") is not None:
        config.pluginmanager.register(_Recorder(config.getoption("--record-slow")))


class _Recorder:
    """Adds up how long each test takes, and writes the slow ones down."""

    def __init__(self, least: float):
        self._least = least
        self._seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = _name(report.nodeid)
        self._seconds[name] = self._seconds.get(name, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        ran = {name.partition("::")[0] for name in self._seconds}
        kept = {name for name in SLOW.read_text("utf-8").splitlines() if name.partition("::")[0] not in ran}
        slow = {name for name, seconds in self._seconds.items() if seconds > self._least}
        SLOW.write_text("".join(f"{name}\n" for name in sorted(kept | slow)), "utf-8")


def _save(path: Path, nodes: list[Any], inputs: dict[str, tuple], outputs: dict[str, tuple], constants: dict) -> Path:
    def infos(named: dict[str, tuple]) -> list[Any]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in named.items()]

    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", infos(inputs), infos(outputs), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _detector_onnx(path: Path, seed: int) -> Path:
    """One random convolution; a grid of 4 x 4 anchors whose boxes and two scores depend on the picture."""
    random = np.random.default_rng(seed)
    grid = DETECTOR_SIZE // STRIDE
    anchors = grid * grid
    centres = (np.arange(grid) + 0.5) * STRIDE
    x, y = np.meshgrid(centres, centres)
    # (1, 6, anchors): sigmoids in 0..1 become centre, sides (10 to 30 px) and scores.
    factor = np.array([STRIDE, STRIDE, 20, 20, 1, 1], np.float32).reshape(1, 6, 1)
    offset = np.zeros((1, 6, anchors), np.float32)
    offset[0, 0], offset[0, 1] = x.ravel() - STRIDE / 2, y.ravel() - STRIDE / 2
    offset[0, 2:4] = 10
    return _save(
        path,
        [
            helper.make_node("Conv", ["images", "kernel"], ["raw"], strides=[STRIDE, STRIDE]),
            helper.make_node("Reshape", ["raw", "flat"], ["rows"]),
            helper.make_node("Sigmoid", ["rows"], ["parts"]),
            helper.make_node("Mul", ["parts", "factor"], ["scaled"]),
            helper.make_node("Add", ["scaled", "offset"], ["output0"]),
        ],
        {"images": ("n", 3, DETECTOR_SIZE, DETECTOR_SIZE)},
        {"output0": ("n", 6, anchors)},
        {
            "kernel": random.normal(0, 0.15, (6, 3, STRIDE, STRIDE)).astype(np.float32),
            "flat": np.array([0, 6, anchors], np.int64),
            "factor": factor,
            "offset": offset,
        },
    )


def _dynamic_detector_onnx(path: Path, seed: int) -> Path:
    """The same as ``_detector_onnx``, with a grid that follows from the picture's height and width."""
    random = np.random.default_rng(seed)
    return _save(
        path,
        [
            helper.make_node("Conv", ["images", "kernel"], ["raw"], strides=[STRIDE, STRIDE]),
            helper.make_node("Sigmoid", ["raw"], ["parts"]),
            helper.make_node("Split", ["parts", "widths"], ["x_part", "y_part", "side_part", "scores"], axis=1),
            # Anchors count their place in the grid: running sums of ones.
            helper.make_node("Mul", ["x_part", "zero"], ["zeros"]),
            helper.make_node("Add", ["zeros", "one"], ["ones"]),
            helper.make_node("CumSum", ["ones", "x_axis"], ["column"], exclusive=1),
            helper.make_node("CumSum", ["ones", "y_axis"], ["row"], exclusive=1),
            helper.make_node("Add", ["x_part", "column"], ["x_cell"]),
            helper.make_node("Add", ["y_part", "row"], ["y_cell"]),
            helper.make_node("Mul", ["x_cell", "stride"], ["x"]),
            helper.make_node("Mul", ["y_cell", "stride"], ["y"]),
            helper.make_node("Mul", ["side_part", "twenty"], ["side_scaled"]),
            helper.make_node("Add", ["side_scaled", "ten"], ["sides"]),
            helper.make_node("Concat", ["x", "y", "sides", "scores"], ["grid"], axis=1),
            helper.make_node("Reshape", ["grid", "flat"], ["output0"]),
        ],
        {"images": ("n", 3, "height", "width")},
        {"output0": ("n", 6, "anchors")},
        {
            "kernel": random.normal(0, 0.15, (6, 3, STRIDE, STRIDE)).astype(np.float32),
            "widths": np.array([1, 1, 2, 2], np.int64),
            "flat": np.array([0, 6, -1], np.int64),
            "zero": np.float32(0),
            "one": np.float32(1),
            "ten": np.float32(10),
            "twenty": np.float32(20),
            "stride": np.float32(STRIDE),
            "x_axis": np.int64(3),
            "y_axis": np.int64(2),
        },
    )


def _classifier_onnx(path: Path, seed: int) -> Path:
    """One random matrix for each attribute over the crop's 4 x 4 mean colours."""
    random = np.random.default_rng(seed)
    cell = CROP_SIZE // 4
    nodes = [
        helper.make_node("Transpose", ["crops"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Flatten", ["cells"], ["features"]),
    ]
    constants = {}
    for name, width in WIDTHS.items():
        constants[f"{name}_kernel"] = random.normal(0, 0.01, (48, width)).astype(np.float32)
        product = f"{name}_product" if name == "eyes" else name
        nodes.append(helper.make_node("MatMul", ["features", f"{name}_kernel"], [product]))
    nodes.append(helper.make_node("Sigmoid", ["eyes_product"], ["eyes"]))
    shape = ("n", CROP_SIZE, CROP_SIZE, 3)
    return _save(path, nodes, {"crops": shape}, {name: ("n", width) for name, width in WIDTHS.items()}, constants)


def _manifest(stage: str, version: str, file: Path, **fields: Any) -> Manifest:
    return Manifest.model_validate(
        {
            "stage": stage,
            "version": version,
            "architecture": "random",
            "files": [file_entry(file, "float32")],
            "output": "random weights",
            "data": [],
            "training": {"seed": 0},
            "metrics": [
                {"protocol": "none", "command": "none", "values": [{"name": "chance", "value": 0.5, "count": 4}]}
            ],
            "licence": "CC0-1.0",
            "facepipe": "0.1.0",
            "date": "2026-01-01",
            **fields,
        }
    )


@pytest.fixture(scope="session")
def publish_detector(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Release]:
    """``publish_detector(root, version=..., seed=..., dynamic=...)`` puts a random detector under a root."""

    def publish(root: Path, version: str = VERSION, seed: int = 11, dynamic: bool = False, **fields: Any) -> Release:
        write = _dynamic_detector_onnx if dynamic else _detector_onnx
        file = write(tmp_path_factory.mktemp("detector") / "model.onnx", seed)
        manifest = _manifest(
            "detector",
            version,
            file,
            input={
                "name": "images",
                "size": DETECTOR_SIZE,
                "colour": "RGB",
                "layout": "NCHW",
                "scale": 1 / 255,
                "padding": (114, 114, 114),
                "dynamic": dynamic,
            },
            decoder="yolov8",
            classes=("face", "head"),
            thresholds={"confidence": 0.5, "iou": 0.5, "max_detections": 20},
            **fields,
        )
        return store.publish(manifest, [file], root)

    return publish


@pytest.fixture(scope="session")
def publish_classifier(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Release]:
    """``publish_classifier(root, version=..., seed=...)`` puts a classifier with random weights under a root."""

    def publish(root: Path, version: str = VERSION, seed: int = 2, **fields: Any) -> Release:
        file = _classifier_onnx(tmp_path_factory.mktemp("classifier") / "model.onnx", seed)
        manifest = _manifest(
            "classifier",
            version,
            file,
            input={
                "name": "crops",
                "size": CROP_SIZE,
                "colour": "BGR",
                "layout": "NHWC",
                "scale": 1.0,
                "mean": (103.939, 116.779, 123.68),
            },
            decoder="attributes",
            attributes=ATTRIBUTES,
            crop={"margin": 0.25, "size": CROP_SIZE},
            **fields,
        )
        return store.publish(manifest, [file], root)

    return publish


COLOURS = ("blue", "green", "red")
"""Classes of the colour classifiers, in the order of a BGR picture's channels."""


@pytest.fixture(scope="session")
def publish_colours(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Release]:
    """``publish_colours(root, "shirt", region="torso")``: a classifier made by hand that names the crop's main colour.

    It is called ``shirt`` and reads the attribute ``shirt_colour``; its features are the crop's mean blue, green, red.
    """

    def publish(
        root: Path,
        name: str,
        version: str = "0.1.0",
        region: str = "face",
        attribute: str | None = None,
        features: int | None = 3,
        abstain_below: float = 0.0,
        called: str | None = None,
    ) -> Release:
        attribute = attribute or f"{name}_colour"
        outputs: dict[str, tuple] = {attribute: ("n", len(COLOURS))}
        if features:
            outputs["features"] = ("n", 3)
        file = _save(
            tmp_path_factory.mktemp("colours") / "model.onnx",
            [
                helper.make_node("ReduceMean", ["crops"], ["features"], axes=[1, 2], keepdims=0),
                helper.make_node("Mul", ["features", "factor"], [attribute]),
            ],
            {"crops": ("n", CROP_SIZE, CROP_SIZE, 3)},
            outputs,
            {"factor": np.float32(0.05)},
        )
        manifest = _manifest(
            "classifier",
            version,
            file,
            name=name if called is None else called,
            input={"name": "crops", "size": CROP_SIZE, "colour": "BGR", "layout": "NHWC", "scale": 1.0},
            decoder="attributes",
            attributes=[{"kind": "categorical", "name": attribute, "classes": COLOURS, "abstain_below": abstain_below}],
            crop={"region": region, "margin": 0.0, "size": CROP_SIZE},
            features=features,
        )
        return store.publish(manifest, [file], root)

    return publish


@pytest.fixture(scope="session")
def _tiny_root(
    tmp_path_factory: pytest.TempPathFactory,
    publish_detector: Callable[..., Release],
    publish_classifier: Callable[..., Release],
) -> Path:
    root = tmp_path_factory.mktemp("weights")
    publish_detector(root)
    publish_classifier(root)
    return root


@pytest.fixture(scope="session")
def detector_release(_tiny_root: Path) -> Release:
    """A detector of 64 px with random weights and two classes. Read only."""
    return open_release(_tiny_root / "detector" / VERSION)


@pytest.fixture(scope="session")
def dynamic_release(tmp_path_factory: pytest.TempPathFactory, publish_detector: Callable[..., Release]) -> Release:
    """The same detector with a free height and width. Read only."""
    return publish_detector(tmp_path_factory.mktemp("dynamic"), "98.0.0", dynamic=True)


@pytest.fixture(scope="session")
def classifier_release(_tiny_root: Path) -> Release:
    """A classifier of 32 px with random weights and the attributes of the default schema. Read only."""
    return open_release(_tiny_root / "classifier" / VERSION)


@pytest.fixture
def tiny_weights(_tiny_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root that holds both random releases, set as ``FACEPIPE_WEIGHTS``; they are the defaults. Read only."""
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(_tiny_root))
    return _tiny_root


@pytest.fixture
def photo() -> Callable[..., np.ndarray]:
    """``photo(seed, height, width)``: a random smooth picture, BGR, in which the random detector finds something."""

    def make(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
        import cv2

        coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)

    return make
