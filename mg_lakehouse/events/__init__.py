"""What MessageGears sends: the catalogue of events, the XML reader and the flattening.

Pure functions on text and frames. Nothing here knows Dagster, a queue or a file system.
Start with :mod:`mg_lakehouse.events.catalogue`.
"""
