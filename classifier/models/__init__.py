"""Backbones, heads, the network built from them, and its starting weights."""
