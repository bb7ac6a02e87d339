"""Compare the two engines of ``facepipe detect``: the same rows, and the rate with one worker and with two.

    python benchmarks/ray_engine.py [--pictures 500] [--folder DIR]

Draws pictures of one to three faces (every 25th is broken or not a picture at all), runs the local engine and
``--engine ray`` with two workers and with one, one CPU each, and compares the Parquet of all three cell by cell. Rates
cover the pictures after the first part of each run, which excludes starting Ray and loading the models; the seconds of
whole commands are printed next to them. Exit code 1 if a row differs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from pyarrow import dataset, parquet
from study.pictures import draw, sides

BREAK_EVERY = 25
MEGAPIXELS = 0.5


def draw_pictures(folder: Path, count: int) -> None:
    """Draw ``count`` files into a folder; always the same ones."""
    width, height = sides(MEGAPIXELS)
    for number in range(count):
        random = np.random.default_rng((7, number))
        path = folder / f"{number // 100}" / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = draw(1 + number % 3, width, height, random)
        content = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 90))[1].tobytes()
        if number % BREAK_EVERY == BREAK_EVERY - 1:
            broken = (b"", b"no picture", content[: len(content) // 2], content[:100] + bytes(len(content) - 100))
            content = broken[number // BREAK_EVERY % len(broken)]
        path.write_bytes(content)


def run(folder: Path, *options: str) -> float:
    """Seconds of one command over the pictures."""
    command = [sys.executable, "-c", "from facepipe.pipeline.cli import main; main()", "detect", "pictures", *options]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 1:  # some pictures are broken
        raise SystemExit(f"{' '.join(options)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    print(f"  {done.stdout.strip().splitlines()[-1]}")
    return time.perf_counter() - start


def rate(results: Path) -> float:
    """Pictures per second after the first part was written."""
    parts = sorted((part.stat().st_mtime, part) for part in results.glob("part-*.parquet"))
    later = [parquet.read_table(part, columns=["source"]) for _, part in parts[1:]]
    pictures = sum(len(set(table["source"].to_pylist())) for table in later)
    return pictures / (parts[-1][0] - parts[0][0])


def differences(first: list[dict[str, object]], second: list[dict[str, object]]) -> list[str]:
    """The cells that differ, one line each."""
    if len(first) != len(second):
        return [f"{len(first):,} and {len(second):,} rows"]
    return [
        f"row {number} ({one['source']}), {name}: {one[name]!r} and {other.get(name)!r}"
        for number, (one, other) in enumerate(zip(first, second, strict=True))
        for name in dict.fromkeys((*one, *other))
        if one.get(name) != other.get(name)
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--pictures", type=int, default=500)
    arguments.add_argument("--folder", type=Path, help="keep everything there")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        draw_pictures(folder / "pictures", given.pictures)
        print(f"{given.pictures:,} pictures of {MEGAPIXELS} MP, 1 to 3 faces, every {BREAK_EVERY}th broken")
        print("local engine")
        seconds = {"local": run(folder, "--parquet", "local.parquet", "--restart")}
        wanted = parquet.read_table(folder / "local.parquet").to_pylist()
        rates, worst = {}, []
        for workers in (2, 1):
            print(f"ray, workers of one processor: {workers}")
            out = folder / f"ray-{workers}.parquet"
            seconds[f"ray, {workers}"] = run(
                folder, "--engine", "ray", "--actors", str(workers), "--threads", "1", "--out", out.name, "--restart"
            )
            rates[workers] = rate(out)
            found = dataset.dataset(sorted(map(str, out.glob("part-*.parquet")))).to_table().to_pylist()
            wrong = differences(wanted, found)
            worst += wrong
            print(f"  {len(found):,} rows, cells that differ from the local engine's: {len(wrong)}")
    for line in worst[:20]:
        print(line)
    print(f"rate: 1 worker {rates[1]:.2f}/s, 2 workers {rates[2]:.2f}/s, ratio {rates[2] / rates[1]:.2f}")
    print("whole commands: " + ", ".join(f"{name} {spent:.1f} s" for name, spent in seconds.items()))
    raise SystemExit(1 if worst else 0)


if __name__ == "__main__":
    main()
