"""The fast path: items of the common shape, read by a compiled scanner, column by column."""
