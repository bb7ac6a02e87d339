"""Create and check training data with both models: prelabelled boxes, crops, close-ups, checks."""
