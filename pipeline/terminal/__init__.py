"""What commands show at a terminal: errors, tables, bars of progress."""
