"""The fast path: reads a batch of bodies into rows, column by column, with no Python per event.

A compiled scanner (``_scan.pyx``) reads what is well-formed: attributes, comments, references, sections, empty, repeated and unknown children, items of
unknown names, lists of errors, whatever elements the envelope has. An item whose values are written as machines write them gives a typed row; any other gives
cells of text, of which :mod:`mg_lakehouse.events.strict.cast` makes the row. A body that is surely not well-formed is cut into its items.

What the scanner does not judge is left to the strict reader (:mod:`mg_lakehouse.events.strict.reader`): items that hold something rare, many of them in one
parse; pieces of a body that are not well-formed, each alone; and bodies that are unusual outside their items, as a whole. Both readers give the same
rows, which a property test holds: they differ only in speed.

If the package was installed without a C compiler there is no scanner, and everything is read strictly.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Final, NamedTuple

import polars as pl
import pyarrow as pa

from mg_lakehouse.events.catalogue import UNRECOGNIZED
from mg_lakehouse.events.fast.grammar import ELEMENT, FRAGMENT, IDENTITY, Slot, grammar
from mg_lakehouse.events.schemas import ERRORS, TIMESTAMP, in_arrow
from mg_lakehouse.events.strict.cast import typed_schema
from mg_lakehouse.events.strict.extract import raw_schema
from mg_lakehouse.events.strict.reader import Envelope, Item, Rejection, read_items, read_piece, stray

try:
    from mg_lakehouse.events.fast import _scan as machine
except ImportError:  # pragma: no cover  (installed without a compiler)
    machine = None  # type: ignore[assignment]
    logging.getLogger(__name__).warning(
        "The fast path was not compiled when mg-lakehouse was installed, so flattening is several times slower: install a C compiler "
        "and the headers of Python (Debian: gcc python3-dev), then install mg-lakehouse again."
    )

__all__ = ["NOTHING_READ_FAST", "FastReading", "SlowItem", "is_compiled", "read_fast"]

_READ, _CUT = 1, 2
_ITEM, _PIECE, _STRAY, _OPENING = range(4)
_TOGETHER: Final = 256
"""Items that are parsed at once. Where one of them is not well-formed they are parsed in halves, down to itself."""


class SlowItem(NamedTuple):
    """What the strict reader made of a piece of a body: the position of the body in the batch, and the text of the piece."""

    body: int
    read: Item | Rejection
    text: str

    def text_of(self, _: int) -> str:
        """Return the text of the piece, whatever its position."""
        return self.text


class FastReading(NamedTuple):
    """The bodies of a batch whose items could be separated, and their items.

    ``bodies`` (UInt32, ascending) are their positions in the batch, ``items`` (UInt32) the number of items in each. ``rows`` has one
    frame per event table with typed rows, with the columns of :func:`~mg_lakehouse.events.strict.cast.typed_schema`; ``cells`` one per event table with
    rows that are still to be typed, with those of :func:`~mg_lakehouse.events.strict.extract.raw_schema`; both ordered by message and position. ``odd`` is
    what the strict reader read of these bodies.
    """

    bodies: pl.Series
    items: pl.Series
    rows: dict[str, pl.DataFrame]
    cells: dict[str, pl.DataFrame]
    odd: list[SlowItem]


NOTHING_READ_FAST: Final = FastReading(pl.Series(dtype=pl.UInt32), pl.Series(dtype=pl.UInt32), {}, {}, [])


class _Piece(NamedTuple):
    """A piece of a body that the scanner left to others."""

    kind: int
    body: int
    position: int
    start: int
    end: int
    name: int
    length: int


def is_compiled() -> bool:
    """Whether there is a scanner."""
    return machine is not None


def read_fast(bodies: pl.Series | pa.LargeStringArray) -> FastReading:
    """Read those bodies (String, or Arrow's ``large_string``) whose items can be separated by their tags alone."""
    array = bodies if isinstance(bodies, pa.LargeStringArray) else in_arrow(bodies)
    if machine is None or not len(array) or array.buffers()[2] is None:  # pragma: no branch
        return NOTHING_READ_FAST
    reading, broken = _read(array, cut=False)
    if not broken:
        return reading
    # An item that only looked well-formed: its body is to be cut.
    positions = pl.Series(sorted(broken), dtype=pl.UInt32)
    cut, _ = _read(array.take(positions.to_arrow()), cut=True)
    return _joined(_without(reading, positions), _at(cut, positions))


def _read(array: pa.LargeStringArray, *, cut: bool) -> tuple[FastReading, set[int]]:
    """Scan bodies, and parse what the scanner left. Also returns the bodies that turned out not to be well-formed."""
    _, starts, data = array.buffers()
    assert starts is not None
    assert data is not None
    scanned = machine.scan(_rules(), memoryview(data).cast("B"), memoryview(starts).cast("B").cast("q")[: len(array) + 1], cut=cut)
    pieces = [_Piece(*found) for found in scanned.odd()]
    odd = [*_cut_pieces(pieces, data)] if pieces else []
    items, broken = _items(pieces, data) if pieces else ([], set())
    kept = (_numbers(scanned.states, pa.uint8()) > 0).arg_true().cast(pl.UInt32)
    counts = _numbers(scanned.counts, pa.uint32()).gather(kept)
    rows, cells = _rows(scanned)
    return FastReading(kept, counts, rows, cells, odd + items), broken


@cache
def _rules() -> machine.Grammar:
    rules = grammar()
    slots = [(slot.bit, machine.TYPES.index(slot.type), slot.shared, *slot.entries) for slot in rules.slots]
    return machine.Grammar(
        rules.items, rules.children, rules.tables, rules.kinds, rules.unknown, slots, rules.slot_of, rules.extras, rules.code, rules.message
    )


def _text(data: pa.Buffer, start: int, end: int) -> bytes:
    return data[start:end].to_pybytes()


def _within(pieces: Iterable[_Piece], data: pa.Buffer) -> Iterator[tuple[Envelope, _Piece]]:
    """Yield the pieces, each with the envelope that it stands in."""
    tags: tuple[bytes, ...] = ()
    body = -1
    for piece in pieces:
        if piece.body != body:
            tags, body = (), piece.body
        if piece.kind == _OPENING:
            tags = (*tags[: piece.position], _text(data, piece.start, piece.end))
        else:
            yield Envelope.of(tags), piece


def _cut_pieces(pieces: Sequence[_Piece], data: pa.Buffer) -> Iterator[SlowItem]:
    """Read the pieces of bodies that were cut, each alone."""
    for envelope, piece in _within(pieces, data):
        if piece.kind == _ITEM:
            continue
        fragment = _text(data, piece.start, piece.end).decode()
        name = _text(data, piece.name, piece.name + piece.length).decode() if piece.name >= 0 else None
        if piece.kind == _STRAY:
            yield SlowItem(piece.body, stray(piece.position, name, fragment), fragment)
        else:
            yield SlowItem(piece.body, read_piece(envelope, piece.position, name, fragment), fragment)


def _items(pieces: Sequence[_Piece], data: pa.Buffer) -> tuple[list[SlowItem], set[int]]:
    """Parse the items of bodies that are well-formed outside of these. Also returns the bodies in which one of them is not."""
    parsed: list[SlowItem] = []
    broken: set[int] = set()
    alike = groupby(((envelope, piece) for envelope, piece in _within(pieces, data) if piece.kind == _ITEM), key=lambda pair: pair[0])
    for envelope, group in alike:
        left = [piece for _, piece in group]
        for start in range(0, len(left), _TOGETHER):
            _parse(envelope, left[start : start + _TOGETHER], data, parsed, broken)
    return [item for item in parsed if item.body not in broken], broken


def _parse(envelope: Envelope, pieces: Sequence[_Piece], data: pa.Buffer, parsed: list[SlowItem], broken: set[int]) -> None:
    """Parse items in one go, or, where that fails, in halves."""
    pieces = [piece for piece in pieces if piece.body not in broken] if broken else pieces
    texts = [_text(data, piece.start, piece.end) for piece in pieces]
    found = read_items(envelope, texts, [piece.position for piece in pieces])
    if found is not None:
        parsed.extend(SlowItem(piece.body, item, text.decode()) for piece, item, text in zip(pieces, found, texts, strict=True))
    elif len(pieces) == 1:
        broken.add(pieces[0].body)
    else:
        middle = len(pieces) // 2
        _parse(envelope, pieces[:middle], data, parsed, broken)
        _parse(envelope, pieces[middle:], data, parsed, broken)


def _without(reading: FastReading, broken: pl.Series) -> FastReading:
    """Return a reading without some bodies."""
    kept = ~reading.bodies.is_in(broken.implode())

    def frames(found: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        left = {table: frame.filter(~frame["message"].is_in(broken.implode())) for table, frame in found.items()}
        return {table: frame for table, frame in left.items() if frame.height}

    return FastReading(reading.bodies.filter(kept), reading.items.filter(kept), frames(reading.rows), frames(reading.cells), reading.odd)


def _at(reading: FastReading, positions: pl.Series) -> FastReading:
    """Return the reading of some bodies of a batch as one of the batch."""

    def frames(found: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        return {table: frame.with_columns(message=positions.gather(frame["message"])) for table, frame in found.items()}

    odd = [slow._replace(body=positions[slow.body]) for slow in reading.odd]
    return FastReading(positions.gather(reading.bodies), reading.items, frames(reading.rows), frames(reading.cells), odd)


def _joined(one: FastReading, other: FastReading) -> FastReading:
    """Join the readings of different bodies of a batch."""
    counts = pl.DataFrame({"bodies": pl.concat([one.bodies, other.bodies]), "items": pl.concat([one.items, other.items])}).sort("bodies")

    def frames(its: dict[str, pl.DataFrame], others: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
        both = {table: pl.concat([its[table], others[table]]).sort("message", "item_index") for table in its if table in others}
        return its | others | both

    return FastReading(counts["bodies"], counts["items"], frames(one.rows, other.rows), frames(one.cells, other.cells), one.odd + other.odd)


def _rows(scanned: machine.Scanned) -> tuple[dict[str, pl.DataFrame], dict[str, pl.DataFrame]]:
    """Make the typed rows, and the rows of text cells, of each table."""
    rules = grammar()
    tables, slots = len(rules.tables), len(rules.slots)
    rows, places = scanned.rows, scanned.places()
    columns: dict[int, dict[str, pl.Series]] = {number: {} for number in range(2 * tables) if rows[number]}
    found = scanned.columns([slot.table + half for half in (0, tables) for slot in rules.slots])
    for number, buffers in found.items():
        slot, half = rules.slots[number % slots], tables * (number >= slots)
        table = slot.table + half
        columns[table].update(_text_column(slot, rows[table], buffers) if half else _columns(slot, rows[table], buffers))
    for slot in rules.slots:
        for half in (0, tables):
            if slot.type == "errors" and slot.entries.table + half in columns:
                entries = _numbers(places[slot.entries.table + half][0], pa.uint32())
                columns[slot.table + half][slot.column] = _errors(columns[slot.entries.table + half], entries, rows[slot.table + half])
    typed, cells = {}, {}
    for number, known in columns.items():
        name = rules.tables[number % tables]
        if "/" in name:
            continue
        bodies, positions, kinds = places[number]
        known |= {"message": _numbers(bodies, pa.uint32()), "item_index": _numbers(positions, pa.int64())}
        known["is_inferred"] = _numbers(kinds, pa.uint16()).is_in(sorted(rules.inferred))
        _identify(known)
        if number >= tables:
            cells[name] = _frame(known, raw_schema(name))
            continue
        if name == UNRECOGNIZED:
            known |= {"element": known[ELEMENT], "item_xml": known[FRAGMENT]}
        typed[name] = _frame(known, typed_schema(name))
    return typed, cells


def _identify(known: dict[str, pl.Series]) -> None:
    """Give the items that have none their ids: the same content in the same table gets the same."""
    identities = known.pop(IDENTITY, None)
    if identities is None:
        return
    without = identities.is_not_null().arg_true()
    sha256 = hashlib.sha256
    ids = [f"sha256:{sha256(text).hexdigest()}" for text in identities.gather(without).cast(pl.Binary).to_list()]
    own = known.get("activity_id", _constant(pl.String(), identities.len()))
    known["activity_id"] = own.scatter(without, ids)


def _errors(entries: dict[str, pl.Series], rows: pl.Series, height: int) -> pl.Series:
    """Make the column of error lists of a table of so many rows, given its entries and the row of each."""
    nothing = _constant(pl.String(), rows.len())
    known = pl.DataFrame({"row": rows, **{name: entries.get(name, nothing) for name in ("error_code", "error_message")}})
    lists = known.group_by("row").agg(errors=pl.struct("error_code", "error_message")).cast({"errors": ERRORS})
    return pl.DataFrame({"row": pl.int_range(height, dtype=pl.UInt32, eager=True)}).join(
        lists, on="row", how="left", maintain_order="left"
    )["errors"]


def _columns(slot: Slot, height: int, buffers: tuple[bytearray, ...]) -> dict[str, pl.Series]:
    """Make the columns of a slot: its own, and for the event's time also the date and the offset."""
    if slot.type == "string":
        return _text_column(slot, height, buffers)
    values, valid = buffers[:2]
    series = _series(pa.int64(), height, valid, values)
    if slot.type != "timestamp":
        return {slot.column: series.cast(pl.Boolean) if slot.type == "bool" else series}
    times = series.cast(TIMESTAMP)
    if slot.column != "event_at":
        return {slot.column: times}
    minutes, zoned = buffers[2:]
    return {"event_at": times, "event_date": times.dt.date(), "utc_offset_minutes": _series(pa.int64(), height, zoned, minutes)}


def _text_column(slot: Slot, height: int, buffers: tuple[bytearray, ...]) -> dict[str, pl.Series]:
    texts, offsets, valid = buffers
    return {slot.column: _series(pa.large_utf8(), height, valid, offsets, texts)}


def _frame(known: dict[str, pl.Series], schema: pl.Schema) -> pl.DataFrame:
    height = known["message"].len()
    return pl.DataFrame({name: known[name] if name in known else _constant(dtype, height) for name, dtype in schema.items()})


def _constant(dtype: pl.DataType, height: int) -> pl.Series:
    # `pl.repeat` uses the query engine, which took as long as scanning the bodies.
    return pl.Series([None], dtype=dtype).new_from_index(0, height)


def _numbers(data: bytearray, dtype: pa.DataType) -> pl.Series:
    """Make a series of numbers as they are in memory."""
    return _series(dtype, len(data) * 8 // dtype.bit_width, None, data)


def _series(dtype: pa.DataType, height: int, *buffers: bytearray | None) -> pl.Series:
    """Make a series over buffers in Arrow's layout, validity first, without copying them."""
    return pl.Series(pa.Array.from_buffers(dtype, height, [None if buffer is None else pa.py_buffer(buffer) for buffer in buffers]))
