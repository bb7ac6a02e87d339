"""``facepipe detect --engine ray`` on a Ray of this machine's own: one session for all tests here."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facepipe import __version__
from facepipe.core.errors import FacepipeError
from facepipe.pipeline.batch.job import ModelOptions, SourceOptions
from facepipe.pipeline.distributed import worker as worker_module
from facepipe.pipeline.distributed.cluster import choose_models, cluster
from facepipe.pipeline.distributed.job import RayJob, run_ray_job
from facepipe.pipeline.distributed.listing import cut_blocks
from facepipe.pipeline.distributed.worker import TRIES, Done, Task, Tries, Worker
from facepipe.pipeline.outputs.rows import RowForm
from facepipe.pipeline.outputs.tabular import write_parquet
from facepipe.pipeline.pipeline import Pipeline
from facepipe.weights.release import Release

pytest.importorskip("ray", reason="needs the extra 'ray'")
dataset = pytest.importorskip("pyarrow.dataset")
parquet = pytest.importorskip("pyarrow.parquet")

PICTURES = 60
KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def bucket_server() -> Iterator[str | None]:
    """An S3 of this machine's own; None where moto or s3fs is not installed."""
    try:
        import s3fs  # noqa: F401
        from moto.server import ThreadedMotoServer
    except ImportError:
        yield None
        return
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def environment(_tiny_root: Path, bucket_server: str | None) -> dict[str, str]:
    """What the workers, which are processes of their own, have to know."""
    return {
        **KEYS,
        "FACEPIPE_WEIGHTS": str(_tiny_root),
        **({} if bucket_server is None else {"AWS_ENDPOINT_URL": bucket_server}),
    }


@pytest.fixture(scope="module", autouse=True)
def session(environment: dict[str, str]) -> Iterator[Any]:
    """Ray on this machine, for the whole module."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with cluster(None) as ray:
            yield ray


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in folders, some of them broken; paths are taken from there."""
    import cv2

    base = tmp_path_factory.mktemp("ray")
    for number in range(PICTURES):
        coarse = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        frame = cv2.resize(coarse, (160 + 8 * (number % 5), 120), interpolation=cv2.INTER_NEAREST)
        content = cv2.imencode(".jpg", frame)[1].tobytes()
        if number % 10 == 9:
            content = (b"", b"no picture", content[: len(content) // 2])[number // 10 % 3]
        path = base / "photos" / f"{number % 3}" / f"ü{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return base


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def job(*sources: str, out: str | Path, **options: Any) -> RayJob:
    decisive = {"device": "cpu", "precision": "auto", "confidence": None, "imgsz": None, "tiles": False}
    decisive |= {"reduced_decode": False, "face_check": True}
    decisive |= {name: options.pop(name) for name in tuple(options) if name in decisive}
    return RayJob(SourceOptions(sources), ModelOptions(None, None, decisive), str(out), **options)


def rows(out: Path) -> Any:
    """All parts as one table, in the order of their names."""
    return dataset.dataset(sorted(str(part) for part in out.glob("part-*.parquet"))).to_table()


@pytest.fixture(scope="module")
def local(folder: Path, _tiny_root: Path) -> Any:
    """What the local engine writes of the folder."""
    from facepipe.pipeline.inputs.sources import gather

    before = Path.cwd()
    os.chdir(folder)
    try:
        with Pipeline() as pipeline:
            form = RowForm({name: each.attributes for name, each in pipeline.parts()[1].by_name.items()})
            results = (result for result, _ in pipeline.stream(iter(gather(["photos"]).pictures)))
            write_parquet(folder / "local.parquet", form, results)
    finally:
        os.chdir(before)
    return parquet.read_table(folder / "local.parquet")


@pytest.fixture(scope="module")
def clean(folder: Path, session: Any) -> Path:
    """One clean run over the folder, by two workers."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert run_ray_job(job("photos", out="clean.parquet", block=7)) is True
    finally:
        os.chdir(before)
    return folder / "clean.parquet"


def test_the_rows_are_those_of_the_local_engine(clean: Path, local: Any) -> None:
    found = rows(clean)
    assert found.schema.equals(local.schema)
    assert found.to_pylist() == local.to_pylist()
    assert len(set(found["source"].to_pylist())) == PICTURES
    assert sum(error is not None for error in found["error"].to_pylist()) == PICTURES // 10
    assert found["face"].null_count < found.num_rows / 2
    assert len(list(clean.glob("part-*.parquet"))) == -(-PICTURES // 7)


def test_a_finished_run_is_left_alone(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {part: part.stat().st_mtime_ns for part in clean.iterdir()}
    assert run_ray_job(job("photos", out=clean)) is True  # as some pictures of it failed
    assert "already finished; --restart starts over" in capsys.readouterr().err
    assert {part: part.stat().st_mtime_ns for part in clean.iterdir()} == before


def test_other_settings_or_another_list_are_refused(clean: Path) -> None:
    with pytest.raises(FacepipeError, match=r"--confidence was not given and is now 0\.7.*--restart"):
        run_ray_job(job("photos", out=clean, confidence=0.7))
    with pytest.raises(FacepipeError, match=r"the number of pictures was 60 and is now 20; the list of pictures"):
        run_ray_job(job("photos/1", out=clean))


def command(environment: dict[str, str], out: str) -> subprocess.Popen[str]:
    """The command in a process of its own, with a Ray of its own and one worker."""
    words = ["detect", "photos", "--engine", "ray", "--out", out, "--block", "1", "--actors", "1", "--threads", "1"]
    return subprocess.Popen(
        [sys.executable, "-c", "from facepipe.pipeline.cli import main; main()", *words],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_parts(process: subprocess.Popen[str], out: Path) -> None:
    while not list(out.glob("part-*.parquet")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_was_ended_goes_on(
    how: signal.Signals, folder: Path, local: Any, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / f"{how.name}.parquet"
    process = command(environment, out.name)
    wait_for_parts(process, out)
    process.send_signal(how)
    _, told = process.communicate(timeout=60)
    if how is signal.SIGINT:
        assert process.returncode == 130, told
        assert "run the same command to continue" in told
        assert "Traceback" not in told
    there = {part: part.stat().st_mtime_ns for part in out.glob("part-*.parquet")}
    assert 0 < len(there) < PICTURES
    assert not (out / "_SUCCESS").exists()

    assert run_ray_job(job("photos", out=out)) is True
    assert "already done: " in capsys.readouterr().err
    assert {part: part.stat().st_mtime_ns for part in there} == there
    assert rows(out).to_pylist() == local.to_pylist()
    assert (out / "_SUCCESS").exists()


def test_from_a_bucket_to_a_bucket(folder: Path, local: Any, bucket_server: str | None) -> None:
    if bucket_server is None:
        pytest.skip("needs moto and s3fs: pip install 'moto[s3]' flask flask-cors s3fs")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.mkdir("bucket")
    system.put(str(folder / "photos"), "bucket/photos", recursive=True)
    system.pipe_file("bucket/photos/notes.txt", b"none")
    sources = ["s3://bucket/photos/**", "s3://bucket/photos/gone.jpg"]
    assert run_ray_job(job(*sources, out="s3://bucket/results.parquet", block=20)) is True
    parts = sorted(system.glob("bucket/results.parquet/part-*"))
    assert len(parts) == 4
    found = dataset.dataset(parts, filesystem=system).to_table().to_pylist()
    *found, gone = found
    assert (gone["source"], gone["error"]) == (sources[1], f"{sources[1]}: no such file")

    def as_local(value: object) -> object:
        return value.replace("s3://bucket/", "") if isinstance(value, str) else value

    assert [{name: as_local(value) for name, value in row.items()} for row in found] == local.to_pylist()
    assert {row["source"][:19] for row in found} == {"s3://bucket/photos/"}
    assert system.exists("bucket/results.parquet/_SUCCESS")
    with pytest.raises(FacepipeError, match="the number of pictures was 61 and is now 60"):
        run_ray_job(job(sources[0], out="s3://bucket/results.parquet"))


# What a worker makes of trouble


@pytest.fixture
def task(session: Any, tmp_path: Path) -> Task:
    return Task(
        facepipe=__version__,
        models=choose_models(None, None, "auto", "cpu"),
        device="cpu",
        threads=1,
        confidence=None,
        imgsz=None,
        tiles=False,
        reduced_decode=False,
        face_check=True,
        allow_url=False,
        out=str(tmp_path / "results.parquet"),
        base=None,
        tries=session.remote(num_cpus=0)(Tries).remote(),
    )


def done_of(task: Task, *sources: str) -> Done:
    import pyarrow as pa

    (block,) = cut_blocks(dict.fromkeys(sources, 1), len(sources), {})
    answer = Worker(task)(pa.table({"block": [pickle.dumps(block)]}))
    return pickle.loads(answer["done"][0].as_py())


def test_a_store_that_gives_nothing_ends_the_run(task: Task, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Shut:
        def open(self, address: str) -> tuple[Any, str]:
            return self, address

        def cat_file(self, path: str) -> bytes:
            raise PermissionError("Token expired")

    monkeypatch.setattr(worker_module, "Stores", Shut)
    few = [f"s3://b/{number}.jpg" for number in range(7)]
    assert done_of(task, *few).counts.failed == 7
    shut = done_of(task, *few, "s3://b/7.jpg")
    assert shut.trouble is not None
    assert "s3://b/0.jpg and the 7 after it: the store returns none of them (Token expired)" in shut.trouble
    assert len(list((tmp_path / "results.parquet").iterdir())) == 1


def test_a_block_that_ends_its_workers_ends_the_run(task: Task, session: Any) -> None:
    (block,) = cut_blocks({"photos/0/ü00.jpg": 1}, 1, {})
    for number in range(TRIES):
        assert session.get(task.tries.begin.remote(block.name)) == number + 1
    lost = done_of(task, "photos/0/ü00.jpg")
    assert lost.trouble is not None
    assert "4 workers were lost, each with the pictures from photos/0/ü00.jpg to photos/0/ü00.jpg" in lost.trouble


def test_workers_that_are_not_like_the_driver(
    task: Task, classifier_release: Release, publish_detector: Callable[..., Release], tmp_path: Path
) -> None:
    from dataclasses import replace

    other = done_of(replace(task, facepipe="0.0.1"), "photos/0/ü00.jpg")
    assert other.trouble is not None
    assert "was started with 0.0.1; install the same version on every machine" in other.trouble
    away = done_of(replace(task, base=str(tmp_path / "gone")), "photos/0/ü00.jpg")
    assert away.trouble is not None
    assert "cannot be opened where a worker runs" in away.trouble


def test_what_troubles_a_worker_ends_the_run_in_its_words(
    tmp_path: Path,
    publish_detector: Callable[..., Release],
    publish_classifier: Callable[..., Release],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through Ray: the weights that are found here are not those that the workers find."""
    publish_detector(tmp_path, seed=12)
    publish_classifier(tmp_path)
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path))
    with pytest.raises(FacepipeError, match=r"^detector 99\.0\.0: is a different model there"):
        run_ray_job(job("photos", out=tmp_path / "results.parquet"))
    assert not list((tmp_path / "results.parquet").glob("part-*"))
