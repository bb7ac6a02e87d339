"""The two stages joined: reading, results, drawing, streams, the server and the command line.

Only this subpackage knows both the detector and the classifier. Its modules: ``two_stage`` is the chain of both stages,
``stages`` holds the loaded models, ``pipeline`` is what programs call, ``stream`` schedules many pictures with the help
of ``queues``, and ``results`` defines what all of them return. Its subpackages:

- ``inputs``: turns pictures into frames; ``video``: the same for videos, and tracks persons in them.
- ``drawing``: draws results on pictures and hides faces; ``outputs``: writes results to files.
- ``batch``: a run of ``facepipe detect`` from sources to outputs; ``distributed``: the same on many machines.
- ``serving``: the pipeline as an HTTP server, and its web page.
- ``datasets``: makes or checks training data with both models; ``evaluation``: ``facepipe evaluate``.
- ``verify``: ``facepipe verify``; ``cli``: the commands and their options; ``console``: what they print.
"""

from time import perf_counter

STARTED = perf_counter()
"""When the import of this package began; the command line measures its import time from here."""
