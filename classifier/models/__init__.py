"""Backbones, heads and the network made of them, and weights to start from."""
