"""Floor 4: the training loop; it knows contracts, not rooms."""
