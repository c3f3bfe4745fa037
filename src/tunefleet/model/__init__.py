"""Room model: from files or an architecture to a causal language model that returns its loss."""
