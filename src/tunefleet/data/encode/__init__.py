"""How conversations become token ids and loss masks."""
