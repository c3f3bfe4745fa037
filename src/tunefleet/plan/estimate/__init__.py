"""What a run needs: memory, time, and whether a machine has them."""
