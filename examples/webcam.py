"""Faces of a camera, live: python webcam.py [camera:0 | rtsp://… | clip.mp4]. Escape ends it.

Needs: pip install 'facepipe[video]'
"""

from __future__ import annotations

import sys

import cv2
from facepipe import Pipeline
from facepipe.pipeline.drawing.draw import draw
from facepipe.pipeline.video import VideoOptions, VideoRun

ESCAPE = 27


def main(source: str) -> None:
    """Show each frame with its boxes and attributes until Escape is pressed or the source ends."""
    with Pipeline() as pipeline, VideoRun(pipeline, source, VideoOptions(classify_every=10)) as run:
        for result, frame in run:
            cv2.imshow("facepipe", draw(frame, result))
            if cv2.waitKey(1) == ESCAPE:
                break
        if run.error:
            print(run.error, file=sys.stderr)
    cv2.destroyAllWindows()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "camera:0")
