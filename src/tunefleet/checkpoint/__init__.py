"""Room checkpoint: what is saved, how it is found again; DeepSpeed writes the shard bytes only."""
