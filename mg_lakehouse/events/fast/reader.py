"""The fast path: reads a batch of bodies into typed rows, column by column, with no Python per event.

An item is plain when it is in the catalogue, has an id and a time, each of its children fills a column, no column is filled twice, numbers, times and
booleans are written as machines write them, and there is nothing else: no attribute, comment, unknown child, error list, no entity but XML's own five.
A compiled scanner (``_scan.pyx``) checks this byte by byte. An item that is not plain is parsed alone, as the strict reader would. A bundle that is
unusual outside its items, or whose tags do not balance, goes to the strict reader (:mod:`mg_lakehouse.events.strict.reader`) as a whole.
Both give the same rows, which a property test holds: they differ only in speed.

If the package was installed without a C compiler there is no scanner, and no item is plain.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Final, NamedTuple

import polars as pl
import pyarrow as pa

from mg_lakehouse.events.fast.grammar import Slot, grammar
from mg_lakehouse.events.schemas import TIMESTAMP, in_arrow
from mg_lakehouse.events.strict.cast import typed_schema
from mg_lakehouse.events.strict.reader import Item, read_item
from mg_lakehouse.events.strict.scanner import ENVELOPES

try:
    from mg_lakehouse.events.fast import _scan as machine
except ImportError:  # pragma: no cover  (installed without a compiler)
    machine = None  # type: ignore[assignment]
    logging.getLogger(__name__).warning(
        "The fast path was not compiled when mg-lakehouse was installed, so flattening is several times slower: install a C compiler "
        "and the headers of Python (Debian: gcc python3-dev), then install mg-lakehouse again."
    )

__all__ = ["NOTHING_READ_FAST", "FastReading", "SlowItem", "read_fast"]


class SlowItem(NamedTuple):
    """An item that is not plain, parsed, and the position of its body in the batch."""

    body: int
    item: Item


class FastReading(NamedTuple):
    """The bodies of a batch whose items could be separated, and their items.

    ``bodies`` (UInt32, ascending) are their positions in the batch, ``items`` (UInt32) the number of items in each. ``rows`` has one
    frame per event table with plain items, with the columns of :func:`~mg_lakehouse.events.strict.cast.typed_schema`, ordered by message and
    position; ``odd`` are the items that are not plain.
    """

    bodies: pl.Series
    items: pl.Series
    rows: dict[str, pl.DataFrame]
    odd: list[SlowItem]


NOTHING_READ_FAST: Final = FastReading(pl.Series(dtype=pl.UInt32), pl.Series(dtype=pl.UInt32), {}, [])


def read_fast(bodies: pl.Series | pa.LargeStringArray) -> FastReading:
    """Read those bodies (String, or Arrow's ``large_string``) whose items can be separated by their tags alone."""
    if machine is None or not len(bodies):  # pragma: no branch
        return NOTHING_READ_FAST
    _, starts, data = (bodies if isinstance(bodies, pa.LargeStringArray) else in_arrow(bodies)).buffers()
    if starts is None or data is None:
        return NOTHING_READ_FAST
    scanned = machine.scan(_rules(), memoryview(data).cast("B"), memoryview(starts).cast("B").cast("q")[: len(bodies) + 1])
    odd, broken = _parsed(scanned.odd(), data)
    plain = _numbers(scanned.plain, pa.uint8()).cast(pl.Boolean)
    rows = _rows(scanned)
    if broken:
        plain = plain.scatter(sorted(broken), values=False)
        rows = {table: frame.filter(plain.gather(frame["message"])) for table, frame in rows.items()}
    kept = plain.arg_true().cast(pl.UInt32)
    return FastReading(kept, _numbers(scanned.counts, pa.uint32()).gather(kept), rows, [item for item in odd if item.body not in broken])


@cache
def _rules() -> machine.Grammar:
    rules = grammar()
    bits, types = [slot.bit for slot in rules.slots], [machine.TYPES.index(slot.type) for slot in rules.slots]
    return machine.Grammar(
        rules.items, rules.table_of, len(rules.tables), rules.children, rules.slot_of, bits, types, rules.needed, rules.one_of
    )


def _parsed(found: list[tuple[int, int, int, int, int]], data: pa.Buffer) -> tuple[list[SlowItem], set[int]]:
    """Parse the odd items, each alone. Also returns the bodies to read strictly: an odd item is not well-formed or holds another bundle."""
    parsed: list[SlowItem] = []
    broken: set[int] = set()
    for body, position, start, end, prefix in found:
        if body in broken:
            continue
        text = data[start:end].to_pybytes()
        if prefix:  # all tags have it, and nothing else looks like a tag
            bound = text[1 : 1 + prefix]
            text = text.replace(b"</" + bound, b"</").replace(b"<" + bound, b"<")
        item = read_item(text.decode(), position)
        if item is None or item.element in ENVELOPES:  # the items in it belong to the bundle
            broken.add(body)
        else:
            parsed.append(SlowItem(body, item))
    return parsed, broken


def _rows(scanned: machine.Scanned) -> dict[str, pl.DataFrame]:
    """Make the rows of each table with plain items."""
    rules = grammar()
    places = zip(rules.tables, scanned.rows, scanned.places(), strict=True)
    columns = {
        table: {"message": _numbers(bodies, pa.uint32()), "item_index": _numbers(positions, pa.int64())}
        for table, height, (bodies, positions) in places
        if height
    }
    for number, buffers in scanned.columns([slot.table for slot in rules.slots]).items():
        slot = rules.slots[number]
        columns[rules.tables[slot.table]].update(_columns(slot, scanned.rows[slot.table], buffers))
    return {table: _frame(table, known) for table, known in columns.items()}


def _columns(slot: Slot, height: int, buffers: tuple[bytearray, ...]) -> dict[str, pl.Series]:
    """Make the columns of a slot: its own, and for the event's time also the date and the offset."""
    if slot.type == "string":
        texts, offsets, valid = buffers
        return {slot.column: _series(pa.large_utf8(), height, valid, offsets, texts)}
    values, valid = buffers[:2]
    series = _series(pa.int64(), height, valid, values)
    if slot.type != "timestamp":
        return {slot.column: series.cast(pl.Boolean) if slot.type == "bool" else series}
    times = series.cast(TIMESTAMP)
    if slot.column != "event_at":
        return {slot.column: times}
    minutes, zoned = buffers[2:]
    return {"event_at": times, "event_date": times.dt.date(), "utc_offset_minutes": _series(pa.int64(), height, zoned, minutes)}


def _frame(table: str, known: dict[str, pl.Series]) -> pl.DataFrame:
    height = known["message"].len()
    known["is_inferred"] = _constant(pl.Boolean(), height, value=False)
    return pl.DataFrame({name: known[name] if name in known else _constant(dtype, height) for name, dtype in typed_schema(table).items()})


def _constant(dtype: pl.DataType, height: int, *, value: bool | None = None) -> pl.Series:
    # `pl.repeat` uses the query engine, which took as long as scanning the bodies.
    return pl.Series([value], dtype=dtype).new_from_index(0, height)


def _numbers(data: bytearray, dtype: pa.DataType) -> pl.Series:
    """Make a series of numbers as they are in memory."""
    return _series(dtype, len(data) * 8 // dtype.bit_width, None, data)


def _series(dtype: pa.DataType, height: int, *buffers: bytearray | None) -> pl.Series:
    """Make a series over buffers in Arrow's layout, validity first, without copying them."""
    return pl.Series(pa.Array.from_buffers(dtype, height, [None if buffer is None else pa.py_buffer(buffer) for buffer in buffers]))
