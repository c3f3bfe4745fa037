"""Floor 6, beside runs: pages about runs and their data; no torch."""
