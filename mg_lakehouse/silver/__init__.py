"""Silver: typed rows, one table per event type, each event once."""
