"""How a picture becomes a frame: files, URLs and formats, and the lists of what a user names."""
