"""Released models: manifests, where versions are found and verified, and inference sessions. Imports nothing of
ours."""
