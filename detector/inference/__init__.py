"""What serves: preprocessing, the detector, boxes, tiling."""
