"""Which processes there are, and what each of them does: ranks, degrees, batch, slots of a grid, a SLURM job."""
