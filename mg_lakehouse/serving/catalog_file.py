"""The path of the catalogue of views."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # pydantic takes 0.2 s
    from mg_lakehouse.settings import Settings
from mg_lakehouse.location import Location

__all__ = ["catalog_file"]


def catalog_file(settings: Settings) -> Path | None:
    """Return the catalogue's path: ``MG_CATALOG``, or a file in the root of a local lake; ``None`` for a remote lake without ``MG_CATALOG``."""
    if settings.catalog is not None:
        return settings.catalog.expanduser().absolute()
    location = Location(settings.lake_uri)
    return Path(location.root) / "catalog.duckdb" if location.is_local else None
