"""From a training run to a release: calibration and ONNX."""
