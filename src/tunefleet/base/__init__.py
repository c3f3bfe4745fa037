"""Floor 0: what every floor may use; standard library only."""
