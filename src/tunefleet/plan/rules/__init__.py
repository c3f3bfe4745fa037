"""What cannot work together, and what to use instead."""
