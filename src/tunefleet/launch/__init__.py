"""Room launch: starts the processes of a run and answers for how they end; torch-free."""
