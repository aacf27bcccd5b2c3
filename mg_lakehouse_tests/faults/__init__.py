"""What the queue, the store and the machine may do to an ingest, done to the real one."""
