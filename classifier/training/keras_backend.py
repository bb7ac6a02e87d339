"""Import of Keras and its backend without the log noise of TensorFlow's libraries."""

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
"""Lines that TensorFlow's libraries print while loading."""


def import_keras() -> None:
    """Import Keras and its backend (``KERAS_BACKEND``, else TensorFlow) without their log noise.

    Raises:
        MissingExtraError: Keras or the backend is not installed.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("tensorflow", "absl", "jax"):  # retracing and deprecation warnings
        logging.getLogger(name).setLevel(logging.ERROR)
    with without_chatter():
        keras = require("keras")
        if keras.backend.backend() == "tensorflow":
            tensorflow = require("tensorflow", "train")
            tensorflow.get_logger().setLevel(logging.ERROR)
            tensorflow.autograph.set_verbosity(0)
            tensorflow.config.list_logical_devices()  # the first query logs missing GPUs


@contextmanager
def without_chatter() -> Iterator[None]:
    """Filter the lines of TensorFlow's libraries from standard error; other output is passed on when the block ends.

    The libraries write directly to the file descriptor, and ignore both ``TF_CPP_MIN_LOG_LEVEL`` and absl's settings
    until absl is initialised.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError, ValueError):  # no standard error to filter
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
