"""Floor 7: what a person starts: train.py, the command `tunefleet`, the process of one rank. All thin."""
