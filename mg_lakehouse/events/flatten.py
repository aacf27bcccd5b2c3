"""From bronze rows to silver rows: bodies in, one frame per event table out, nothing lost on the way.

Pure: a frame of messages goes in, frames come out. Plain items take the fast reading (:mod:`mg_lakehouse.events.plain`), all others
the strict one (:mod:`mg_lakehouse.events.reader`, :mod:`mg_lakehouse.events.extract`, :mod:`mg_lakehouse.events.typing`). De-duplication is
:mod:`mg_lakehouse.events.dedupe`'s business, commits are the stores'.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import attrgetter
from typing import Final, NamedTuple

import polars as pl

from mg_lakehouse.events.catalogue import REJECTED_ITEMS, silver_tables
from mg_lakehouse.events.extract import RAW_REJECTIONS, Extractor
from mg_lakehouse.events.plain import NOTHING_PLAIN, PlainReading, read_plain
from mg_lakehouse.events.reader import Body
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.events.typing import type_cells

__all__ = ["Flattened", "flatten", "fragments"]

_logger = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 16 * 2**20
"""Bytes of bodies that one thread takes at a time: small beside the memory of a machine, large beside what each call costs."""


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


class _Read(NamedTuple):
    """What was read of some bodies: typed rows by table, cells that are to be typed, what was rejected, and each body's items."""

    rows: dict[str, pl.DataFrame]
    cells: dict[str, pl.DataFrame]
    rejections: pl.DataFrame
    items: pl.Series


def flatten(messages: pl.DataFrame, *, source: str, carry: tuple[str, ...] = ()) -> Flattened:
    """Flatten messages into typed rows, in the order of the messages, on all cores that Polars may use.

    Args:
        messages: bronze rows; ``message_id``, ``body``, ``received_at``, ``received_date`` and the carried columns are read.
        source: name of the bronze table, for the ``source`` column.
        carry: columns of ``messages`` to repeat on each row, such as the commit version.
    """
    chunks = list(_chunks(messages["body"]))
    lineage = messages.select("message_id", "received_at", "received_date", *carry, source=pl.lit(source))
    with ThreadPoolExecutor(pl.thread_pool_size(), thread_name_prefix="flatten") as pool:
        read = _together(chunks, list(pool.map(_read, chunks)))
        typed = dict(zip(read.cells, pool.map(type_cells, read.cells.values(), read.cells), strict=True))
        merged = _merged(read.rows, {table: found.rows for table, found in typed.items() if found.rows.height})
        rows = pool.map(lambda table: _with_lineage(merged[table], lineage, silver_schema(table)), merged)
        tables = dict(zip(merged, rows, strict=True))
    rejections = pl.concat([read.rejections, *(found.rejections for found in typed.values())])
    rejected = _with_lineage(_with_fragments(rejections, messages["body"]), lineage, silver_schema(REJECTED_ITEMS))
    return Flattened(tables, rejected.sort("received_at", "message_id", "item_index", nulls_last=False), read.items)


def fragments(bodies: Iterable[str], indexes: Iterable[int]) -> list[str]:
    """Texts of single items as received, given each one's body and position.

    A body is cut once for all of its items that follow each other.
    """
    texts: list[str] = []
    body = Body("")
    for text, index in zip(bodies, indexes, strict=True):
        body = body if body.text == text else Body(text)
        texts.append(body.fragment(index))
    return texts


def _chunks(bodies: pl.Series) -> Iterator[pl.Series]:
    """Bodies in parts of about ``_CHUNK_BYTES``, at least one."""
    chunk = bodies.str.len_bytes().cast(pl.UInt64).cum_sum() // _CHUNK_BYTES
    starts = [0, *(chunk != chunk.shift(1)).arg_true()]
    for start, end in zip(starts, [*starts[1:], bodies.len()], strict=True):
        if end > start or bodies.is_empty():
            yield bodies.slice(start, end - start)


def _together(chunks: list[pl.Series], parts: list[_Read]) -> _Read:
    """What was read of the chunks of a batch as one."""
    starts = list(accumulate((chunk.len() for chunk in chunks), initial=0))

    def placed(frames: Sequence[pl.DataFrame | None]) -> pl.DataFrame:
        whole = zip(starts, frames, strict=False)
        return pl.concat([frame.with_columns(pl.col("message") + pl.lit(start, pl.UInt32)) for start, frame in whole if frame is not None])

    def by_table(parts: Sequence[dict[str, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
        return {table: placed([part.get(table) for part in parts]) for table in silver_tables() if any(table in part for part in parts)}

    return _Read(
        by_table([part.rows for part in parts]),
        by_table([part.cells for part in parts]),
        placed([part.rejections for part in parts]),
        pl.concat([part.items for part in parts]),
    )


def _with_lineage(rows: pl.DataFrame, lineage: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Rows with where they came from, in the columns of the contract and the carried ones behind them."""
    found = rows.hstack(lineage[rows["message"]])
    return found.select(*schema, *(name for name in lineage.columns if name not in schema)).cast(schema)


def _read(bodies: pl.Series) -> _Read:
    """The bodies by the fast reading where it can, item by item, the others by the strict one."""
    plain = _plain(bodies)
    others = pl.repeat(value=True, n=bodies.len(), eager=True).scatter(plain.bodies, values=False).arg_true()
    extractor = Extractor()
    for message, body in zip(others, bodies.gather(others), strict=True):
        extractor.add(message, body)
    for message, items_of_it in groupby(plain.odd, key=attrgetter("body")):
        body = Body(bodies[message])
        for odd in items_of_it:
            extractor.add_item(message, odd.item, body)
    strict = extractor.finish()
    items = pl.zeros(bodies.len(), pl.Int64, eager=True).scatter(plain.bodies, plain.items).scatter(others, strict.items)
    return _Read(plain.rows, strict.cells, strict.rejections, items.alias("items"))


def _plain(bodies: pl.Series) -> PlainReading:
    """The fast reading of what it can read. A fault in it costs speed, never a message: one odd bundle must not stop the feed."""
    try:
        return read_plain(bodies)
    except (pl.exceptions.PolarsError, ValueError) as error:
        _logger.warning("The fast reading failed on %d messages (%s); they are read strictly instead.", bodies.len(), type(error).__name__)
        return NOTHING_PLAIN


def _merged(plain: dict[str, pl.DataFrame], strict: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """The rows of both readings, in order. The strict one has whole messages first, and single items of others behind them."""
    in_order = {
        table: pl.concat([plain[table], rows] if table in plain else [rows]).sort("message", "item_index") for table, rows in strict.items()
    }
    found = plain | in_order
    return {table: found[table] for table in silver_tables() if table in found}


def _with_fragments(rejections: pl.DataFrame, bodies: pl.Series) -> pl.DataFrame:
    """Fill in the text of the items that were readable and rejected for their time."""
    known = rejections.filter(pl.col("fragment").is_not_null())
    unknown = rejections.filter(pl.col("fragment").is_null())
    if unknown.is_empty():
        return known
    texts = fragments(bodies.gather(unknown["message"]), unknown["item_index"])
    return pl.concat([known, unknown.with_columns(pl.Series("fragment", texts, pl.String))]).cast(RAW_REJECTIONS)
