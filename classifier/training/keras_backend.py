"""Keras on its backend, imported without the chatter of TensorFlow's libraries."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from ...core.extras import require

CHATTER = re.compile(
    rb"WARNING: All log messages before absl::|[IWE]\d{4} \d\d:\d\d:|\d{4}-\d\d-\d\d [\d:.]+: [IWE] |"
    rb"To enable the following instructions|\s*$"
)
"""Lines that TensorFlow's libraries write while they are loaded."""


def import_keras() -> None:
    """Import Keras on its backend, ``KERAS_BACKEND`` or else TensorFlow, without the chatter of either.

    Raises:
        MissingExtraError: Keras or the backend is not installed.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("tensorflow", "absl", "jax"):  # retracing and deprecations
        logging.getLogger(name).setLevel(logging.ERROR)
    with without_chatter():
        keras = require("keras")
        if keras.backend.backend() == "tensorflow":
            tensorflow = require("tensorflow", "train")
            tensorflow.get_logger().setLevel(logging.ERROR)
            tensorflow.autograph.set_verbosity(0)
            tensorflow.config.list_logical_devices()  # says what GPUs it misses when it first looks for them


@contextmanager
def without_chatter() -> Iterator[None]:
    """Drop what TensorFlow's libraries write to standard error in the block; all else is passed on at its end.

    They write past Python, and heed neither ``TF_CPP_MIN_LOG_LEVEL`` nor absl's settings before absl is set up.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError, ValueError):  # no standard error that could be kept quiet
        yield
        return
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            for line in file:
                if not CHATTER.match(line):
                    os.write(2, line)
