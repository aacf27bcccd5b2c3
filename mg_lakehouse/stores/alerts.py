"""Old import path, kept for compatibility: import ``Thresholds`` from ``mg_lakehouse``."""

from mg_lakehouse.serving.alerts import Thresholds

__all__ = ["Thresholds"]
