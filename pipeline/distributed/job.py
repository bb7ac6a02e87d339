"""Run ``facepipe detect --engine ray``, from the sources to the ``_SUCCESS`` file."""

from __future__ import annotations

import logging
import os
import pickle
import re
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ...core.errors import FacepipeError
from ...core.extras import require
from ...core.version import __version__
from ..batch.job import ModelOptions, SourceOptions
from ..console import FEW, console, counted, note, progress, report, unwrapped
from ..inputs.sources import is_store
from ..outputs.rows import RowForm
from .cluster import Workers, choose_models, cluster, fit, ray_module
from .listing import Block, block_size, cut_blocks, list_hash, list_pictures
from .output import SUCCESS, Counts, ResultsFolder, begin_or_resume, read_success, write_success
from .worker import Done, Task, Tries, Worker, read_counts

AHEAD = 2
"""Blocks queued per worker, so that the next one is there when a block is done."""
NO_PROGRESS_SECONDS = 6 * 3600.0
"""Seconds without a finished block after which Ray gives up. Long, for slowly growing clusters and slow machines."""


@dataclass(frozen=True)
class RayJob:
    """The command's options.

    Attributes:
        sources: what to analyse.
        models: of the pipelines; their ``threads`` are the CPUs of each worker, None takes what fits.
        out: path or address of the results folder.
        address: of a cluster; None starts Ray locally.
        actors: number of workers; None takes what fits.
        block: pictures per block; None chooses it from the number of pictures.
    """

    sources: SourceOptions
    models: ModelOptions
    out: str
    address: str | None = None
    actors: int | None = None
    block: int | None = None
    restart: bool = False


def run_ray_job(job: RayJob) -> bool:
    """Run the job and report on the screen. Finished blocks are kept whatever happens.

    Returns:
        Whether some picture or folder could not be read.

    Raises:
        FacepipeError: of the sources, the results folder, the models or the cluster; finished blocks are kept.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after printing how to resume.
    """
    ray_module()
    require("pyarrow")
    if (device := job.models.decisive["device"]) not in ("cpu", "cuda", "tensorrt"):
        raise FacepipeError(
            f"--device {device}: with --engine ray it must be cpu, cuda or tensorrt; Ray gives each worker its own GPU"
        )
    folder = ResultsFolder(job.out)
    listing = list_pictures(job.sources.named(), job.sources.allow_url, job.sources.recursive)
    for problem in listing.problems:
        report(problem)
    if listing.passed_over:
        videos = f", including {counted(listing.videos, 'video')}" if listing.videos else ""
        note(f"skipped, not pictures: {counted(listing.passed_over, 'file')}{videos}")
    run = _Run(job, folder, listing.sizes)
    if SUCCESS in folder.names() and not run.to_do:
        note(f"{folder.label}: already finished; --restart starts over")
        return read_success(folder).failed > 0 or bool(listing.problems)
    try:
        with unwrapped():
            counts = run.all()
    except KeyboardInterrupt:
        note(run.progress_text())
        raise
    except FacepipeError:
        if run.begun:
            note(run.progress_text())
        raise
    console().print(
        f"{counted(counts.pictures, 'picture')}, {counted(counts.faces, 'face')}, {counts.failed:,} failed{run.rate()}"
    )
    return counts.failed > 0 or bool(listing.problems)


class _Run:
    """One run: its blocks, those still to do, and their counts."""

    def __init__(self, job: RayJob, folder: ResultsFolder, sizes: dict[str, int | None]):
        self._job, self._folder = job, folder
        decisive = job.models.decisive
        self._models = choose_models(
            job.models.detector, job.models.classifier, decisive["precision"], decisive["device"]
        )
        options = {f"--{name}": value for name, value in decisive.items() if name != "precision"}
        settings = {
            "facepipe": __version__,
            **self._models.settings,
            **options,
            "the number of pictures": len(sizes),
            "the list of pictures": list_hash(sizes)[:16],
            "the columns": list_hash(column.name for column in RowForm(self._models.attributes).columns)[:16],
        }
        size = begin_or_resume(folder, settings, job.block, block_size(len(sizes)), job.restart)
        self._blocks = cut_blocks(sizes, size, settings)
        there = folder.names()
        self.to_do = [block for block in self._blocks if block.name not in there]
        self._there = [block.name for block in self._blocks if block.name in there]
        self._paths = any(not is_store(source) for source in sizes)
        self.begun = False
        self._new = Counts()
        self._seconds = 0.0

    def all(self) -> Counts:
        """Process the remaining blocks and write the ``_SUCCESS`` file."""
        total = sum(len(block.sources) for block in self._blocks)
        before = Counts()
        if self._there:
            with ThreadPoolExecutor(16) as threads:
                before = sum(threads.map(lambda name: read_counts(self._folder, name), self._there), Counts())
            note(f"already done: {before.pictures:,} of {counted(total, 'picture')}")
        if self.to_do:
            with cluster(self._job.address) as ray, progress("detect", "pictures") as update:
                job = self._job
                workers = fit(ray, job.models.decisive["device"], job.actors, job.models.threads, job.address is None)
                self._dispatch(ray, workers, lambda: update(before.pictures + self._new.pictures, total))
        counts = before + self._new
        if missing := {block.name for block in self._blocks} - self._folder.names():
            raise FacepipeError(
                f"{self._folder.label}: {counted(len(missing), 'part')} that the workers wrote cannot be seen from "
                "here; on a cluster --out must be a bucket, or a folder that every machine sees under the same path"
            )
        write_success(self._folder, counts, len(self._blocks))
        return counts

    def _dispatch(self, ray: ModuleType, workers: Workers, update: Callable[[], None]) -> None:
        job, shown = self._job, 0
        out = job.out if is_store(job.out) else str(Path(job.out).expanduser().absolute())
        options = {name: value for name, value in job.models.decisive.items() if name != "precision"}
        task = Task(
            facepipe=__version__,
            models=self._models,
            threads=workers.cpus,
            allow_url=job.sources.allow_url,
            out=out,
            base=os.getcwd() if self._paths else None,
            tries=_tries(ray),
            **options,
        )
        update()
        self.begun = True
        began = time.perf_counter()
        try:
            with closing(_results(ray, task, workers, self.to_do)) as results:
                for done in results:
                    if done.trouble is not None:
                        raise FacepipeError(done.trouble)
                    self._new += done.counts
                    for error in done.errors[: max(0, FEW - shown)]:
                        report(error)
                    if shown <= FEW < shown + done.counts.failed:
                        report("more pictures cannot be read; each has a row with its error")
                    shown += done.counts.failed
                    update()
        finally:
            self._seconds = time.perf_counter() - began

    def rate(self) -> str:
        """Pictures per second in this run."""
        return f"; {self._new.pictures / self._seconds:.1f} pictures/s" if self._new.pictures else ""

    def progress_text(self) -> str:
        """The message for a run that did not finish."""
        try:  # workers may have written parts we have not heard of
            done = len({block.name for block in self._blocks} & self._folder.names())
        except FacepipeError as error:
            return f"interrupted ({error}); run the same command to continue"
        return (
            f"interrupted: {done:,} of {counted(len(self._blocks), 'part')} are in {self._folder.label}; run the "
            "same command to continue"
        )


def _tries(ray: ModuleType) -> Any:
    """Start the actor that counts tries, pinned to this machine so it is not lost with the workers that it counts."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Tries).remote()


def _results(ray: ModuleType, task: Task, workers: Workers, blocks: Sequence[Block]) -> Generator[Done]:
    """Yield the outcome of each block as it finishes.

    Raises:
        FacepipeError: Ray lost workers, or a worker failed for some other reason.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = NO_PROGRESS_SECONDS
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it would log is raised as well
    rows = [{"block": pickle.dumps(block)} for block in blocks]
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        Worker,
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(workers.count, len(rows)), max_tasks_in_flight_per_actor=AHEAD),
        fn_constructor_args=(task,),
        num_cpus=workers.cpus,
        num_gpus=workers.gpus or None,
    )
    try:
        for row in data.iter_rows():
            yield pickle.loads(row["done"])
    except (
        ray.exceptions.RayError,
        ray.data.exceptions.SystemException,
        ray.data.exceptions.ExecutionTimeoutError,
    ) as error:
        raise FacepipeError(f"Ray ended the run ({_innermost(error)}); run the same command to do the rest") from error


def _innermost(error: BaseException) -> str:
    """The root cause in one line; Ray wraps it several times, with tracebacks and colours."""
    while (inner := getattr(error, "cause", None) or error.__cause__) is not None:
        error = inner
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1]}"[:400]
