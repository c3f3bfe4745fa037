"""Room tracking: metrics.jsonl (the truth), Weights & Biases (a sink), the console, plots."""
