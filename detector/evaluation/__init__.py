"""How good a detector is: matching, average precision, curves, baselines, reports."""
