"""Flattens bronze rows into silver rows: bodies in, one frame per event table out, and nothing is lost.

Pure: takes a frame of messages and returns frames. Bodies are unwrapped first (:mod:`mg_lakehouse.events.formats.envelopes`). Plain items take the fast path (:mod:`mg_lakehouse.events.fast.reader`), all others
the strict reader (:mod:`mg_lakehouse.events.strict.reader`, :mod:`mg_lakehouse.events.strict.extract`, :mod:`mg_lakehouse.events.strict.cast`). The rows and rejects of each
message are checked against a count that uses no reader (:mod:`mg_lakehouse.events.item_count`). De-duplication belongs to
:mod:`mg_lakehouse.events.dedupe`, commits to :mod:`mg_lakehouse.silver.commit`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

import polars as pl
import pyarrow as pa

from mg_lakehouse.events.catalogue import REJECTED_ITEMS, UNRECOGNIZED, silver_tables
from mg_lakehouse.events.fast.reader import NOTHING_READ_FAST, FastReading, is_compiled, read_fast
from mg_lakehouse.events.formats.envelopes import unwrap, unwrap_all
from mg_lakehouse.events.item_count import starts_of
from mg_lakehouse.events.rejects import Reason
from mg_lakehouse.events.schemas import in_arrow, silver_schema
from mg_lakehouse.events.strict.cast import type_cells
from mg_lakehouse.events.strict.extract import RAW_REJECTIONS, Extractor
from mg_lakehouse.events.strict.reader import Body, Rejection

__all__ = ["Flattened", "flatten", "fragments"]

_logger = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 16 * 2**20
"""Bytes of bodies that one thread takes at a time: small next to a machine's memory, large next to the cost of a call."""


@dataclass(frozen=True)
class Flattened:
    """The rows of a batch of messages, before de-duplication.

    ``tables`` has the event tables with rows, ``rejected`` the rows of ``rejected_items``; each with the
    contract's columns, and the carried ones behind them. ``items_of`` counts the items seen in each message, readable
    or not, so that ``items == sum of rows + rejected``. ``counted_of`` counts how many there must be: those seen, plus those that begin in the message and
    are in no row and no reject. Both are the same if nothing is missing. Both are Int64.
    """

    tables: dict[str, pl.DataFrame]
    rejected: pl.DataFrame
    items_of: pl.Series
    counted_of: pl.Series

    @property
    def messages(self) -> int:
        """Number of messages."""
        return self.items_of.len()

    @property
    def items(self) -> int:
        """Number of items in all of them."""
        return int(self.items_of.sum())

    @property
    def counted(self) -> int:
        """Number of items that must be in all of them."""
        return int(self.counted_of.sum())


class _Read(NamedTuple):
    """The reading of some bodies: typed rows by table, cells still to be typed, rejects, each body's items and the items that begin in it."""

    rows: dict[str, pl.DataFrame]
    cells: dict[str, pl.DataFrame]
    rejections: pl.DataFrame
    items: pl.Series
    starts: pl.Series


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
        merged = _merged(read.rows, {table: strict.rows for table, strict in typed.items() if strict.rows.height})
        rows = pool.map(lambda table: _with_lineage(merged[table], lineage, silver_schema(table)), merged)
        tables = dict(zip(merged, rows, strict=True))
    rejections = pl.concat([read.rejections, *(strict.rejections for strict in typed.values())])
    account = _accounted(read, merged, rejections, messages["body"])
    rejected = _with_lineage(_with_fragments(account.rejections, messages["body"]), lineage, silver_schema(REJECTED_ITEMS))
    return Flattened(
        tables, rejected.sort("received_at", "message_id", "item_index", nulls_last=False), account.items.alias("items"), account.counted
    )


class _Account(NamedTuple):
    """All rejects, and for each message the items seen and the items that there must be."""

    rejections: pl.DataFrame
    items: pl.Series
    counted: pl.Series


def _accounted(read: _Read, rows: dict[str, pl.DataFrame], rejections: pl.DataFrame, bodies: pl.Series) -> _Account:
    """Check each message's rows and rejects against the items that begin in it. A message that falls short gets a reject, so that its items are accounted for."""
    # The reject of a whole message holds all of its items.
    starts = read.starts.scatter(rejections.filter(pl.col("item_index").is_null())["message"], 0)
    lacking = (starts - _placed(rows, rejections, bodies.len())).clip(0)
    items = read.items
    if not (overlooked := _falling_short(lacking)).is_empty():
        rejections = pl.concat([rejections, _overlooked(overlooked, starts, lacking, bodies)])
        everything = _heights([*(frame["message"] for frame in rows.values()), rejections["message"]], bodies.len())
        items = items.scatter(overlooked, everything.gather(overlooked))
        lacking = lacking.scatter(overlooked, 0)
    return _Account(rejections, items, items + lacking)


def _falling_short(lacking: pl.Series) -> pl.Series:
    """Return the messages that lack items: more items begin in them than they have rows and rejects."""
    return (lacking > 0).arg_true()


def _placed(rows: dict[str, pl.DataFrame], rejections: pl.DataFrame, count: int) -> pl.Series:
    """Count each message's rows and rejects that begin an item: a reject of stray text must not stand in for a missing item."""
    begins = pl.col("element").str.ends_with("Activity")
    placed = [frame.filter(begins) if table == UNRECOGNIZED else frame for table, frame in rows.items()]
    return _heights([*(frame["message"] for frame in placed), rejections.filter(begins)["message"]], count)


def _heights(messages: Sequence[pl.Series], count: int) -> pl.Series:
    """Count how often each message occurs in some columns; Int64."""
    counts = pl.concat(messages).value_counts()
    return pl.zeros(count, pl.Int64, eager=True).scatter(counts["message"], counts["count"].cast(pl.Int64))


def _overlooked(messages: pl.Series, starts: pl.Series, lacking: pl.Series, bodies: pl.Series) -> pl.DataFrame:
    """Make a reject for each message that lacks items: it shows the fault, and every item is in a row or a reject."""
    _logger.error("Items of %d messages were not read: see reason %s in rejected_items.", messages.len(), Reason.OVERLOOKED_ITEMS.value)
    details = [
        f"{begin} items begin in the body, and {missing} of them are in no row. This is a fault of mg-lakehouse: report it, and run "
        "`mg-lakehouse backfill` of the day with a release that mends it."
        for begin, missing in zip(starts.gather(messages), lacking.gather(messages), strict=True)
    ]
    rejects = {"message": messages, "reason": Reason.OVERLOOKED_ITEMS.value, "detail": details, "fragment": bodies.gather(messages)}
    nothing = (pl.lit(None).alias(name) for name in ("item_index", "element"))
    return pl.DataFrame(rejects).with_columns(*nothing).select(RAW_REJECTIONS.names()).cast(RAW_REJECTIONS)


def fragments(bodies: Iterable[str], indexes: Iterable[int]) -> list[str]:
    """Return the texts of single items as received, given each one's body and position.

    A body is unwrapped and cut once for consecutive items of it.
    """
    texts: list[str] = []
    received, body = "", Body("")
    for text, index in zip(bodies, indexes, strict=True):
        if text != received:
            received, body = text, Body(unwrap(text).text)
        texts.append(body.fragment(index))
    return texts


def _chunks(bodies: pl.Series) -> Iterator[pl.Series]:
    """Yield the bodies in chunks of about ``_CHUNK_BYTES``, at least one."""
    chunk = bodies.str.len_bytes().cast(pl.UInt64).cum_sum() // _CHUNK_BYTES
    starts = [0, *(chunk != chunk.shift(1)).arg_true()]
    for start, end in zip(starts, [*starts[1:], bodies.len()], strict=True):
        if end > start or bodies.is_empty():
            yield bodies.slice(start, end - start)


def _together(chunks: list[pl.Series], parts: list[_Read]) -> _Read:
    """Join the readings of a batch's chunks into one."""
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
        pl.concat([part.starts for part in parts]),
    )


def _with_lineage(rows: pl.DataFrame, lineage: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Add the lineage to rows: the contract's columns come first, the carried ones behind them."""
    traced = rows.hstack(lineage[rows["message"]])
    return traced.select(*schema, *(name for name in lineage.columns if name not in schema)).cast(schema)


def _read(bodies: pl.Series) -> _Read:
    """Read bodies by the fast path where possible, item by item, and by the strict reader otherwise."""
    opened = unwrap_all(bodies)
    texts, arrow = opened.texts, in_arrow(opened.texts)
    plain = _plain(arrow)
    others = pl.repeat(value=True, n=bodies.len(), eager=True).scatter(plain.bodies, values=False).arg_true()
    extractor = Extractor(by_patterns=not is_compiled())
    for message, text in zip(others, texts.gather(others), strict=True):
        if message in opened.refused:
            extractor.refuse(message, opened.refused[message], bodies[message])
        else:
            extractor.add(message, text)
    for odd in plain.odd:
        if isinstance(odd.read, Rejection):
            extractor.reject(odd.body, odd.read)
        else:
            extractor.add_item(odd.body, odd.read, odd.text_of)
    strict = extractor.finish()
    items = pl.zeros(bodies.len(), pl.Int64, eager=True).scatter(plain.bodies, plain.items).scatter(others, strict.items)
    cells = plain.cells | {
        table: pl.concat([plain.cells[table], found]) if table in plain.cells else found for table, found in strict.cells.items()
    }
    return _Read(plain.rows, cells, strict.rejections, items.alias("items"), starts_of(arrow))


def _plain(bodies: pa.LargeStringArray) -> FastReading:
    """Read what the fast path can read. A bug in it costs speed, never a message: one odd bundle must not stop the feed."""
    try:
        return read_fast(bodies)
    except (pl.exceptions.PolarsError, ValueError) as error:
        _logger.warning(
            "The fast path failed on %d messages (%s); the strict reader reads them instead.", len(bodies), type(error).__name__
        )
        return NOTHING_READ_FAST


def _merged(plain: dict[str, pl.DataFrame], strict: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Merge the rows of both readings, in order. The strict one has whole messages first, and single items of others behind them."""
    in_order = {
        table: pl.concat([plain[table], rows] if table in plain else [rows]).sort("message", "item_index") for table, rows in strict.items()
    }
    merged = plain | in_order
    return {table: merged[table] for table in silver_tables() if table in merged}


def _with_fragments(rejections: pl.DataFrame, bodies: pl.Series) -> pl.DataFrame:
    """Fill in the text of items that were readable and rejected for their time."""
    known = rejections.filter(pl.col("fragment").is_not_null())
    unknown = rejections.filter(pl.col("fragment").is_null())
    if unknown.is_empty():
        return known
    texts = fragments(bodies.gather(unknown["message"]), unknown["item_index"])
    return pl.concat([known, unknown.with_columns(pl.Series("fragment", texts, pl.String))]).cast(RAW_REJECTIONS)
