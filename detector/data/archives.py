"""Unpack untrusted zip archives safely and hash their contents."""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...core.errors import DataError

CHUNK = 2**20
LARGEST_RATIO, ALLOWANCE = 100, 2**30
"""Limit on the unpacked size: this many times the zip's size, plus this many bytes. Pictures hardly compress; a zip
bomb does."""


@dataclass(frozen=True)
class Unpacked:
    """What a zip contained.

    Attributes:
        files: sorted names of its files.
        zip_sha256: of the zip.
        contents_sha256: over the sorted names and the SHA-256 of each file; independent of how the zip was packed.
    """

    files: tuple[str, ...]
    zip_sha256: str
    contents_sha256: str


def unpack(path: Path, folder: Path) -> Unpacked:
    """Unpack a zip into a folder.

    Args:
        path: the zip.
        folder: created if missing.

    Raises:
        DataError: the zip is damaged, encrypted or a zip bomb, or a name is a duplicate or leads out of the folder.
            Names are checked before anything is written.
    """
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check(path, members)
            for member in sorted(members, key=lambda each: each.filename):
                target = folder / member.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                content = hashlib.sha256()
                with archive.open(member) as source, target.open("xb") as file:
                    while block := source.read(CHUNK):
                        content.update(block)
                        file.write(block)
                digest.update(f"{member.filename}\0{content.hexdigest()}\n".encode())
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path.name}: damaged zip: {error}") from error
    except NotImplementedError as error:  # raised by zipfile for an unsupported compression method
        raise DataError(f"{path.name}: cannot be unpacked here ({error}); pack it again as an ordinary zip") from error
    except FileExistsError as error:
        raise DataError(f"{path.name}: has two files named {Path(error.filename).name}") from error
    with path.open("rb") as file:
        whole = hashlib.file_digest(file, "sha256").hexdigest()
    return Unpacked(tuple(sorted(member.filename for member in members)), whole, digest.hexdigest())


def _check(path: Path, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        name = member.filename
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or "\\" in name or ":" in parts[0] or ".." in parts:
            raise DataError(f"{path.name}: has a file whose name points outside its folder: {name!r}")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f"{path.name}: has a link instead of a file: {name!r}")
        if member.flag_bits & 1:
            raise DataError(f"{path.name}: is encrypted")
    if sum(member.file_size for member in members) > LARGEST_RATIO * path.stat().st_size + ALLOWANCE:
        raise DataError(f"{path.name}: would unpack to more than {LARGEST_RATIO} times its size; not unpacked")
