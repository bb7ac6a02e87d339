"""Inference: cropping, the classifier and its attribute values."""
