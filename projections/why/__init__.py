"""Why something does not run: computed from the log up to a position, and from nothing else."""
