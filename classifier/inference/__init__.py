"""What serves: the crop recipe, the classifier, attributes."""
