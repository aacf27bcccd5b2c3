"""Bronze: raw XML as it came, one row per message id."""
