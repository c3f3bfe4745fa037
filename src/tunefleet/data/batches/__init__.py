"""How prepared rows become the micro-batches of a rank."""
