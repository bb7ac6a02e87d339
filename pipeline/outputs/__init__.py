"""Where results are written: files, folders, and the journal from which they are made."""
