"""Training of the detector with ultralytics."""
