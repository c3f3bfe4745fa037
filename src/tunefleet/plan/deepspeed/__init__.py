"""What DeepSpeed is given: the only place that spells its keys."""
