"""``facepipe benchmark``: how quick the pipeline is on this machine, and against what."""
