"""The two stages joined: reading, the connector, results, drawing, the command line. The only room that knows both."""

from time import perf_counter

STARTED = perf_counter()
"""When this package began to be imported; the command line counts its import time from here."""
