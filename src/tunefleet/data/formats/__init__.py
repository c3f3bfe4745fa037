"""How does a row become conversations? `reading.Reader` recognises the format; a file for each family reads it."""
