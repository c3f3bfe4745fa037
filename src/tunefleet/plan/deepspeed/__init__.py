"""What DeepSpeed is told: the only place that spells its keys."""
