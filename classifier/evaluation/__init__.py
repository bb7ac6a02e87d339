"""How good a classifier is: predictions, metrics, subgroups, reports."""
