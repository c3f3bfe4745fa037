"""Floor 3: where rooms reach into a library's private names: a file for each library, and nowhere else."""
