"""Roboflow: a project's version as a data set, and pictures with their boxes sent for correction.

All talk with the service is the SDK's (extra ``roboflow``), with the key in the environment variable
``ROBOFLOW_API_KEY``. The entry points:

``download(name, format, folder) -> Download``
    A pinned version, unpacked and hashed.
``upload(folder, project, ...) -> Upload``
    Every picture of a data set in any format that ``detector.formats`` reads, with its boxes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...core.errors import DataError, ImageError, RemoteError
from ...core.extras import require
from .archives import unpack
from .exif import look
from .formats import Record, read

KEY = "ROBOFLOW_API_KEY"
FORMATS = {"yolov8": "yolo", "coco": "coco", "voc": "voc"}
"""Roboflow's formats, and what ``formats`` calls them."""
RECORD = "roboflow.json"
CHUNK = 2**20
PATIENCE = 120.0
"""Seconds without a byte of a download."""
RETRIES = 2
"""Of a picture that could not be sent."""


@dataclass(frozen=True)
class Download:
    """A version as it was downloaded; kept as an entry of ``roboflow.json``.

    Attributes:
        workspace: its name in Roboflow's addresses.
        project: likewise.
        version: number.
        format: one of ``FORMATS``.
        zip_sha256: of the zip as it came.
        contents_sha256: of the files in it, however they were packed; see ``unpacking.Unpacked``.
        licence: that its README names, empty where it names none.
        date: UTC, ISO 8601.
    """

    workspace: str
    project: str
    version: int
    format: str
    zip_sha256: str
    contents_sha256: str
    licence: str
    date: str

    def note(self, folder: Path) -> None:
        """Add this download to the ``roboflow.json`` of a data set's folder.

        Raises:
            DataError: what is there is no such file.
        """
        path = folder / RECORD
        known: Any = []
        if path.is_file():
            try:
                known = json.loads(path.read_bytes())
            except ValueError as error:
                raise DataError(f"{path}: not JSON: {error}") from error
        if not isinstance(known, list):
            raise DataError(f"{path}: must be a list of downloads")
        part = path.with_name(f".{path.name}.part")
        part.write_text(json.dumps([*known, asdict(self)], indent=2) + "\n", encoding="utf-8")
        part.replace(path)


@dataclass(frozen=True)
class Upload:
    """What an upload did.

    Attributes:
        sent: pictures that are in the project now and were not before.
        known: pictures that the project had already.
    """

    sent: int
    known: int


def parse_name(name: str, parts: int) -> list[str]:
    """``WORKSPACE/PROJECT`` or ``WORKSPACE/PROJECT/VERSION`` in its parts.

    Raises:
        DataError: another form.
    """
    wanted = ("WORKSPACE", "PROJECT", "VERSION")[:parts]
    found = name.strip("/").split("/")
    if len(found) != parts or not all(re.fullmatch(r"\w[\w.-]*", each) for each in found):
        raise DataError(f"{name!r}: must be {'/'.join(wanted)}, as in the project's address")
    if parts == 3 and not re.fullmatch("[1-9][0-9]*", found[2]):
        raise DataError(f"{name!r}: the version must be a number; without it the data could change")
    return found


def check_access(project: str) -> None:
    """Find out whether there is a key and such a project, before long work that is to end in an upload.

    Raises:
        MissingExtraError, RemoteError, DataError: as ``upload``.
    """
    workspace, name = parse_name(project, 2)
    _project(workspace, name)


def download(
    name: str,
    export: str,
    folder: Path,
    expected: str | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Download:
    """Download a version and unpack it.

    Args:
        name: ``WORKSPACE/PROJECT/VERSION``.
        export: one of ``FORMATS``.
        folder: to unpack into; the zip lies there while it is unpacked.
        expected: SHA-256 of the zip or of its contents, to be sure of the same data again.
        progress: called with how many bytes have come, and of how many (0 where nobody says).

    Raises:
        MissingExtraError: the SDK is not installed.
        RemoteError: no key, a refused key, no such project or version, no network, or a bad answer.
        DataError: a bad name, a damaged zip, or not the expected hash.
    """
    workspace, project, number = parse_name(name, 3)
    if export not in FORMATS:
        raise DataError(f"no export {export!r}; there are {', '.join(FORMATS)}")
    found = _project(workspace, project)
    with _talking(name) as key:
        from roboflow.adapters import rfapi
        from roboflow.util import http

        versions = sorted(int(each["id"].rpartition("/")[2]) for each in found.get_version_information())
        if int(number) not in versions:
            has = f"it has {', '.join(map(str, versions))}" if versions else "it has none yet"
            raise RemoteError(f"{workspace}/{project}: no version {number}; {has}")
        found.version(int(number)).export(export)  # waits until Roboflow has packed it
        answer = rfapi.get_version_export(key, workspace, project, number, export)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "roboflow.zip"
        with http.get(answer["export"]["link"], stream=True, timeout=PATIENCE) as response:
            if response.status_code != 200:
                raise RemoteError(f"{name}: the download was refused (HTTP {response.status_code})")
            of, done = int(response.headers.get("content-length") or 0), 0
            with path.open("wb") as file:
                for block in response.iter_content(CHUNK):
                    done += file.write(block)
                    progress(done, of)
    unpacked = unpack(path, folder)
    path.unlink()
    if expected is not None and expected.lower() not in (unpacked.zip_sha256, unpacked.contents_sha256):
        raise DataError(
            f"{name}: not the data that was expected: SHA-256 of the zip {unpacked.zip_sha256}, of its contents "
            f"{unpacked.contents_sha256}, expected {expected}"
        )
    date = datetime.now(UTC).isoformat(timespec="seconds")
    hashes = unpacked.zip_sha256, unpacked.contents_sha256
    return Download(workspace, project, int(number), export, *hashes, _licence(folder), date)


def upload(
    folder: Path,
    project: str,
    *,
    batch: str | None = None,
    prediction: bool = True,
    workers: int = 4,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Upload:
    """Send every picture of a data set, with its boxes, to a project. Ignore regions stay behind: Roboflow has none.

    Args:
        folder: a data set as ``formats.read`` takes it: a folder in YOLO's layout with a data.yaml, a COCO .json, …
        project: ``WORKSPACE/PROJECT``.
        batch: name of the batch that they are put in, for a labeller to find them.
        prediction: the boxes are a model's, to be corrected by a person; False for finished labels.
        workers: pictures that are sent at a time.
        progress: called after each picture with how many are done, and of how many.

    Raises:
        MissingExtraError: the SDK is not installed.
        RemoteError: no key, a refused key, no such project, no network, or a picture that was refused; those before
            it are there, and sending all again is safe: Roboflow knows a picture that it has.
        DataError: the folder's labels cannot be read, or a picture cannot.
    """
    workspace, name = parse_name(project, 2)
    annotations = read(folder)
    numbers = {name: number for number, name in enumerate(annotations.classes)}
    contents = [_yolo_lines(record, numbers) for record in annotations.records]
    target = _project(workspace, name)

    def send(record: Record, lines: str) -> bool:
        answer = target.single_upload(
            image_path=str(record.path),
            annotation_path={"name": f"{quote(record.path.stem)}.txt", "rawText": lines} if lines else None,
            annotation_labelmap={number: each for each, number in numbers.items()},
            split={"val": "valid"}.get(record.split or "train", record.split or "train"),
            num_retry_uploads=RETRIES,
            batch_name=batch,
            is_prediction=prediction,
        )
        return bool(answer["image"].get("duplicate"))

    known = 0
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(send, *each) for each in zip(annotations.records, contents, strict=True)]
        try:
            for done, (record, future) in enumerate(zip(annotations.records, futures, strict=True), 1):
                with _talking(f"{project}: {record.path}"):
                    known += future.result()
                progress(done, len(futures))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return Upload(len(futures) - known, known)


def _yolo_lines(record: Record, numbers: dict[str, int]) -> str:
    boxes = [box for box in record.boxes if not box.ignore]
    width = height = 1
    corners = [box.corners for box in boxes]
    if not record.path.is_file():
        raise DataError(f"{record.where}: no such picture: {record.path}")
    if boxes and not record.fractions:
        try:
            seen = look(record.path, record.size)
        except ImageError as error:
            raise DataError(f"{record.path}: {error} ({record.where})") from error
        width, height = seen.width, seen.height
        corners = [seen.upright(box.corners) for box in boxes]
    lines = []
    for box, (x1, y1, x2, y2) in zip(boxes, corners, strict=True):
        values = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
        lines.append(" ".join([str(numbers[box.name]), *(f"{value:.6f}" for value in values)]))
    return "\n".join(lines)


def _licence(folder: Path) -> str:
    """The licence that the README of an export names."""
    for path in sorted(folder.glob("README*.txt")):
        if found := re.search(r"^License:\s*(\S.*?)\s*$", path.read_text(encoding="utf-8", errors="replace"), re.M):
            return found[1]
    return ""


def _project(workspace: str, project: str) -> Any:
    """The SDK's project, once the key has been accepted."""
    require("roboflow.core.project")  # it cannot be imported where the SDK's own requirements are missing
    roboflow = require("roboflow")
    if not os.environ.get(KEY, "").strip():
        raise RemoteError(f"no key: set {KEY} to your private key, from the workspace's settings at Roboflow")
    with _talking(f"asking Roboflow with the key in {KEY}") as key:
        session = roboflow.Roboflow(api_key=key)
        if session.onboarding:  # what the SDK makes of a key without a small letter, without asking the service
            raise RemoteError(f"the key in {KEY} is not one of Roboflow's; take it from the workspace's settings")
    with _talking(f"{workspace}/{project}"):
        return session.project(project, workspace)


@contextmanager
def _talking(what: str) -> Iterator[str]:
    """Gives the key, keeps the SDK's chatter off the screen, and turns what the SDK raises into ``RemoteError``. Errors
    of the network hold the address with the key in it: their text is not passed on, nor are they as a cause."""
    from requests.exceptions import RequestException, Timeout
    from roboflow import config
    from roboflow.adapters.rfapi import RoboflowError

    key = os.environ.get(KEY, "").strip()
    try:
        with redirect_stdout(StringIO()):
            yield key
    except json.JSONDecodeError:  # also requests' own, which is a RequestException too
        raise RemoteError(f"{what}: an answer that is no JSON; is {config.API_URL} Roboflow's address?") from None
    except RequestException as error:
        reason = "no answer in time" if isinstance(error, Timeout) else "no connection, or it broke off"
        raise RemoteError(f"{what}: {reason} ({type(error).__name__}, {config.API_URL}); is there a network?") from None
    except (RuntimeError, RoboflowError) as error:
        raise RemoteError(f"{what}: Roboflow says: {_message(str(error), key)}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RemoteError(f"{what}: an answer that the SDK does not understand ({type(error).__name__})") from None


def _message(text: str, key: str) -> str:
    """What an error's text says in words, be it JSON or not, without the key."""
    try:
        content = json.loads(text)
        while isinstance(content, dict):
            content = content.get("error") or content.get("message") or content.get("hint") or str(content)
    except ValueError:
        content = text
    words = " ".join(str(content).split())[:300] or "nothing"
    return words.replace(key, "…") if key else words
