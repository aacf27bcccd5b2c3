"""The assets: thin definitions that read, call, write and report."""
