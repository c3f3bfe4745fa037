"""Room evaluation: token-weighted loss, answers by greedy generation, and exact match."""
