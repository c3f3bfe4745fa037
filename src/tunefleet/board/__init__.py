"""Floor 7, between the rooms and the doors: pages of all runs and sweeps of a folder, live; no torch."""
