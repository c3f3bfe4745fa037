"""Reading: rows from files of every kind, data sets of the hub, the built-in demo."""
