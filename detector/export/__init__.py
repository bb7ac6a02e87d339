"""From a training run to a release: ONNX, the default threshold, the figures of the card."""
