"""What is known of each family of models: its weights, and what may be done with them."""
