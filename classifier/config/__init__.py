"""Training configuration: recipes and attribute schemas."""
