"""Floor 6: what a person starts: train.py, the command `tunefleet`, the process of one rank. All thin."""
