"""Room data: rows of text become micro-batches: source -> format -> template -> encode -> pack -> order -> collate."""
