"""What Dagster loads: all that stands under ``defs``."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """The components and modules of ``defs``, merged."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
