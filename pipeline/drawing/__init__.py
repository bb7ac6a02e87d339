"""Draws results on pictures, and hides faces."""
