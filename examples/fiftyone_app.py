"""Faces of a folder in the FiftyOne App: python fiftyone_app.py PHOTOS.

Needs: pip install facepipe fiftyone
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def labels(photos: Path, out: Path) -> None:
    """Find the faces, then write them as a FiftyOneImageDetectionDataset has its labels."""
    subprocess.run(["facepipe", "detect", str(photos), "--json", "faces.jsonl", "--restart"], check=False)
    export = ["facepipe", "data", "export", "faces.jsonl", "--as", "fiftyone", "--out", str(out)]
    subprocess.run(export, check=True)


def main(photos: Path) -> None:
    """Open the App on the folder."""
    import fiftyone

    labels(photos, Path("labels.json"))
    dataset = fiftyone.Dataset.from_dir(
        dataset_type=fiftyone.types.FiftyOneImageDetectionDataset,
        data_path=str(photos.absolute()),
        labels_path=str(Path("labels.json").absolute()),
        label_field="faces",
    )
    fiftyone.launch_app(dataset).wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
