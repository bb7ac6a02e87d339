"""Blocks: the list of pictures cut into pieces, each the task of one worker and one Parquet file of the results."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FEWEST, MOST = 25, 500
"""Pictures in a block, where the user does not say. A worker that is lost loses as much; each is a file."""
BLOCKS = 256
"""Blocks that a run has at least, while they are not smaller than that: so that many workers end at the same time."""


@dataclass(frozen=True)
class Block:
    """Some pictures in a row.

    Attributes:
        index: place among the blocks, from 0.
        name: of its file; tells its sources and the run's settings apart from any others.
        sources: as they were found.
        sizes: bytes of each, None where unknown.
    """

    index: int
    name: str
    sources: tuple[str, ...]
    sizes: tuple[int | None, ...]


def block_size(pictures: int) -> int:
    """Pictures in a block, for so many in all.

    >>> block_size(500), block_size(20_000), block_size(1_000_000)
    (25, 79, 500)
    """
    return max(FEWEST, min(MOST, -(-pictures // BLOCKS)))


def list_hash(sources: Iterable[str]) -> str:
    """SHA-256 of a list of sources."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(os.fsencode(source) + b"\0")
    return digest.hexdigest()


def cut_blocks(sizes: Mapping[str, int | None], size: int, settings: Mapping[str, Any]) -> list[Block]:
    """Cut a list into blocks; the same list, size and settings give the same blocks.

    Args:
        sizes: the sources in order, and their bytes.
        size: pictures in a block.
        settings: all that the rows depend on; a part of each name.
    """
    sources: Sequence[str] = list(sizes)
    told = json.dumps(settings, sort_keys=True)
    blocks = []
    for index, start in enumerate(range(0, len(sources), size)):
        taken = tuple(sources[start : start + size])
        mark = hashlib.sha256(f"{told}\0{list_hash(taken)}".encode()).hexdigest()[:12]
        blocks.append(Block(index, f"part-{index:06}-{mark}.parquet", taken, tuple(sizes[each] for each in taken)))
    return blocks
