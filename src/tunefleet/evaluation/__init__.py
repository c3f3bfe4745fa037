"""Room evaluation: token-weighted loss, answers by greedy generation, and how many are exactly right."""
