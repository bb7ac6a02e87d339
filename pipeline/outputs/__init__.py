"""What results are written to: files, folders, and the journal that they are made from."""
