"""Roboflow: download a version of a project as a data set, and upload pictures with their boxes for correction.

All communication uses Roboflow's SDK (extra ``roboflow``), with the key from the environment variable
``ROBOFLOW_API_KEY``. The entry points are:

``download(name, format, folder) -> Download``
    Download, unpack and hash a pinned version.
``upload(folder, project, ...) -> Upload``
    Upload every picture, with its boxes, of a data set in any format that ``detector.data.formats`` reads.
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
"""Roboflow's formats and their names in ``formats``."""
RECORD = "roboflow.json"
CHUNK = 2**20
PATIENCE = 120.0
"""Timeout of a download: seconds without a byte."""
RETRIES = 2
"""Retries per picture that could not be uploaded."""


@dataclass(frozen=True)
class Download:
    """A downloaded version; kept as an entry of ``roboflow.json``.

    Attributes:
        workspace: its name in Roboflow's URLs.
        project: likewise.
        version: number.
        format: one of ``FORMATS``.
        zip_sha256: of the zip as downloaded.
        contents_sha256: of the files in it, independent of how they were packed; see ``archives.Unpacked``.
        licence: from its README; empty if it names none.
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
        """Append this download to the ``roboflow.json`` of a data set's folder.

        Raises:
            DataError: the existing file is invalid.
        """
        path = folder / RECORD
        known: Any = []
        if path.is_file():
            try:
                known = json.loads(path.read_bytes())
            except ValueError as error:
                raise DataError(f"{path}: not valid JSON: {error}") from error
        if not isinstance(known, list):
            raise DataError(f"{path}: must be a list of downloads")
        part = path.with_name(f".{path.name}.part")
        part.write_text(json.dumps([*known, asdict(self)], indent=2) + "\n", encoding="utf-8")
        part.replace(path)


@dataclass(frozen=True)
class Upload:
    """The result of an upload.

    Attributes:
        sent: pictures that are new in the project.
        known: pictures that the project already had.
    """

    sent: int
    known: int


def parse_name(name: str, parts: int) -> list[str]:
    """Split ``WORKSPACE/PROJECT`` or ``WORKSPACE/PROJECT/VERSION`` into its parts.

    Raises:
        DataError: the name has another form.
    """
    wanted = ("WORKSPACE", "PROJECT", "VERSION")[:parts]
    found = name.strip("/").split("/")
    if len(found) != parts or not all(re.fullmatch(r"\w[\w.-]*", each) for each in found):
        raise DataError(f"{name!r}: must be {'/'.join(wanted)}, as in the project's address")
    if parts == 3 and not re.fullmatch("[1-9][0-9]*", found[2]):
        raise DataError(f"{name!r}: the version must be a number; without it the data could change")
    return found


def check_access(project: str) -> None:
    """Check that the key is valid and the project exists, before long work that ends in an upload.

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
        folder: to unpack into; the zip is kept there while it is unpacked.
        expected: SHA-256 of the zip or of its contents, to verify that the data are the same.
        progress: called with the bytes received and the total (0 if unknown).

    Raises:
        MissingExtraError: the SDK is not installed.
        RemoteError: no key, a refused key, no such project or version, no network, or a bad answer.
        DataError: an invalid name, a damaged zip, or a hash other than expected.
    """
    workspace, project, number = parse_name(name, 3)
    if export not in FORMATS:
        raise DataError(f"no export {export!r}; there are {', '.join(FORMATS)}")
    found = _project(workspace, project)
    with _api_errors(name) as key:
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
            f"{name}: not the expected data: SHA-256 of the zip {unpacked.zip_sha256}, of its contents "
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
    """Upload every picture of a data set, with its boxes, to a project. Ignore regions are left out: Roboflow has none.

    Args:
        folder: a data set as ``formats.read`` takes it: a folder in YOLO's layout with a data.yaml, a COCO .json, …
        project: ``WORKSPACE/PROJECT``.
        batch: name of the batch to put them in, for labellers to find them.
        prediction: True if the boxes come from a model and need correction; False for finished labels.
        workers: pictures uploaded at a time.
        progress: called after each picture with the number done and the total.

    Raises:
        MissingExtraError: the SDK is not installed.
        RemoteError: no key, a refused key, no such project, no network, or a picture that was refused. Earlier pictures
            have been uploaded then. Repeating the upload is safe: Roboflow recognises pictures that it has.
        DataError: the folder's labels or a picture cannot be read.
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
                with _api_errors(f"{project}: {record.path}"):
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
    """The licence named in the README of an export; empty if none."""
    for path in sorted(folder.glob("README*.txt")):
        if found := re.search(r"^License:\s*(\S.*?)\s*$", path.read_text(encoding="utf-8", errors="replace"), re.M):
            return found[1]
    return ""


def _project(workspace: str, project: str) -> Any:
    """Return the SDK's project, which requires that the key is accepted."""
    require("roboflow.core.project")  # the import fails if one of the SDK's own dependencies is missing
    roboflow = require("roboflow")
    if not os.environ.get(KEY, "").strip():
        raise RemoteError(f"no key: set {KEY} to your private key, from the workspace's settings at Roboflow")
    with _api_errors(f"asking Roboflow with the key in {KEY}") as key:
        session = roboflow.Roboflow(api_key=key)
        if session.onboarding:  # the SDK's answer, without a request, to a key without a lower-case letter
            raise RemoteError(f"the key in {KEY} is not one of Roboflow's; take it from the workspace's settings")
    with _api_errors(f"{workspace}/{project}"):
        return session.project(project, workspace)


@contextmanager
def _api_errors(what: str) -> Iterator[str]:
    """Yield the key, silence the SDK's output, and turn its errors into ``RemoteError``.

    Network errors contain the URL with the key. Their text is not passed on, and they are not chained as a cause.
    """
    from requests.exceptions import RequestException, Timeout
    from roboflow import config
    from roboflow.adapters.rfapi import RoboflowError

    key = os.environ.get(KEY, "").strip()
    try:
        with redirect_stdout(StringIO()):
            yield key
    except json.JSONDecodeError:  # includes requests' own, which is also a RequestException
        raise RemoteError(f"{what}: the answer is not valid JSON; is {config.API_URL} Roboflow's address?") from None
    except RequestException as error:
        reason = "no answer in time" if isinstance(error, Timeout) else "no connection, or it was lost"
        raise RemoteError(f"{what}: {reason} ({type(error).__name__}, {config.API_URL}); is there a network?") from None
    except (RuntimeError, RoboflowError) as error:
        raise RemoteError(f"{what}: Roboflow says: {_message(str(error), key)}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RemoteError(f"{what}: the SDK does not understand the answer ({type(error).__name__})") from None


def _message(text: str, key: str) -> str:
    """The message in an error's text, JSON or not, with the key removed."""
    try:
        content = json.loads(text)
        while isinstance(content, dict):
            content = content.get("error") or content.get("message") or content.get("hint") or str(content)
    except ValueError:
        content = text
    words = " ".join(str(content).split())[:300] or "nothing"
    return words.replace(key, "…") if key else words
