"""That every item which was received is somewhere: counted in the bodies of bronze by expat, and in the rows of silver by message."""

from __future__ import annotations

from typing import Final
from xml.parsers import expat

import polars as pl

from mg_lakehouse.bronze.tables import BRONZE_TABLES
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, silver_tables
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import posted_slices

__all__ = ["items_begun", "unaccounted"]

_ENVELOPE: Final = {"ActivityItems", "AccountActivityResponse"}


def items_begun(body: str) -> int | None:
    """Items that begin in a body: elements directly within the envelope whose names end in Activity. ``None`` where it is not well-formed."""
    path: list[str] = []
    found = 0

    def start(name: str, _: object) -> None:
        nonlocal found
        local = name.rpartition(":")[2]
        found += local.endswith("Activity") and bool(path) and _ENVELOPE.issuperset(path)
        path.append(local)

    def end(_: str) -> None:
        path.pop()

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(body.lstrip("\ufeff \t\r\n").encode(), True)
    except expat.ExpatError:
        return None
    return found


def unaccounted(lake: Lake) -> int:
    """Items that begin in well-formed bodies of bronze and are in no row, no reject and no counted duplicate of silver, of all sources.

    Duplicates are counted by slice and not by message, so that of a message only what is beyond all duplicates of its source is missed.
    """
    return sum(max(0, _lacking(lake, source) - _duplicates(lake, source)) for source in BRONZE_TABLES)


def _lacking(lake: Lake, source: str) -> int:
    bronze = lake.open("bronze", source)
    if bronze is None:
        return 0
    bodies = pl.read_delta(lake.uri_of("bronze", source), storage_options=lake.storage_options() or None).select("message_id", "body")
    placed: dict[str, int] = {}
    whole: set[str] = set()
    for table in silver_tables():
        if lake.open("silver", table) is None:
            continue
        rows = pl.read_delta(lake.uri_of("silver", table), storage_options=lake.storage_options() or None).filter(source=source)
        for message, count in rows["message_id"].value_counts().iter_rows():
            placed[message] = placed.get(message, 0) + count
        if table == REJECTED_ITEMS:
            whole = set(rows.filter(pl.col("item_index").is_null())["message_id"])
    return sum(max(0, (items_begun(body) or 0) - placed.get(message, 0)) for message, body in bodies.iter_rows() if message not in whole)


def _duplicates(lake: Lake, source: str) -> int:
    handles = [handle for table in silver_tables() if (handle := lake.open("silver", table)) is not None]
    return sum(posted.ledger.duplicates for handle in handles for posted in posted_slices(handle, source))
