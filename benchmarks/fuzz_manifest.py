"""Feed damaged manifests to the reader. Each must give a manifest or a one-line error, in under a second and 300 MB.

Each one is made from a shipped manifest: bytes are flipped, cut, duplicated or inserted, or a value is replaced by an
unexpected one. An accepted manifest must be finite and within bounds.

    python benchmarks/fuzz_manifest.py --count 20000
"""

from __future__ import annotations

import copy
import json
import math
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from facepipe.core.errors import WeightsError
from facepipe.weights.manifest import Manifest, read_manifest
from facepipe.weights.store import PACKAGE_ROOT

SECONDS, MEGABYTES, CHARACTERS = 1.0, 300, 1500
RAW = ("NaN", "Infinity", "-Infinity", "1e400", "-0.0", "1e-320", "1" * 5000, "[" * 5000, '{"a":' * 3000, "", "tru")
"""Raw text, JSON or not, that replaces a value."""
VALUES: tuple[Any, ...] = (
    *(None, True, [], {}, "", "x" * 100_000, "\x1b[2J", "\u202e", "1.0.0\n", "\u0661.\u0660.\u0660", "..", "/dev/zero"),
    *(0, -1, 1, 10**6, 2**63, 10**30, 0.0, 1e-300, 1e300, [0.0, 0.0, 0.0], [1e-300] * 3, ["a", "a"], [[[]]], {"a": {}}),
)


def mutations(originals: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Damaged manifests.

    Args:
        originals: contents of valid ones.
        count: how many to make.
        seed: another seed gives other manifests.
    """
    chance = random.Random(seed)
    for _ in range(count):
        content = chance.choice(originals)
        yield (_bytes if chance.random() < 0.4 else _values)(content, chance)


def check(content: bytes, path: Path) -> str | None:
    """What is wrong with how a manifest was read; None if nothing is.

    Args:
        content: of the manifest.
        path: file to write it to.
    """
    path.write_bytes(content)
    begun = time.process_time()
    try:
        manifest = read_manifest(path)
    except WeightsError as error:
        message = str(error).removeprefix(str(path))
        if "\n" in message or len(message) > CHARACTERS:
            return f"a message of {len(message):,} characters in {message.count(chr(10)) + 1} lines"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    else:
        if (odd := _odd(manifest)) is not None:
            return odd
    spent = time.process_time() - begun
    return None if spent < SECONDS else f"took {spent:.1f} s"


def _odd(manifest: Manifest) -> str | None:
    """A number in an accepted manifest that would give bogus results or exhaust memory."""
    spec = manifest.input
    numbers = [spec.scale, *spec.mean, *spec.std]
    for attribute in manifest.attributes:
        numbers += [value for _, value in attribute if isinstance(value, float)]
    if not all(map(math.isfinite, numbers)) or min(spec.scale, *spec.std) <= 0 or spec.size > 10_000:
        return f"accepted with {numbers}, size {spec.size}"
    return None if manifest.version.isascii() and manifest.version.isprintable() else "accepted with an odd version"


def _bytes(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(damaged) + 1)
        length = chance.choice((1, 2, 10, 1000))
        way = chance.randrange(5)
        if way == 0:
            damaged[at : at + 1] = bytes([chance.randrange(256)])
        elif way == 1:
            del damaged[at : at + length]
        elif way == 2:
            damaged[at:at] = damaged[at : at + length]
        elif way == 3:
            damaged[at:at] = chance.choice((b"\0", b"\xff", b"[", b"{", b'"', b",", b"\\u0000", b"9" * length))
        else:
            del damaged[at:]
    return bytes(damaged)


def _values(content: bytes, chance: random.Random) -> bytes:
    record = json.loads(content)
    raw = False
    for _ in range(chance.choice((1, 1, 2))):
        inner: Any = record
        while True:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            key = chance.choice(keys)
            if isinstance(inner[key], dict | list) and inner[key] and chance.random() < 0.8:
                inner = inner[key]
                continue
            break
        way = chance.random()
        if way < 0.1:
            del inner[key]
        elif way < 0.2 and isinstance(inner, dict):
            inner[f"{key}_"] = inner[key]
        elif way < 0.4:
            inner[key], raw = "@RAW@", True
        else:
            inner[key] = copy.deepcopy(chance.choice(VALUES))
        if not record:
            break
    text = json.dumps(record)
    return (text.replace('"@RAW@"', chance.choice(RAW)) if raw else text).encode()


def main(
    count: Annotated[int, typer.Option(min=1, help="Manifests.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Other manifests with another number.")] = 1,
) -> None:
    """Read damaged manifests, and report those that were not rejected in one line."""
    originals = [path.read_bytes() for path in sorted(PACKAGE_ROOT.glob("*/*/manifest.json"))]
    findings = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(mutations(originals, count, seed)):
            if (wrong := check(content, Path(folder) / "manifest.json")) is not None:
                findings += 1
                print(f"{number}: {wrong}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count:,} manifests, {findings} findings, at most {memory:,.0f} MB with all imports")
    sys.exit(int(findings > 0 or memory > MEGABYTES))


if __name__ == "__main__":
    typer.run(main)
