"""How prepared sequences become the micro-batches of a rank."""
