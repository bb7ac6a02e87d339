"""Configuration of a training: recipes and attribute schemas."""
