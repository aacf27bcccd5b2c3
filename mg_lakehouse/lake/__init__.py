"""The ground: Delta and DuckDB, no business."""
