"""Shared utilities: errors, files, CPUs, run folders, contact sheets. It imports no other package of facepipe."""
