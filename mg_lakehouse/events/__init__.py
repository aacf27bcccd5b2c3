"""What MessageGears sends: the catalogue of events, the readers and the flattening.

Pure functions on text and frames. This package knows no Dagster, queue or file system.
Start with :mod:`mg_lakehouse.events.catalogue`.
"""
