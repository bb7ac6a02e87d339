"""Exchange versions with other places: an index, downloads verified before they become visible, uploads, pruning."""
