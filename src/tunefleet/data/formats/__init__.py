"""Formats: from rows to conversations; `reading.Reader` recognises the format, a file for each family reads it."""
