"""A path that projects import :class:`mg_lakehouse.Thresholds` from; nothing else is here."""
