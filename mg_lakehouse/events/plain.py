"""The fast reading of plain items: a batch of bodies to text cells, column by column, with no Python per event.

An item is plain when it is of the catalogue, each of its children fills a column, no column is filled twice, and there is nothing
else: no attribute, comment, unknown child, error list, no entity but XML's own five, and an id. Whether it is so is proved byte by byte
by a machine that is compiled (``_plain.pyx``). An item that is not plain is parsed alone, as the strict reader would; a bundle in which
anything but its items is out of the ordinary, or whose tags do not balance, is left to the strict reader
(:mod:`mg_lakehouse.events.reader`) as a whole. Both give the same cells, which a property test holds: they differ in speed only.

Where the package was installed without a C compiler there is no machine, and no item is plain.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Final, NamedTuple

import polars as pl
import pyarrow as pa

from mg_lakehouse.events.extract import raw_schema
from mg_lakehouse.events.grammar import grammar
from mg_lakehouse.events.reader import Item, read_item
from mg_lakehouse.events.schemas import ERRORS

try:
    from mg_lakehouse.events import _plain as machine
except ImportError:  # pragma: no cover  (installed without a compiler)
    machine = None  # type: ignore[assignment]
    logging.getLogger(__name__).warning(
        "The fast reading was not compiled when mg-lakehouse was installed, so flattening is several times slower; install a C compiler "
        "and the headers of Python (Debian: gcc python3-dev), then mg-lakehouse again."
    )

__all__ = ["NOTHING_PLAIN", "OddItem", "PlainReading", "read_plain"]


class OddItem(NamedTuple):
    """An item that is not plain, parsed, and the position of its body in the batch."""

    body: int
    item: Item


class PlainReading(NamedTuple):
    """What the bodies of a batch hold whose items could be told apart.

    ``bodies`` (UInt32, ascending) are their positions in the batch, ``items`` (UInt32) how many items each of them has. ``cells`` has one
    frame per event table with plain items, with the columns of :func:`~mg_lakehouse.events.extract.raw_schema`, ordered by message and
    position; ``odd`` are the items that are not plain.
    """

    bodies: pl.Series
    items: pl.Series
    cells: dict[str, pl.DataFrame]
    odd: list[OddItem]


NOTHING_PLAIN: Final = PlainReading(pl.Series(dtype=pl.UInt32), pl.Series(dtype=pl.UInt32), {}, [])


def read_plain(bodies: pl.Series) -> PlainReading:
    """Read those of some bodies (String) whose items can be told apart by their tags alone."""
    if machine is None or bodies.is_empty():  # pragma: no branch
        return NOTHING_PLAIN
    _, starts, data = bodies.to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
    if starts is None or data is None:
        return NOTHING_PLAIN
    scanned = machine.scan(_rules(), memoryview(data).cast("B"), memoryview(starts).cast("B").cast("q")[: bodies.len() + 1])
    odd, broken = _parsed(scanned.odd(), data)
    plain = _series(scanned.plain, pa.uint8()).cast(pl.Boolean)
    if broken:
        plain = plain.scatter(sorted(broken), values=False)
    kept = plain.arg_true().cast(pl.UInt32)
    cells = {table: frame.filter(plain.gather(frame["message"])) if broken else frame for table, frame in _cells(scanned).items()}
    return PlainReading(kept, _series(scanned.counts, pa.uint32()).gather(kept), cells, [each for each in odd if each.body not in broken])


@cache
def _rules() -> machine.Grammar:
    rules = grammar()
    bits = [slot.bit for slot in rules.slots]
    return machine.Grammar(rules.items, rules.table_of, len(rules.tables), rules.children, rules.slot_of, bits, rules.needed, rules.one_of)


def _parsed(found: list[tuple[int, int, int, int, int]], data: pa.Buffer) -> tuple[list[OddItem], set[int]]:
    """The odd items, each parsed alone; and the bodies of those that are not well-formed, which are whole only by chance."""
    parsed: list[OddItem] = []
    broken: set[int] = set()
    for body, position, start, end, prefix in found:
        if body in broken:
            continue
        text = data[start:end].to_pybytes()
        if prefix:  # all tags have it, and nothing else begins like a tag
            bound = text[1 : 1 + prefix]
            text = text.replace(b"</" + bound, b"</").replace(b"<" + bound, b"<")
        item = read_item(text.decode(), position)
        if item is None:
            broken.add(body)
        else:
            parsed.append(OddItem(body, item))
    return parsed, broken


def _cells(scanned: machine.Scanned) -> dict[str, pl.DataFrame]:
    """Cells of each table with plain items."""
    rules = grammar()
    names = pl.Series(rules.items)
    columns = scanned.columns([slot.table for slot in rules.slots])
    found: dict[str, dict[str, pl.Series]] = {}
    for table, height, places in zip(rules.tables, scanned.rows, scanned.places(), strict=True):
        if height:
            found[table] = {
                "message": _series(places[0], pa.uint32()),
                "item_index": _series(places[1], pa.int64()),
                "element": names.gather(_series(places[2], pa.uint8())),
                "is_inferred": pl.repeat(value=False, n=height, eager=True),
            }
    for number, (texts, offsets, valid) in columns.items():
        slot = rules.slots[number]
        height = scanned.rows[slot.table]
        buffers: list[pa.Buffer | None] = [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(texts)]
        found[rules.tables[slot.table]][slot.column] = pl.Series(pa.Array.from_buffers(pa.large_utf8(), height, buffers))
    return {table: _frame(table, known) for table, known in found.items()}


def _frame(table: str, known: dict[str, pl.Series]) -> pl.DataFrame:
    height = known["message"].len()
    empty: dict[pl.DataType, pl.Series] = {
        dtype: pl.Series([None], dtype=dtype).new_from_index(0, height) for dtype in (pl.String(), ERRORS)
    }
    return pl.DataFrame({name: known.get(name, empty.get(dtype)) for name, dtype in raw_schema(table).items()})


def _series(data: bytearray, dtype: pa.DataType) -> pl.Series:
    """Numbers as they stand in memory."""
    return pl.Series(pa.Array.from_buffers(dtype, len(data) * 8 // dtype.bit_width, [None, pa.py_buffer(data)]))
