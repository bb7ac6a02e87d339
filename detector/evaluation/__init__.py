"""Evaluation of detectors: matching, average precision, curves, baselines, reports."""
