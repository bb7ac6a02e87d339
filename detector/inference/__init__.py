"""Inference: preprocessing, the detector, boxes, tiling."""
