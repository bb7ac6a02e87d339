"""Training data made or checked with both models: boxes to start from, crops, close-ups, checks."""
