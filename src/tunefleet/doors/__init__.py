"""Floor 8: what the user starts: train.py, the command `tunefleet`, the process of one rank. All thin."""
