"""Floor 3: private names of libraries, in a file for each library and nowhere else."""
