"""Face attributes: schema, crop recipe, runtime, training and evaluation of the classifier."""
