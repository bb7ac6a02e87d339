"""Writes features of faces to a file, NPZ or Parquet, with one row per face.

The columns are ``source`` (the picture), ``face`` (its index in the result's ``faces``), ``box`` (x1, y1, x2, y2 in
pixels of the upright frame), ``confidence`` (the detector's), and for each classifier ``version_NAME`` and
``features_NAME``, the pooled activations before its heads, float32. NAME is ``face`` for the classifier without a name
of its own. A face that no classifier could read has no row; if only one could not read it, that one's numbers are NaN
(NPZ) or null (Parquet).

Features were trained to distinguish the values of the schema's attributes. They are not an identity embedding, and not
fit to recognise persons: nothing in the training made two pictures of one person similar.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ...core.errors import FacepipeError, os_errors_as
from ...core.extras import require
from ...core.files import replacing
from ..results import Result

SUFFIXES = (".npz", ".parquet")
ROWS = 1024
"""Rows held by a Parquet file's writer; an NPZ file's holds all rows, at 8 KB each for 2,048 numbers."""


class FeatureFile:
    """A file of features. It appears when the block ends without an error, and not before.

    >>> with Pipeline() as pipeline, FeatureFile(Path("features.npz"), pipeline.feature_widths) as file:
    ...     for result, _ in pipeline.stream(paths, features=True):
    ...         file.add(result)

    Args:
        target: ``.npz`` or ``.parquet``; an existing file is replaced.
        widths: vector length, by classifier.

    Raises:
        FacepipeError: another suffix; or, once entered, the file cannot be written.
        MissingExtraError: Parquet, and pyarrow is not installed.
    """

    def __init__(self, target: Path, widths: Mapping[str, int]):
        if target.suffix.lower() not in SUFFIXES:
            raise FacepipeError(f"{target}: features are written as .npz or .parquet")
        self.target = target
        self._kind = _Parquet if target.suffix.lower() == ".parquet" else _Npz
        self._widths = widths
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._writing():
            part = self._stack.enter_context(replacing(self.target))
        try:
            self._rows = self._kind(part, self._widths)
        except BaseException as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def add(self, result: Result) -> None:
        """Add a result's faces, one row each; those without features are left out."""
        with self._writing():
            self._rows.add(result)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._writing(), self._stack:
            self._rows.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with os_errors_as(FacepipeError, f"{self.target}: cannot be written"):
            yield


class _Rows:
    """The rows so far, by column."""

    def __init__(self, part: Path, widths: Mapping[str, int]):
        self.part = part
        self.widths = widths
        self.columns: dict[str, list[Any]] = {}
        self.clear()

    def clear(self) -> None:
        names = ["source", "face", "box", "confidence"]
        names += [f"{column}_{name}" for name in self.widths for column in ("version", "features")]
        self.columns = {name: [] for name in names}

    def add(self, result: Result) -> None:
        for index, face in enumerate(result.faces):
            if not face.features:
                continue
            row: dict[str, Any] = {
                "source": result.source or "",
                "face": index,
                "box": (face.box.x1, face.box.y1, face.box.x2, face.box.y2),
                "confidence": face.confidence,
            }
            for name in self.widths:
                row[f"version_{name}"] = result.models.classifiers[name].version
                row[f"features_{name}"] = face.features.get(name)
            for name, value in row.items():
                self.columns[name].append(value)


class _Npz(_Rows):
    def add(self, result: Result) -> None:
        before = len(self.columns["face"])
        super().add(result)
        for name, width in self.widths.items():  # an array takes a ninth of the memory of a tuple of numbers
            column, absent = self.columns[f"features_{name}"], np.full(width, np.nan, np.float32)
            column[before:] = [absent if row is None else np.array(row, np.float32) for row in column[before:]]

    def close(self) -> None:
        found = self.columns
        arrays = {
            "source": np.array(found["source"], np.str_),
            "face": np.array(found["face"], np.int64),
            "box": np.array(found["box"], np.float32).reshape(-1, 4),
            "confidence": np.array(found["confidence"], np.float32),
        }
        for name, width in self.widths.items():
            arrays[f"version_{name}"] = np.array(found[f"version_{name}"], np.str_)
            arrays[f"features_{name}"] = np.array(found[f"features_{name}"], np.float32).reshape(-1, width)
        with self.part.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]


class _Parquet(_Rows):
    def __init__(self, part: Path, widths: Mapping[str, int]):
        super().__init__(part, widths)
        pa, pq = require("pyarrow"), require("pyarrow.parquet")
        fields = [
            ("source", pa.string()),
            ("face", pa.int64()),
            ("box", pa.list_(pa.float32(), 4)),
            ("confidence", pa.float32()),
        ]
        for name, width in widths.items():
            fields += [(f"version_{name}", pa.string()), (f"features_{name}", pa.list_(pa.float32(), width))]
        self.schema = pa.schema(fields)
        self.writer = pq.ParquetWriter(part, self.schema)

    def add(self, result: Result) -> None:
        super().add(result)
        if len(self.columns["face"]) >= ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self.writer.write_table(pa.table(self.columns, schema=self.schema))
        self.clear()

    def close(self) -> None:
        self._flush()
        self.writer.close()
