"""The families that are known, one file for each line of models: `registry.py` reads `FAMILIES` of every file here."""
