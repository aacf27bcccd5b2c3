"""From bronze rows to silver rows: bodies in, one frame per event table out, nothing lost on the way.

Pure: a frame of messages goes in, frames come out. De-duplication is
:mod:`mg_lakehouse.events.dedupe`'s business, commits are the stores'.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from mg_lakehouse.events.catalogue import REJECTED_ITEMS
from mg_lakehouse.events.extract import RAW_REJECTIONS, Extraction, Extractor
from mg_lakehouse.events.reader import Body
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.events.typing import type_cells

__all__ = ["Flattened", "flatten", "fragments"]


@dataclass(frozen=True)
class Flattened:
    """The rows of a batch of messages, before de-duplication.

    ``tables`` has the event tables with rows, ``rejected`` the rows of ``rejected_items``; each with the
    contract's columns, and the carried ones behind them. ``items_of`` has, for each message, how many items were seen in it, readable
    or not, so that ``items == sum of rows + rejected``.
    """

    tables: dict[str, pl.DataFrame]
    rejected: pl.DataFrame
    items_of: pl.Series

    @property
    def messages(self) -> int:
        """Number of messages."""
        return self.items_of.len()

    @property
    def items(self) -> int:
        """Number of items in all of them."""
        return int(self.items_of.sum())


def flatten(messages: pl.DataFrame, *, source: str, carry: tuple[str, ...] = ()) -> Flattened:
    """Flatten messages into typed rows.

    Args:
        messages: bronze rows; ``message_id``, ``body``, ``received_at``, ``received_date`` and the carried columns are read.
        source: name of the bronze table, for the ``source`` column.
        carry: columns of ``messages`` to repeat on each row, such as the commit version.
    """
    extraction = _extract(messages["body"])
    lineage = messages.select(
        "message_id", "received_at", "received_date", *carry, source=pl.lit(source), message=pl.int_range(pl.len(), dtype=pl.UInt32)
    )
    tables: dict[str, pl.DataFrame] = {}
    rejections = [extraction.rejections]
    for table, cells in extraction.cells.items():
        typed = type_cells(cells, table)
        rejections.append(typed.rejections)
        if typed.rows.height:
            tables[table] = (
                typed.rows.join(lineage, on="message", how="left").select(*silver_schema(table), *carry).cast(silver_schema(table))
            )
    rejected = (
        pl.concat(rejections)
        .pipe(_with_fragments, messages["body"])
        .join(lineage, on="message", how="left")
        .select(*silver_schema(REJECTED_ITEMS), *carry)
        .sort("received_at", "message_id", "item_index", nulls_last=False)
    )
    return Flattened(tables, rejected, pl.Series("items", extraction.items, pl.Int64))


def fragments(bodies: Iterable[str], indexes: Iterable[int]) -> list[str]:
    """Texts of single items as received, given each one's body and position."""
    return [Body(body).fragment(index) for body, index in zip(bodies, indexes, strict=True)]


def _extract(bodies: pl.Series) -> Extraction:
    extractor = Extractor()
    for message, body in enumerate(bodies):
        extractor.add(message, body)
    return extractor.finish()


def _with_fragments(rejections: pl.DataFrame, bodies: pl.Series) -> pl.DataFrame:
    """Fill in the text of the items that were readable and rejected for their time."""
    known = rejections.filter(pl.col("fragment").is_not_null())
    unknown = rejections.filter(pl.col("fragment").is_null())
    if unknown.is_empty():
        return known
    texts = fragments(bodies.gather(unknown["message"]), unknown["item_index"])
    return pl.concat([known, unknown.with_columns(pl.Series("fragment", texts, pl.String))]).cast(RAW_REJECTIONS)
