"""Trains: `python train.py [group=choice ...] [group.key=value ...]`; `--help` explains the groups."""

from tunefleet.doors.train import main

if __name__ == "__main__":
    main()
