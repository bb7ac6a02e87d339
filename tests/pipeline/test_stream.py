"""Streams: order, bounds, errors, and that no thread is left behind, however a stream ends."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe import AttributeClassifier, FaceDetector, FacepipeError, Pipeline
from facepipe.core.cpu import one_opencv_thread
from facepipe.core.errors import DeviceError, ImageError, WeightsError
from facepipe.pipeline import queues
from facepipe.pipeline import stream as engine
from facepipe.pipeline.inputs.image_reader import Picture
from facepipe.pipeline.results import Result
from facepipe.weights.release import Release
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .test_pipeline import Finds

Photo = Callable[..., np.ndarray]


@pytest.fixture
def pipeline(tiny_weights: Path) -> Pipeline:
    return Pipeline(workers=2)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not ours(), "every test ends its streams"


def ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("facepipe-")]


def texts(results: Sequence[Result]) -> list[str]:
    return [result.model_dump_json() for result in results]


@pytest.fixture
def mixed(photo: Photo, bad_inputs: dict[str, Path], odd_inputs: dict[str, Path]) -> list[Any]:
    """110 sources, some of which cannot be read, some of which show nobody."""
    sources: list[Any] = [photo(seed, 80 + 15 * (seed % 5), 90 + 25 * (seed % 3)) for seed in range(80)]
    for place, bad in enumerate(bad_inputs.values()):
        sources.insert(7 * place + 3, bad)
    for place, odd in enumerate(odd_inputs.values()):
        sources.insert(5 * place + 2, odd)
    sources[20] = np.zeros((4, 4), np.float64)
    sources[21] = None
    return sources


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_many_workers_give_what_one_gives_to_the_last_digit(
    tiny_weights: Path, mixed: list[Any], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the stream goes over to sessions for several at once on the way."""
    monkeypatch.setattr(engine, "LONG", 9)
    expected = texts(Pipeline(workers=1, threads=1).run(mixed))
    with Pipeline(workers=workers, threads=2) as pipeline:
        assert texts(pipeline.run(mixed)) == expected
        assert (pipeline.shared_parts(open_them=False) is None) == (workers > 1 and len(mixed) < 9)
        assert texts([result for result, _ in pipeline.stream(iter(mixed))]) == expected, "now they are open"
        assert texts(pipeline.run(mixed[:1])) == expected[:1]


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_that_share_a_pipeline_get_what_one_gets(
    tiny_weights: Path, mixed: list[Any], threads: int, photo: Photo
) -> None:
    frames = [photo(seed, 100, 100 + 20 * (seed % 4)) for seed in range(30)]
    with Pipeline() as pipeline:
        alone = texts([pipeline.run(frame) for frame in frames])
        streamed = texts(pipeline.run(mixed))
        got: dict[int, list[list[str]]] = {}
        start = threading.Barrier(threads)

        def work(number: int) -> None:
            start.wait()
            order = np.random.default_rng(number).permutation(len(frames))
            single = dict(zip(order.tolist(), texts([pipeline.run(frames[each]) for each in order]), strict=True))
            got[number] = [[single[each] for each in range(len(frames))], texts(pipeline.run(mixed))]

        callers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert [got[number] for number in range(threads)] == [[alone, streamed]] * threads


def test_pixels_in_flight_are_bounded_whatever_the_pictures_sizes(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consumer is slow. One picture alone is over the cap, and is taken when it stands first."""
    sizes = [(100, 100), (60, 50), (300, 200), (100, 100), (20, 30), (90, 100), (100, 100), (50, 50)] * 4
    sources = []
    for number, (height, width) in enumerate(sizes):
        sources.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(sources[-1]), np.full((height, width, 3), 7 * number, np.uint8))
    cap, held, most = 25_000, 0, 0
    lock = threading.Lock()
    monkeypatch.setattr(queues, "PIXELS", cap)
    read = pipeline.read

    def counting(source: Any, admit: Any = None) -> Picture:
        nonlocal held, most

        def admitted(pixels: int) -> None:
            nonlocal held, most
            admit(pixels)
            with lock:
                held += pixels
                most = max(most, held)

        return read(source, admitted)

    monkeypatch.setattr(pipeline, "read", counting)
    seen = []
    for result, frame in pipeline.stream(sources):
        assert frame is not None
        time.sleep(0.005)
        seen.append((result.height, result.width))
        with lock:
            held -= frame.shape[0] * frame.shape[1]
    assert seen == sizes, "none is lost, and none waits for room that it holds itself"
    assert 60_000 <= most <= 60_000 + cap, "the large one beside those that were there before it, no more"


def test_large_pictures_do_not_wait_for_each_other_for_ever(
    detector_release: Release, classifier_release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One face each: their crops would fill a batch only with those of pictures for which there is no room."""
    monkeypatch.setattr(queues, "PIXELS", 25_000)
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((100, 100, 3), np.uint8))
    pipeline = Pipeline(Finds(detector_release, [[10, 10, 60, 60]]), classifier_release.folder, workers=2)
    assert [len(result.faces) for result in pipeline.run([path] * 20)] == [1] * 20


@pytest.fixture
def three_opencv_threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    yield
    cv2.setNumThreads(before)


def test_opencv_s_threads_rest_while_several_workers_work(
    tiny_weights: Path, photo: Photo, three_opencv_threads: None
) -> None:
    with Pipeline(workers=2) as pipeline:
        list(pipeline.stream([photo(0)] * 2))
        assert cv2.getNumThreads() == 3, "a short stream has one worker"
        results = pipeline.stream(photo(0) for _ in range(3000))
        assert any(cv2.getNumThreads() == 1 for _ in results)
        results.close()
    assert cv2.getNumThreads() == 3


def test_the_last_of_several_streams_gives_opencv_its_threads_back(three_opencv_threads: None) -> None:
    with one_opencv_thread():
        with one_opencv_thread():
            pass
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == 3


def test_arrays_in_flight_are_bounded_too(pipeline: Pipeline, photo: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "PIXELS", 3 * 120 * 160)
    taken: list[int] = []

    def sources() -> Iterator[np.ndarray]:
        for seed in range(20):
            taken.append(seed)
            yield photo(seed)

    for number, _ in enumerate(pipeline.stream(sources())):
        assert len(taken) <= number + 4


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("accelerated", [False, True])
def test_a_batch_that_cannot_fill_goes_on_as_it_is(
    tiny_weights: Path, photo: Photo, workers: int, accelerated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures so large that no further one may be decoded, with fewer faces than make a batch: neither waits."""
    monkeypatch.setattr(queues, "PIXELS", 2 * 120 * 160)
    sources = [cv2.imencode(".png", photo(seed))[1].tobytes() for seed in range(20)]
    done: list[Result] = []
    with Pipeline(workers=workers) as pipeline:
        detector, classifiers = pipeline.parts()
        classifiers.by_name["face"].batch = 1000
        if accelerated:
            detector.device = "cuda"
        stream = threading.Thread(target=lambda: done.extend(result for result, _ in pipeline.stream(sources)))
        stream.start()
        stream.join(60)
        assert not stream.is_alive(), f"it hangs after {len(done)} pictures"
    assert len(done) == len(sources)
    assert sum(len(result.faces) for result in done) > 0


def test_closing_early_ends_the_threads(pipeline: Pipeline, photo: Photo) -> None:
    asked: list[int] = []

    def sources() -> Iterator[np.ndarray]:
        for seed in range(1000):
            asked.append(seed)
            yield photo(seed)

    stream = pipeline.stream(sources())
    assert not ours(), "nothing starts before the first result is asked for"
    for _ in range(3):
        next(stream)
    assert ours()
    stream.close()
    assert not ours()
    assert len(asked) < 100
    assert pipeline.run([photo(0)])[0].error is None, "the pipeline goes on"


def test_dropping_a_stream_ends_the_threads(pipeline: Pipeline, photo: Photo) -> None:
    stream = pipeline.stream([photo(seed) for seed in range(50)])
    next(stream)
    del stream
    assert not ours()


@pytest.mark.parametrize("error", [ValueError("the list is broken"), KeyboardInterrupt()])
def test_an_error_of_the_sources_comes_out_and_ends_the_threads(
    pipeline: Pipeline, photo: Photo, error: BaseException
) -> None:
    def sources() -> Iterator[np.ndarray]:
        yield from (photo(seed) for seed in range(5))
        raise error

    with pytest.raises(type(error)):
        for _ in pipeline.stream(sources()):
            pass
    assert not ours()


@pytest.mark.parametrize("stage", ["detect", "outputs", "read"])
def test_an_error_in_a_stage_comes_out_and_ends_the_threads(
    detector_release: Release, classifier_release: Release, photo: Photo, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, classifier = FaceDetector(release=detector_release), AttributeClassifier(release=classifier_release)
    pipeline = Pipeline(detector, classifier, workers=2)

    def broken(*_: Any) -> Any:
        raise MemoryError("no more of it")

    monkeypatch.setattr({"detect": detector, "outputs": classifier, "read": pipeline}[stage], stage, broken)
    with pytest.raises(MemoryError, match="no more of it"):
        pipeline.run([photo(seed) for seed in range(20)])
    assert not ours()


def test_an_interrupt_while_waiting_ends_the_threads(
    pipeline: Pipeline, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: engine.Engine, ticket: object) -> None:
        raise KeyboardInterrupt

    stream = pipeline.stream([photo(seed) for seed in range(50)])
    next(stream)
    monkeypatch.setattr(engine.Engine, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert not ours()


def test_closing_the_pipeline_ends_its_streams_with_an_error(pipeline: Pipeline, photo: Photo) -> None:
    stream = pipeline.stream(photo(seed) for seed in range(1000))
    next(stream)
    pipeline.close()
    with pytest.raises(FacepipeError, match="closed"):
        list(stream)
    assert not ours()
    for call in (lambda: pipeline.run(photo(0)), lambda: pipeline.stream([photo(0)]), pipeline.parts):
        with pytest.raises(FacepipeError, match="closed; make a new one"):
            call()


def test_closing_while_others_run(tiny_weights: Path, photo: Photo) -> None:
    """What runs is finished; the next call says why it does not begin."""
    pipeline = Pipeline(workers=2)
    ended: list[str] = []
    running = threading.Barrier(4)

    def single() -> None:
        running.wait()
        try:
            while True:
                assert pipeline.run(photo(1)).error is None
        except FacepipeError as error:
            ended.append(str(error))

    def many() -> None:
        running.wait()
        try:
            for result, _ in pipeline.stream(photo(seed % 50) for seed in range(10**6)):
                assert result.error is None
        except FacepipeError as error:
            ended.append(str(error))

    callers = [threading.Thread(target=target) for target in (single, many, many)]
    for caller in callers:
        caller.start()
    running.wait()
    time.sleep(0.1)
    pipeline.close()
    for caller in callers:
        caller.join(60)
        assert not caller.is_alive()
    assert ended == ["this pipeline is closed; make a new one"] * 3


def test_an_interpreter_that_ends_is_not_held_up_by_a_stream(tiny_weights: Path) -> None:
    code = (
        "import numpy as np\nfrom facepipe import Pipeline\n"
        "stream = Pipeline(workers=2).stream(np.zeros((90, 90, 3), np.uint8) for _ in range(1000))\n"
        "next(stream)\nprint('one')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "one", "")


def test_one_text_is_a_folder_a_glob_or_a_file(pipeline: Pipeline, tmp_path: Path, photo: Photo) -> None:
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "a.png", tmp_path / "b.jpg", tmp_path / "in" / "c.png"]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), photo(number))
    (tmp_path / "notes.txt").write_text("no picture")
    for source, expected in ((str(tmp_path), paths), (tmp_path, paths), (f"{tmp_path}/*.png", paths[:1])):
        found = [(result.source, result.error) for result, _ in pipeline.stream(source)]
        assert found == [(str(path), None) for path in expected]
    assert [result.width for result, _ in pipeline.stream(paths[1].read_bytes())] == [160]
    assert [result.width for result, _ in pipeline.stream(photo(0))] == [160]
    with pytest.raises(ImageError, match="no picture or video found"):
        pipeline.stream(str(tmp_path / "*.webp"))
    with pytest.raises(ImageError, match="URL"):
        pipeline.stream("https://example.org/a.jpg")


def test_a_url_needs_leave(tiny_weights: Path) -> None:
    with pytest.raises(ImageError, match="allow_url"):
        Pipeline().run("https://example.org/a.jpg")
    with pytest.raises(ImageError, match="not on the public internet"):
        Pipeline(allow_url=True).run("http://127.0.0.1:9/a.jpg")


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_must_be_positive(tiny_weights: Path, workers: int) -> None:
    with pytest.raises(DeviceError, match="workers must be at least 1"):
        Pipeline(workers=workers)


def test_the_stopwatch_sums_what_each_thread_spent(pipeline: Pipeline, photo: Photo) -> None:
    pipeline.run([photo(seed) for seed in range(20)])
    assert set(pipeline.stopwatch.seconds) >= {"load", "read", "detect", "classify"}
    assert all(seconds >= 0 for seconds in pipeline.stopwatch.seconds.values())


def test_features_asked_of_a_classifier_without_them_stop_the_stream_before_it_begins(pipeline: Pipeline) -> None:
    with pytest.raises(WeightsError, match="no features"):
        pipeline.stream([], features=True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([(), (1,), (3,), (4,)]),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["noise", "flat", "strided"]),
)
def test_any_small_frame_gives_boxes_that_lie_in_it(
    pipeline: Pipeline, height: int, width: int, channels: tuple[int, ...], seed: int, kind: str
) -> None:
    random = np.random.default_rng(seed)
    frame = random.integers(0, 256, (height, width, *channels), dtype=np.uint8)
    if kind == "flat":
        frame[:] = seed % 256
    elif kind == "strided":
        frame = frame[::-1, ::2]
    before = frame.copy()
    result = pipeline.run(frame)
    assert (result.height, result.width, result.error) == (*frame.shape[:2], None)
    for box in [face.box for face in result.faces] + [head.box for head in result.heads]:
        assert 0 <= box.x1 <= box.x2 <= frame.shape[1]
        assert 0 <= box.y1 <= box.y2 <= frame.shape[0]
    for face in result.faces:
        assert (face.attributes is None) == (face.reason is not None)
        assert face.head is None or 0 <= face.head < len(result.heads)
    assert np.array_equal(frame, before)
    assert Result.model_validate_json(result.model_dump_json()) == result
    streamed = pipeline.run([frame, None, frame])
    assert [each.error is None for each in streamed] == [True, False, True]
    assert len(streamed[0].faces) == len(streamed[2].faces) == len(result.faces)
