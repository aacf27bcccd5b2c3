"""Keeps one row per activity: decides which copy stays, and what the others are.

Pure functions on frames of one silver table. The first received stays: least ``received_at``, then
``message_id``, then ``item_index``. Any other copy is a duplicate. A copy from the same source with different
content is a conflict: it is kept out and reported, and never overwrites the first.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from mg_lakehouse.events.catalogue import LINEAGE_COLUMNS

__all__ = ["Deduplicated", "against_existing", "content_columns", "first_received"]

_RECEIVED = ("received_at", "message_id", "item_index")
_ITSELF = ("activity_id", "source", "message_id", "item_index")
_LINEAGE = frozenset(column.name for column in LINEAGE_COLUMNS) - {"_rescued_data"}
_SPELLING = frozenset({"utc_offset_minutes"})
"""How the event's time was written: the same instant with another offset is the same content."""


class Deduplicated(NamedTuple):
    """A batch without duplicates.

    ``kept`` are the rows to add; ``landed`` counts the rows that were added before, ``duplicates`` the copies without a conflict.
    """

    kept: pl.DataFrame
    landed: int
    duplicates: int
    conflicts: pl.DataFrame


def content_columns(rows: pl.DataFrame) -> list[str]:
    """List the columns that describe the event, without those that describe how it was written and received. Carried columns begin with ``__``."""
    return [name for name in rows.columns if name not in _LINEAGE | _SPELLING and not name.startswith("__")]


def first_received(rows: pl.DataFrame) -> Deduplicated:
    """De-duplicate the rows of one batch among themselves."""
    ordered = rows if _in_order(rows) else rows.sort(*_RECEIVED, nulls_last=False)
    first = ordered["activity_id"].is_first_distinct()
    if first.all():
        return Deduplicated(ordered, 0, 0, ordered.clear())
    kept = ordered.filter(first)
    return _sort_out(kept, 0, ordered.filter(~first), kept)


def _in_order(rows: pl.DataFrame) -> bool:
    """Whether rows are in the order of receipt, as the flattening gives them: sorting them takes as long as parsing them."""
    before = [pl.col(name) > pl.col(name).shift(1) for name in _RECEIVED]
    equal = [pl.col(name) == pl.col(name).shift(1) for name in _RECEIVED]
    return bool(rows.select((before[0] | (equal[0] & (before[1] | (equal[1] & before[2])))).slice(1).all()).item())


def against_existing(rows: pl.DataFrame, existing: pl.DataFrame) -> Deduplicated:
    """De-duplicate the rows of a batch against rows that the table has. Copies within the batch are left to :func:`first_received`.

    ``existing`` has the content columns, ``source``, ``message_id`` and ``item_index`` of the rows whose ids the batch repeats. A row that can be
    read in two ways is in it twice, and a copy equals it if it equals either. A row of the same message and position is not a copy but
    the row itself, committed by an earlier try.
    """
    if existing.is_empty():
        return Deduplicated(rows, 0, 0, rows.clear())
    kept = rows.join(existing, on="activity_id", how="anti")
    copies = rows.join(existing, on="activity_id", how="semi").join(existing, on=_ITSELF, how="anti")
    landed = rows.height - kept.height - copies.height
    return _sort_out(kept, landed, copies, existing)


def _sort_out(kept: pl.DataFrame, landed: int, copies: pl.DataFrame, originals: pl.DataFrame) -> Deduplicated:
    if copies.is_empty():
        return Deduplicated(kept, landed, 0, copies)
    content = content_columns(copies)
    original = originals.join(copies, on="activity_id", how="semi").select("activity_id", "source", fingerprint=_fingerprint(content))
    conflicts = (
        copies.with_columns(fingerprint=_fingerprint(content))
        .join(original.unique("activity_id"), on=("activity_id", "source"), how="semi", maintain_order="left")
        .join(original, on=("activity_id", "fingerprint"), how="anti", maintain_order="left")
        .select(copies.columns)
    )
    return Deduplicated(kept, landed, copies.height - conflicts.height, conflicts)


def _fingerprint(content: list[str]) -> pl.Expr:
    """Return a text that is equal where the content is equal."""
    return pl.struct(content).struct.json_encode()
