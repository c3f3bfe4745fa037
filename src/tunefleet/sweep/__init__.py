"""Floor 6, beside runs: grids and searches: which runs belong together, how they stand, how they end; torch-free."""
