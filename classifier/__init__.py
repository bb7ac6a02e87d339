"""Attributes of a face: schema, crop recipe, runtime, and all that trains and measures the classifier."""
