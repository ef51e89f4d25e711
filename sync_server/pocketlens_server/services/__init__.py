"""Messages to values and back, nothing else."""
