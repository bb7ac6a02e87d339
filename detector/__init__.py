"""The first stage, a YOLOv8s detector of faces and heads: data, training, evaluation, export and inference."""
