"""How pictures become frames (files, URLs, formats), and how a user's arguments become lists of sources."""
