"""Training of the classifier with Keras."""
