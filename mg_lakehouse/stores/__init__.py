"""Old import path of :class:`mg_lakehouse.Thresholds`, kept for compatibility; nothing else is here."""
