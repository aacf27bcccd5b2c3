"""Ad hoc SQL in a process that can read the lake and nothing else."""
