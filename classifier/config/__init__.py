"""What a training is told: recipes and attribute schemas."""
