"""Detection data sets: formats, conversion, checks, splits."""
