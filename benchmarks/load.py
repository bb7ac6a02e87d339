"""How much of the pipeline's speed the server delivers: clients against ``facepipe serve`` over loopback.

    python benchmarks/load.py PICTURES [--seconds 60] [--clients 1 8 32] [--past 256]

PICTURES is a folder of photos; up to 64 of them are used. A server is started, and the given numbers of clients send
the photos, one per request; each client takes the next remaining picture as soon as it has its response.
``Pipeline.run`` processes the same pictures, as bytes, in its own process: one picture per call for comparison with one
client, which also waits for each response, and a list of pictures for several clients. The two take turns of a few
seconds, because a machine's speed varies from minute to minute; the reported shares are medians over all turns. Every
response is compared with the result of ``Pipeline.run``. ``--past`` clients, which send for ``--seconds``, are more
than the queue takes: they get 503 and wait as ``Retry-After`` says. The clients need CPU time too, which on a small
machine is taken from the server. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from facepipe import Pipeline

TAKEN = 64
TOLERANCE = 1e-4
"""Numbers may differ by this much: a crop's outputs differ in the last digits with the size of its batch."""


@dataclass
class Seen:
    """What a number of clients saw, over all turns.

    Attributes:
        clients: how many.
        seconds: how long.
        statuses: responses by status; 0 for no response at all.
        latencies: seconds of each 200 response.
        wrong: responses that differed from ``Pipeline.run``.
        batches: batches that the server made, and the pictures in them.
        memory: the server's resident MB after each turn.
        shares: for each turn, seconds of ``Pipeline.run`` just before and after it over the clients' own.
    """

    clients: int
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    wrong: int = 0
    batches: list[float] = field(default_factory=lambda: [0.0, 0.0])
    memory: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """The latency in milliseconds at this quantile."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def offline(folder: Path) -> None:
    """Print the results as JSON; then, for each line read, the seconds for that many passes over all pictures.

    A line is ``one N``, one picture per call, or ``list N``.
    """
    contents = read(folder)
    with Pipeline() as pipeline:
        results = [json.loads(each.model_dump_json()) for each in pipeline.run(contents)]
        print(json.dumps(results), flush=True)
        for line in sys.stdin:
            how, times = line.split()
            pictures = contents * int(times)
            started = time.perf_counter()
            if how == "one":
                for picture in pictures:
                    pipeline.run(picture)
            else:
                pipeline.run(pictures)
            print(time.perf_counter() - started, flush=True)


def read(folder: Path) -> list[bytes]:
    """The pictures' bytes."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    if not files:
        raise SystemExit(f"{folder}: no pictures")
    return [path.read_bytes() for path in files[:: max(1, len(files) // TAKEN)][:TAKEN]]


def same(answer: Any, expected: Any) -> bool:
    """Whether two results are the same, with numbers within ``TOLERANCE``."""
    if isinstance(expected, dict):
        return (
            isinstance(answer, dict)
            and answer.keys() == expected.keys()
            and all(same(answer[key], expected[key]) for key in expected)
        )
    if isinstance(expected, list):
        return isinstance(answer, list) and len(answer) == len(expected) and all(map(same, answer, expected))
    if isinstance(expected, float):
        return isinstance(answer, float) and abs(answer - expected) <= TOLERANCE * max(1.0, abs(expected))
    return bool(answer == expected)


async def client(port: int, places: Iterator[int], contents: list[bytes], expected: list[Any], seen: Seen) -> None:
    """One client: a keep-alive connection, one picture per request."""
    reader = writer = None
    for place in places:
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
            assert reader is not None
            started = time.perf_counter()
            status, headers, body = await ask(reader, writer, "POST", "/v1/detect", contents[place])
        except (OSError, asyncio.IncompleteReadError):
            seen.statuses[0] += 1
            reader = writer = None
            continue
        seen.statuses[status] += 1
        if status == 200:
            seen.latencies.append(time.perf_counter() - started)
            seen.wrong += not same(json.loads(body)["results"][0], expected[place])
        if re.search(rb"(?i)^connection: close", headers, re.MULTILINE):
            writer.close()
            reader = writer = None
        if found := re.search(rb"(?i)^retry-after: (\d+)", headers, re.MULTILINE):
            await asyncio.sleep(int(found[1]))
    if writer is not None:
        writer.close()


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, content: bytes = b""
) -> tuple[int, bytes, bytes]:
    """One request; returns the response's status, headers and body. A minimal client, to save CPU time."""
    lines = (
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: image/jpeg",
        f"Content-Length: {len(content)}",
    )
    writer.write("\r\n".join([*lines, "", ""]).encode() + content)
    await writer.drain()
    headers = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)^content-length: (\d+)", headers, re.MULTILINE)
    return int(headers[9:12]), headers, await reader.readexactly(int(length[1]) if length else 0)


async def figures(port: int) -> dict[str, float]:
    """The server's metrics without labels."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    _, _, body = await ask(reader, writer, "GET", "/metrics")
    writer.close()
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", body.decode(), re.MULTILINE)}


async def play(port: int, seen: Seen, places: Iterator[int], contents: list[bytes], expected: list[Any]) -> float:
    """Let the clients send these pictures, each to whichever is free; return the seconds it took."""
    before = await figures(port)
    started = time.perf_counter()
    await asyncio.gather(*(client(port, places, contents, expected, seen) for _ in range(seen.clients)))
    passed = time.perf_counter() - started
    after = await figures(port)
    seen.seconds += passed
    for place, end in enumerate(("count", "sum")):
        seen.batches[place] += after[f"facepipe_batch_pictures_{end}"] - before[f"facepipe_batch_pictures_{end}"]
    seen.memory.append(after["process_resident_memory_bytes"] / 2**20)
    return passed


def for_a_while(count: int, seconds: float) -> Iterator[int]:
    """Yield pictures over and over until the time is up."""
    until = time.perf_counter() + seconds
    place = 0
    while time.perf_counter() < until:
        yield place % count
        place += 1


def main() -> None:
    """Time, serve, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--seconds", type=float, default=60, help="of each number of clients, all turns together")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--past", type=int, default=256, help="clients past the server's capacity; 0 for none")
    parser.add_argument("--offline", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.offline:
        offline(options.pictures)
        return
    contents = read(options.pictures)
    again = [sys.executable, __file__, str(options.pictures), "--offline"]
    serve = [sys.executable, "-c", "from facepipe.pipeline.cli import main; main()", "serve", "--port", "0", "--quiet"]
    with (
        subprocess.Popen(again, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
        subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert process.stdout is not None
        assert server.stdout is not None
        expected = json.loads(process.stdout.readline())
        port = int(server.stdout.readline().split(";")[0].rsplit(":", 1)[1])
        count = len(contents)
        asyncio.run(play(port, Seen(4), iter(range(count)), contents, expected))

        def alone(how: str, times: int) -> float:
            assert process.stdin is not None
            assert process.stdout is not None
            print(how, times, file=process.stdin, flush=True)
            return float(process.stdout.readline()) / times

        times = max(1, round(options.seconds / options.turns / alone("list", 1)))
        took: dict[str, list[float]] = {"one": [], "list": []}
        rows = [Seen(clients) for clients in options.clients]
        for row in rows * options.turns:
            how = "one" if row.clients == 1 else "list"
            took[how].append(alone(how, times))
            places = iter(list(range(count)) * times)
            passed = asyncio.run(play(port, row, places, contents, expected)) / times
            took[how].append(alone(how, times))
            row.shares.append(sum(took[how][-2:]) / 2 / passed)
        past = [Seen(options.past)] if options.past else []
        for row in past:
            asyncio.run(play(port, row, for_a_while(count, options.seconds), contents, expected))
        server.terminate()
        code = server.wait()
        assert process.stdin is not None
        process.stdin.close()
    table(rows + past)
    for how, seconds in took.items():
        if seconds:
            slow, quick = count / max(seconds), count / min(seconds)
            print(f"\n`Pipeline.run`, {how}: {slow:.2f} to {quick:.2f} pictures/s.")
    print(f"\nThe server's exit code: {code}.")


def table(rows: list[Seen]) -> None:
    """Print the figures as Markdown."""
    heads = ["clients", "pictures/s", "share of `Pipeline.run`", "p50 ms", "p95 ms", "pictures a batch"]
    heads += ["200", "503", "others", "wrong", "RSS MB"]
    print("| " + " | ".join(heads) + " |\n|" + "--:|" * len(heads))
    for row in rows:
        others = sum(count for status, count in row.statuses.items() if status not in (200, 503))
        shares = "" if not row.shares else f"{median(row.shares):.2f} ({min(row.shares):.2f}-{max(row.shares):.2f})"
        cells = [row.clients, f"{len(row.latencies) / row.seconds:.2f}", shares]
        cells += [f"{row.quantile(0.5):.0f}", f"{row.quantile(0.95):.0f}", f"{row.batches[1] / row.batches[0]:.1f}"]
        cells += [row.statuses[200], row.statuses[503], others, row.wrong]
        print("| " + " | ".join(map(str, [*cells, " ".join(f"{each:.0f}" for each in row.memory)])) + " |")


if __name__ == "__main__":
    main()
