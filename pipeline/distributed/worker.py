"""A worker: one process with one pipeline that prefetches a block of pictures and writes its Parquet file."""

from __future__ import annotations

import json
import os
import pickle
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ...core.errors import FacepipeError, ImageError, ImageTooLargeError, RemoteError
from ...core.version import __version__
from ...weights.registry.source import described, redacted
from ..inputs.image_reader import Limits, Picture, Source, read_picture
from ..inputs.sources import is_store
from ..outputs.rows import RowForm
from ..outputs.tabular import COMPRESSION, schema_of, table_of
from ..pipeline import Pipeline
from .cluster import ChosenModels
from .listing import Block, Stores
from .output import Counts, ResultsFolder

if TYPE_CHECKING:
    import pyarrow as pa


THREADS = 16
"""Concurrent requests. One request to a bucket takes some 30 to 100 ms; in that time a core needs one picture, a GPU
many."""
BYTES = 64 * 2**20
"""Maximum bytes held at a time, or a single picture if it is larger."""
GUESS = 2**20
"""Assumed bytes of a picture of unknown size."""
READ_TRIES = 3
PAUSE = 0.5
"""Seconds before the second try; twice that before the third."""
COUNTS = b"facepipe"
"""Metadata key of a part's counts."""
ERRORS = 20
"""Maximum errors per block shown on the screen; its rows hold all of them."""
MOST_AT_ONCE = 16
"""Maximum pictures processed at a time in a worker with a GPU."""
TRIES = 4
"""Workers that may be lost on one block; a machine that goes away costs one."""
MANY = 8
"""If the store returns none of a block's pictures and there are at least this many, the store is at fault, not the
pictures."""
NONE = Counts()


class ReadAhead:
    """Prefetches the pictures of one block in order while others are processed.

    Args:
        stores: opened ones.
        sizes: bytes of each picture by its address, None if unknown, in the order in which they will be requested.
        limits: pictures over the byte limit are not fetched.

    Attributes:
        refused: pictures that the store did not return, other than those it reported as missing.
        why: the store's reason for the first of them.
    """

    def __init__(self, stores: Stores, sizes: Iterable[tuple[str, int | None]], limits: Limits):
        self._stores, self._limits = stores, limits
        self._waiting = deque(sizes)
        self._sizes = dict(self._waiting)
        self._coming: dict[str, Future[bytes]] = {}
        self._held = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, "facepipe-fetch")
        self.refused = 0
        self.why = ""

    def __contains__(self, source: object) -> bool:
        return source in self._sizes

    def take(self, source: str) -> bytes:
        """Return the encoded picture. Each is returned once.

        Raises:
            ImageError: it does not exist, or the store does not return it.
            ImageTooLargeError: over the byte limit.
        """
        with self._lock:
            while self._waiting and (source not in self._coming or self._room()):
                self._fetch_next()
            future = self._coming[source]
        try:
            return future.result()
        finally:
            with self._lock:
                del self._coming[source]
                self._held -= self._weight(source)

    def close(self) -> None:
        """Stop fetching."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _room(self) -> bool:
        return len(self._coming) < 2 * THREADS and self._held + self._weight(self._waiting[0][0]) <= BYTES

    def _weight(self, source: str) -> int:
        size = self._sizes[source]
        return GUESS if size is None else min(size, self._limits.bytes)

    def _fetch_next(self) -> None:
        source = self._waiting.popleft()[0]
        self._held += self._weight(source)
        self._coming[source] = self._threads.submit(self._fetch, source)

    def _fetch(self, source: str) -> bytes:
        name, size = redacted(source), self._sizes[source]
        if size is not None and size > self._limits.bytes:
            raise ImageTooLargeError(f"{name}: over the limit of {self._limits.bytes:,} bytes")
        for number in range(1, READ_TRIES + 1):
            try:
                system, path = self._stores.open(source)
                content: bytes = system.cat_file(path)
                return content
            except FacepipeError:
                raise
            except FileNotFoundError as error:
                raise ImageError(f"{name}: no such file") from error
            except IsADirectoryError as error:
                raise ImageError(f"{name}: is a folder; name the pictures in it") from error
            except PermissionError as error:
                self._count(str(error) or "refused")
                raise ImageError(f"{name}: cannot be read ({' '.join(str(error).split()) or 'refused'})") from error
            except Exception as error:  # each store's library has its own errors, and it may have been the network
                if number == READ_TRIES:
                    self._count(described(error))
                    raise ImageError(f"{name}: cannot be read ({described(error)})") from error
                time.sleep(PAUSE * number)
        raise AssertionError("the last try returns or raises")

    def _count(self, why: str) -> None:
        with self._lock:
            self.refused += 1
            self.why = self.why or why


class Tries:
    """An actor that counts how often a block was started, because Ray would retry a lost worker's block forever."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def begin(self, name: str) -> int:
        """The number of this try, from 1."""
        self._counts[name] += 1
        return self._counts[name]


@dataclass(frozen=True)
class Task:
    """The settings that every worker of a run gets.

    Attributes:
        facepipe: the version that started the run.
        models, device, threads, confidence, imgsz, tiles, reduced_decode, face_check: of the pipeline.
        allow_url: as there.
        out: address of the results folder.
        base: the folder that relative paths start from; None if there are none.
        tries: handle of a ``Tries`` actor.
    """

    facepipe: str
    models: ChosenModels
    device: str
    threads: int
    confidence: float | None
    imgsz: int | None
    tiles: bool | int
    reduced_decode: bool
    face_check: bool
    allow_url: bool
    out: str
    base: str | None
    tries: Any


@dataclass(frozen=True)
class Done:
    """The outcome of a block.

    Attributes:
        counts: of its pictures.
        errors: of the first pictures that could not be read.
        trouble: why the block failed altogether and the run must end; None if it succeeded.
    """

    name: str
    counts: Counts = NONE
    errors: tuple[str, ...] = ()
    trouble: str | None = None


class BucketPipeline(Pipeline):
    """A pipeline that also accepts addresses in buckets: those that ``ahead`` fetches."""

    ahead: ReadAhead | None = None

    def read(self, source: Source, admit: Callable[[int], None] | None = None) -> Picture:
        """As ``Pipeline.read``; errors name the address."""
        if self.ahead is None or not isinstance(source, str) or source not in self.ahead:
            return super().read(source, admit)
        content = self.ahead.take(source)
        try:
            return read_picture(content, self.limits, admit=admit, least=self.least)
        except ImageError as error:
            raise type(error)(f"{source}: {str(error).removeprefix('bytes: ')}") from error


class Worker:
    """An actor for Ray Data's ``map_batches``. Each input row is a pickled ``Block``, each output row a ``Done``.

    A block is written completely or not at all. If Ray processes it twice, the result is the same file.
    """

    def __init__(self, task: Task):
        self._task = task
        self._pipeline: BucketPipeline | None = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        import pyarrow as pa

        done = [self._do(pickle.loads(each)) for each in batch.column("block").to_pylist()]
        return pa.table({"done": [pickle.dumps(each) for each in done]})

    def _do(self, block: Block) -> Done:
        try:
            return self._written(block)
        except FacepipeError as error:  # goes to the driver, which ends the run; Ray would wrap it in its own
            return Done(block.name, trouble=str(error))

    def _open(self) -> BucketPipeline:
        if self._pipeline is None:
            import cv2

            task = self._task
            if __version__ != task.facepipe:
                raise FacepipeError(
                    f"facepipe {__version__} is installed where a worker runs, and the run was started with "
                    f"{task.facepipe}; install the same version on every machine"
                )
            cv2.setNumThreads(task.threads)
            if task.base is not None:
                try:
                    os.chdir(task.base)
                except OSError as error:
                    raise FacepipeError(
                        f"{task.base}: cannot be opened where a worker runs ({error.strerror}); on a cluster pictures "
                        "must be in a bucket, or in folders that every machine sees under the same path"
                    ) from error
            detector, classifiers = task.models.open(task.device, task.threads, task.confidence, task.imgsz, task.tiles)
            # With a GPU, reading and decoding can use all CPUs: process as many pictures at once as there are CPUs.
            at_once = None if task.device == "cpu" else max(2, min(MOST_AT_ONCE, task.threads))
            self._pipeline = BucketPipeline(
                detector,
                classifiers,
                task.device,
                task.threads,
                workers=at_once,
                allow_url=task.allow_url,
                reduced_decode=task.reduced_decode,
                face_check=task.face_check,
            )
            self._form = RowForm(task.models.attributes)
            self._folder = ResultsFolder(task.out)
            self._stores = Stores()
        return self._pipeline

    def _written(self, block: Block) -> Done:
        import ray
        from pyarrow import parquet

        pipeline = self._open()
        if ray.get(self._task.tries.begin.remote(block.name)) > TRIES:
            raise FacepipeError(
                f"{TRIES} workers were lost, each with the pictures from {block.sources[0]} to {block.sources[-1]}: "
                "either memory runs out (try --actors with a smaller number), or one of these crashes the process; "
                "leave it out"
            )
        remote = [(source, size) for source, size in zip(block.sources, block.sizes, strict=True) if is_store(source)]
        ahead = ReadAhead(self._stores, remote, pipeline.limits)
        pipeline.ahead = ahead
        rows: list[Any] = []
        errors: list[str] = []
        faces = failed = 0
        try:
            for result, _ in pipeline.stream(iter(block.sources), frames=False):
                rows += self._form.rows(result)
                faces += len(result.faces)
                if result.error is not None:
                    failed += 1
                    errors.append(result.error)
        finally:
            ahead.close()
            pipeline.ahead = None
        if ahead.refused == len(block.sources) >= MANY:
            raise RemoteError(
                f"{block.sources[0]} and the {len(block.sources) - 1:,} after it: the store returns none of them "
                f"({ahead.why}); run the same command when it does"
            )
        counts = Counts(len(block.sources), faces, failed)
        metadata = json.dumps({"pictures": counts.pictures, "faces": faces, "failed": failed})
        table = table_of(schema_of(self._form), rows).replace_schema_metadata({COUNTS: metadata})
        content = BytesIO()
        parquet.write_table(table, content, compression=COMPRESSION)
        self._folder.write(block.name, content.getvalue())
        return Done(block.name, counts, tuple(errors[:ERRORS]))


def read_counts(folder: ResultsFolder, name: str) -> Counts:
    """Read the counts from a part's metadata.

    Raises:
        FacepipeError: it cannot be read, or is not part of a run.
    """
    from pyarrow import ArrowException, parquet

    try:
        with folder.open(name) as file:
            counts = json.loads(parquet.ParquetFile(file).schema_arrow.metadata[COUNTS])
        return Counts(counts["pictures"], counts["faces"], counts["failed"])
    except (ArrowException, ValueError, KeyError, TypeError) as error:
        raise FacepipeError(
            f"{folder.label}/{name}: is not a part that this run wrote; remove it, and run the same command to "
            "redo its pictures"
        ) from error
