"""Boxes and attributes to correct in Label Studio: python label_studio.py PHOTOS.

Writes tasks.json and tasks.interface.xml. In Label Studio make a project, paste the interface under Labeling Setup >
Custom template, add PHOTOS as local storage (LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and
LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=PHOTOS), and import tasks.json.
"""

from __future__ import annotations

import subprocess
import sys


def main(photos: str) -> None:
    """Find the faces, then write the tasks."""
    subprocess.run(["facepipe", "detect", photos, "--json", "faces.jsonl", "--restart"], check=False)
    export = ["facepipe", "data", "export", "faces.jsonl", "--as", "label-studio", "--out", "tasks.json"]
    subprocess.run(export, check=True)


if __name__ == "__main__":
    main(sys.argv[1])
