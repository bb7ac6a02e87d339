"""Arrays and files that nobody expects: a frame, or one of facepipe's errors."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from facepipe.core.errors import FacepipeError, FrameError
from facepipe.pipeline.inputs.image_reader import read_frame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
FILES = 200


@pytest.fixture(scope="module")
def fuzz_reader() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("fuzz_reader")
    sys.path.remove(str(BENCHMARKS))


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Any type and shape, or near to a frame; cut, turned, read-only, of odd strides."""
    near = st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from([0, 1, 2, 3, 4, 5]))
    shape = draw(
        st.one_of(near, near.map(lambda sides: sides[:2]), hnp.array_shapes(min_dims=0, max_dims=5, min_side=0))
    )
    kind = draw(st.one_of(st.just(np.dtype(np.uint8)), hnp.scalar_dtypes(), st.just(np.dtype(object))))
    array = np.zeros(shape, kind)
    if array.dtype == np.uint8:
        array[...] = np.arange(array.size, dtype=np.uint8).reshape(shape)
    if array.ndim:
        array = array[draw(hnp.basic_indices(array.shape, allow_ellipsis=False))]
    match draw(st.integers(0, 5)):
        case 0:
            array = np.asarray(array).T
        case 1:
            array = np.asfortranarray(array)
        case 2 if np.asarray(array).ndim == 2:
            array = np.broadcast_to(array[..., None], (*array.shape, draw(st.integers(1, 4))))
        case 3:
            array = np.asarray(array)[..., ::-1] if np.asarray(array).ndim else array
    array = np.asarray(array)
    if draw(st.booleans()):
        array = array.view()
        array.flags.writeable = False
    return array


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(arrays())
def test_any_array_is_a_frame_or_an_error(array: np.ndarray) -> None:
    before = array.copy()
    try:
        frame = read_frame(array)
    except FrameError:
        sound = array.dtype == np.uint8 and array.size and (array.ndim == 2 or array.shape[2:] in ((1,), (3,), (4,)))
        assert not sound
        return
    assert frame.dtype == np.uint8
    assert frame.shape == (*array.shape[:2], 3)
    assert frame.size > 0
    assert frame.flags.c_contiguous
    expected = np.atleast_3d(before)
    np.testing.assert_array_equal(frame, expected[..., :3] if expected.shape[2] > 1 else np.repeat(expected, 3, axis=2))
    np.testing.assert_array_equal(array, before)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_error(content: bytes) -> None:
    with pytest.raises(FacepipeError):
        read_frame(content)


KINDS = [
    "JPEG baseline", "JPEG progressive", "PNG 8 bit", "PNG 16 bit", "PNG palette", "PNG interlaced", "WebP lossy",
    "WebP lossless", "BMP", "GIF", "TIFF", "HEIC", "AVIF",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_of_every_kind(kind: str, fuzz_reader: ModuleType, tmp_path: Path) -> None:
    """As benchmarks/fuzz_reader.py does with 20,000 of each."""
    assert tuple(KINDS) == fuzz_reader.fuzz_files.KINDS
    if kind == "HEIC":
        pytest.importorskip("pillow_heif", reason="needs the extra 'heif'")
    for content in fuzz_reader.fuzz_files.sound_files(kind):
        assert read_frame(content).shape[2] == 3
    outcome = fuzz_reader.fuzz(kind, FILES, 7, tmp_path)
    assert outcome.findings == []
    assert outcome.read + outcome.refused == FILES
    assert outcome.read > 0
    assert outcome.refused > FILES // 5


@pytest.mark.parametrize(
    ("harm", "finding"),
    [
        ("import os; os.kill(os.getpid(), 11)", "ended with -11"),
        ("import time; time.sleep(99)", "took more than"),
        ("while True: pass", "took more than"),
        ("raise ValueError('oops')", "ValueError: oops"),
        ("import os; os._exit(0)", "ended with 0"),
    ],
)
def test_the_watch_finds_what_it_looks_for(
    harm: str, finding: str, fuzz_reader: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that fails at the second file: it is found, its file is kept, and the others are read."""
    script = tmp_path / "child.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\n"
        "import fuzz_reader, fuzz_files\nimport facepipe.pipeline.inputs.image_reader as reader\n"
        "made, sound = fuzz_files.mutated, reader.read_frame\n"
        "def remember(kind, files, seed, index):\n    global now\n    now = index\n"
        "    return made(kind, files, seed, index)\n"
        f"def harmed(content):\n    if now == 1:\n        {harm}\n    return sound(content)\n"
        "fuzz_files.mutated, reader.read_frame = remember, harmed\n"
        "fuzz_reader.child(sys.argv[2], *map(int, sys.argv[3:]))\n"
    )
    monkeypatch.setattr(fuzz_reader, "__file__", str(script))
    monkeypatch.setattr(fuzz_reader, "SECONDS", 0.6)
    monkeypatch.setattr(fuzz_reader, "PATIENCE", 3)
    outcome = fuzz_reader.fuzz("BMP", 4, 7, tmp_path / "kept")
    (found,) = outcome.findings
    assert finding in found
    assert outcome.read + outcome.refused == 3
    made = fuzz_reader.fuzz_files.mutated("BMP", fuzz_reader.fuzz_files.sound_files("BMP"), 7, 1)
    assert [path.read_bytes() for path in (tmp_path / "kept").iterdir()] == [made]
