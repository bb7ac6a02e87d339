"""The first stage: a YOLOv8s detector of faces and heads; runtime, training, evaluation and export."""
