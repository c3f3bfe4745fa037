"""`python -m tunefleet` is the command `tunefleet`."""

from tunefleet.doors.cli import main

if __name__ == "__main__":
    main()
