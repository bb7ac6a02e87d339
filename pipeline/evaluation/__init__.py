"""``facepipe evaluate``: measure both models together on photos with labelled faces."""
