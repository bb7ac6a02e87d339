"""From a training run to a release: ONNX export, default threshold, metrics of the model card."""
