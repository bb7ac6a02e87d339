"""Both stages joined: reading, results, drawing, streams, the server, the command line. The only room that knows both.

``two_stage`` is the chain of both stages, written once; ``stages`` holds the loaded models; ``pipeline`` is what a
program calls; ``stream`` schedules many pictures, with ``queues``; ``results`` is what all of them
give. In folders:

- ``inputs``: how a picture becomes a frame; ``video``: the same for videos, and persons followed in them.
- ``drawing``: results drawn onto pictures, faces hidden; ``outputs``: what results are written to.
- ``batch``: a run of ``facepipe detect`` from the sources to the outputs; ``distributed``: the same over many machines.
- ``serving``: the pipeline as an HTTP server, and its web page.
- ``datasets``: data for the trainers, made or checked with both models; ``evaluation``: ``facepipe evaluate``.
- ``verify``: ``facepipe verify``; ``cli``: the commands and their options; ``console``: what they show.
"""

from time import perf_counter

STARTED = perf_counter()
"""When this package began to be imported; the command line counts its import time from here."""
