"""The two stages joined: reading, the connector, results, drawing, the command line. The only room that knows both.

Here lie the connector and what it is made of: results, drawing, hiding. In folders:

- ``inputs``: how a picture becomes a frame; ``video``: the same for videos, and persons followed in them.
- ``outputs``: what results are written to; ``detect``: a run of ``facepipe detect`` from the sources to these.
- ``ray_engine``, ``serve``, ``page``: the pipeline over many machines, as an HTTP server, and its web page.
- ``training_data``: data for the trainers, made or checked with both models.
- ``benchmark``, ``end_to_end``, ``verify``, ``doctor``: what the commands of these names do (``end_to_end``:
  ``facepipe evaluate``).
- ``cli``: the commands and their options; ``terminal``: what they show.
"""

from time import perf_counter

STARTED = perf_counter()
"""When this package began to be imported; the command line counts its import time from here."""
