"""Formats: from rows to conversations; a row's format is recognised by its keys, a file for each family reads it."""
