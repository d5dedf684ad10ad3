"""The command line: one verb per file; strings become objects here and nowhere else."""
