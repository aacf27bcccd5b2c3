"""The Dagster definitions: when each step runs, and what the UI shows of it."""
