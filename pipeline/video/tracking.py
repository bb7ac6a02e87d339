"""Assign faces to people in a video: track faces and heads with ByteTrack and join the tracks.

ByteTrack (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022) comes from
the package ``trackers`` (Roboflow, Apache 2.0; supervision's own was deprecated in its favour and removed). It uses
buffered IoU (Yang et al., "Hard to Track Objects with Irregular Motions and Similar Appearances? Make It Easier by
Buffering the Matching Space", WACV 2023), so a face that moves by more than its own size between two frames is not
lost.

Faces and heads are tracked separately. When a face turns away its track is lost, but its head's is not; a new face on
that head takes over the lost face's number. ``benchmarks/tracking.py`` counts identity switches on composed clips:
joining gives fewer than tracking faces or heads alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core.extras import require
from ...detector.inference.boxes import Detections

SURE = 0.4
"""Minimum confidence for a box to start a track; a less confident box can only continue one."""
MEMORY = 1.0
"""Seconds that a lost track waits to be found again."""
BUFFER = 0.5
"""Boxes are enlarged by this share of their sides before their overlap is computed."""
OVERLAP = 0.1
"""Minimum overlap (IoU of the enlarged boxes) between one track's boxes in two frames."""
RATE = 25.0
"""Frames per second assumed if the video does not declare any."""


class Tracker:
    """Numbers the people in one video, from 1.

    Args:
        rate: frames per second of the video, including skipped ones; None if unknown.

    Raises:
        MissingExtraError: the package ``trackers`` is not installed.
    """

    def __init__(self, rate: float | None = None):
        self._faces, self._heads = Follower(rate), Follower(rate)
        self._persons: dict[int, int] = {}  # by face track number
        self._on_head: dict[int, int] = {}  # by head track number, the person last seen on it
        self._last = 0

    def update(
        self, faces: Detections, heads: Detections, heads_of: Sequence[int | None], time: float
    ) -> list[int | None]:
        """Process the next frame.

        Args:
            faces, heads: what was found in it.
            heads_of: for each face, the index of its head, or None.
            time: of the frame, in seconds; later than the previous one.

        Returns:
            The person of each face, or None for a face too uncertain to start a track.
        """  # fmt: skip
        face_tracks = self._faces.update(faces.boxes, faces.confidence, time)
        head_tracks = self._heads.update(heads.boxes, heads.confidence, time)
        found = [None if track is None else self._persons.get(track) for track in face_tracks]
        for index, track in enumerate(face_tracks):
            if track is None or found[index] is not None:
                continue
            head = heads_of[index]
            head_track = None if head is None else head_tracks[head]
            person = None if head_track is None else self._on_head.get(head_track)
            if person is None or person in found:
                self._last += 1
                person = self._last
            else:  # take this person away from the track that had it
                self._persons = {key: value for key, value in self._persons.items() if value != person}
            self._persons[track] = found[index] = person
        for person, head in zip(found, heads_of, strict=True):
            if person is not None and head is not None and (head_track := head_tracks[head]) is not None:
                self._on_head[head_track] = person
        return found

    def cut(self) -> None:
        """Reset at a scene change: nobody is tracked across it."""
        self._faces.cut()
        self._heads.cut()
        self._persons.clear()
        self._on_head.clear()


class Follower:
    """ByteTrack that numbers a track from its first frame (the package numbers it from the second)."""

    def __init__(self, rate: float | None):
        trackers = require("trackers")
        self._tracker = trackers.ByteTrackTracker(
            lost_track_buffer=round(MEMORY * 30),  # in frames of 1/30 s, whatever the rate
            frame_rate=rate or RATE,
            track_activation_threshold=SURE,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=OVERLAP,
            high_conf_det_threshold=SURE,
            iou=trackers.BIoU(BUFFER),
        )
        self._numbers: dict[int, tuple[Any, int]] = {}  # by id() of the package's track, which is kept alive
        self._last = 0

    def update(self, boxes: np.ndarray, confidence: np.ndarray, time: float) -> list[int | None]:
        """The track of each box, (n, 4), or None.

        Args:
            boxes: in pixels, (n, 4).
            confidence: (n,).
            time: of the frame, in seconds.
        """
        import supervision

        given = supervision.Detections(
            xyxy=np.asarray(boxes, np.float32).reshape(-1, 4),
            confidence=np.asarray(confidence, np.float32).reshape(-1),
            data={"place": np.arange(len(boxes))},
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # e.g. about times that do not advance
            followed = self._tracker.update(given, timestamp=time)
        tracks: list[int | None] = [None] * len(boxes)
        known = {track.tracker_id: track for track in self._tracker.tracks if track.tracker_id != -1}
        fresh = [track for track in self._tracker.tracks if track.tracker_id == -1]
        for place, identity in zip(followed.data.get("place", ()), followed.tracker_id, strict=True):
            track = known.get(int(identity))
            if track is None:  # a track that began in this frame is where its only box is
                track = next(
                    (each for each in fresh if np.allclose(each.get_state_bbox(), boxes[place], atol=0.01)), None
                )
            if track is not None:
                tracks[int(place)] = self._number(track)
        alive = {id(track) for track in self._tracker.tracks}
        self._numbers = {key: value for key, value in self._numbers.items() if key in alive}
        return tracks

    def _number(self, track: Any) -> int:
        if id(track) not in self._numbers:
            self._last += 1
            self._numbers[id(track)] = track, self._last
        return self._numbers[id(track)][1]

    def cut(self) -> None:
        """Drop all tracks; numbering continues."""
        self._tracker.reset()
        self._numbers.clear()
