"""Floor 5: the training loop; it knows contracts, not rooms."""
