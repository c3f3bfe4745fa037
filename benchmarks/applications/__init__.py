"""Applications: three tasks with public data, from the raw files to a table of measured numbers."""
