"""Versions from and to other places: an index, downloads that are verified before they are seen, uploads, pruning."""
