"""``facepipe evaluate``: both models measured together, on photos with labelled faces."""
