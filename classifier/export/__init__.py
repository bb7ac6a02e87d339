"""Export of a training run to a release: ONNX and calibration."""
