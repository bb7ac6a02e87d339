"""Evaluation of a classifier: predictions, metrics, subgroups, reports."""
