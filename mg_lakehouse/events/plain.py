"""The fast reading of plain bundles: a batch of bodies to text cells, column by column, with no Python per event.

A bundle is plain when its items are of the catalogue, each child fills a column of its item, no column is filled twice, and there
is nothing else: no attribute, prefix, comment, unknown child, error list, or item without an id. Whether it is so is proved tag by
tag; a bundle that fails any test is left to the strict reader (:mod:`mg_lakehouse.events.reader`) as a whole. Both give the
same cells, which a property test holds: they differ in speed only.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple

import polars as pl

from mg_lakehouse.events.catalogue import EVENTS, event_of_element, event_of_table
from mg_lakehouse.events.extract import filled_columns, raw_schema
from mg_lakehouse.events.tokens import BLANK, Tokens, tokenize

__all__ = ["PlainReading", "read_plain"]


class PlainReading(NamedTuple):
    """What the plain bodies of a batch hold.

    ``bodies`` (UInt32, ascending) are the positions in the batch of the bodies that were read, ``items`` (UInt32) how many items each
    of them has. ``cells`` has one frame per event table with rows, with the columns of :func:`~mg_lakehouse.events.extract.raw_schema`,
    ordered by message and position.
    """

    bodies: pl.Series
    items: pl.Series
    cells: dict[str, pl.DataFrame]


class _Kind(IntEnum):
    """What a tag is. ``BOUNDARY`` is no tag but what stands before a body; a tag of no kind is null."""

    BOUNDARY = 0
    ROOT_OPEN = 1
    ROOT_CLOSE = 2
    ITEM_OPEN = 3
    ITEM_CLOSE = 4
    CHILD_OPEN = 5
    CHILD_CLOSE = 6
    CHILD_EMPTY = 7


_FOLLOWS: Final = {
    _Kind.BOUNDARY: {_Kind.ROOT_OPEN},
    _Kind.ROOT_OPEN: {_Kind.ITEM_OPEN, _Kind.ROOT_CLOSE},
    _Kind.ROOT_CLOSE: set[_Kind](),
    _Kind.ITEM_OPEN: {_Kind.CHILD_OPEN, _Kind.CHILD_EMPTY, _Kind.ITEM_CLOSE},
    _Kind.ITEM_CLOSE: {_Kind.ITEM_OPEN, _Kind.ROOT_CLOSE},
    _Kind.CHILD_OPEN: {_Kind.CHILD_CLOSE},
    _Kind.CHILD_CLOSE: {_Kind.CHILD_OPEN, _Kind.CHILD_EMPTY, _Kind.ITEM_CLOSE},
    _Kind.CHILD_EMPTY: {_Kind.CHILD_OPEN, _Kind.CHILD_EMPTY, _Kind.ITEM_CLOSE},
}
"""Which kinds of tags may stand behind which. Nothing stands behind the end of a bundle."""

# XML's own entities; `&amp;` too is replaced in the one pass, so that `&amp;lt;` becomes `&lt;`.
_ENTITIES: Final = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&amp;": "&"}
_KNOWN_ENTITIES_ONLY: Final = r"^[^&\r]*(?:&(?:lt|gt|quot|apos|amp);[^&\r]*)*$"


class _Slot(NamedTuple):
    table: str
    column: str


class _Grammar(NamedTuple):
    """The catalogue as look-up tables. A name has a number: the root 0, items from 1, children behind them.

    ``vocabulary`` holds each name's start tag, then each name's end tag, then each name's empty tag: the code of a tag is its place.
    ``slots`` are the columns that children fill, ``slot_of`` (item number x children + child number) says which.
    """

    names: int
    items: tuple[str, ...]
    children: int
    vocabulary: pl.Enum
    kind_of: pl.Series
    follows: pl.Series
    slots: tuple[_Slot, ...]
    slot_of: pl.Series


@cache
def _grammar() -> _Grammar:
    filled = {
        (element, child): _Slot(event.table, column.name)
        for event in EVENTS
        for column in filled_columns(event)
        if column.type != "errors"
        for element in event.elements
        for child in column.elements
    }
    items = tuple(dict.fromkeys(element for element, _ in filled))
    children = tuple(dict.fromkeys(child for _, child in filled))
    names = ("ActivityItems", *items, *children)
    slots = tuple(dict.fromkeys(filled.values()))
    kinds = [
        *(_Kind.ROOT_OPEN, *[_Kind.ITEM_OPEN] * len(items), *[_Kind.CHILD_OPEN] * len(children)),
        *(_Kind.ROOT_CLOSE, *[_Kind.ITEM_CLOSE] * len(items), *[_Kind.CHILD_CLOSE] * len(children)),
        *(None, *[None] * len(items), *[_Kind.CHILD_EMPTY] * len(children)),
    ]
    return _Grammar(
        len(names),
        items,
        len(children),
        pl.Enum([*(f"<{name}" for name in names), *(f"</{name}" for name in names), *(f"<{name}/" for name in names)]),
        pl.Series(kinds, dtype=pl.UInt8),
        pl.Series([kind in _FOLLOWS[before] for before in _Kind for kind in _Kind]),
        slots,
        pl.Series(
            [slots.index(filled[pair]) if (pair := (item, child)) in filled else None for item in items for child in children],
            dtype=pl.UInt16,
        ),
    )


def read_plain(bodies: pl.Series) -> PlainReading:
    """Read those of some bodies (String) that are plain, each as a whole or not at all."""
    tokens = tokenize(bodies)
    if tokens is None:
        return PlainReading(pl.Series(dtype=pl.UInt32), pl.Series(dtype=pl.UInt32), {})
    grammar = _grammar()
    tags, malformed = _well_formed(_tags(tokens, grammar), tokens)
    items = _items(tags, grammar)
    children = _children(tags, items, grammar)
    filled = _filled(children, tokens.special)
    cells = {}
    for (table,), own in items.partition_by("table", as_dict=True, include_key=False).items():
        cells[str(table)] = _cells(str(table), own, filled)
    odd_items = [items.filter(pl.col("closes") != pl.col("number"))["body"], items["body"].gather(_odd(children, filled))]
    unfit = [found.filter(_unfit(found, table))["message"] for table, found in cells.items()]
    return _without(pl.concat([malformed, *odd_items, *unfit]).unique(), tokens, items, cells)


def _tags(tokens: Tokens, grammar: _Grammar) -> pl.DataFrame:
    """Each tag with its ``code`` and ``kind`` (null where the grammar has none), its stripped ``text``, the ordinal of its ``body``."""
    code = tokens.tags.cast(grammar.vocabulary, strict=False).to_physical().cast(pl.UInt16)
    begins = pl.zeros(code.len(), pl.UInt32, eager=True).scatter(tokens.first, 1)
    return pl.DataFrame(
        {
            "code": code,
            "kind": grammar.kind_of.gather(code),
            "text": tokens.texts.str.strip_chars(BLANK),
            "body": begins.cum_sum() - 1,
        }
    )


def _well_formed(tags: pl.DataFrame, tokens: Tokens) -> tuple[pl.DataFrame, pl.Series]:
    """The tags of the bodies whose tags are nested as they should be, and which bodies' are not."""
    grammar = _grammar()
    kind, code = tags["kind"], tags["code"]
    before = kind.shift(1).scatter(tokens.first, _Kind.BOUNDARY.value)
    follows = grammar.follows.gather(before * len(_Kind) + kind).fill_null(value=False)
    closes = (kind != _Kind.CHILD_CLOSE.value) | (code == code.shift(1) + grammar.names)
    blank = (kind == _Kind.CHILD_OPEN.value) | (tags["text"].str.len_bytes() == 0)
    odd = tags["body"].filter(~(follows & closes & blank).fill_null(value=False))
    last = pl.concat([tokens.first.slice(1), pl.Series([kind.len()], dtype=pl.UInt32)]) - 1
    unended = (kind.gather(last).fill_null(_Kind.BOUNDARY.value) != _Kind.ROOT_CLOSE.value).arg_true()
    odd = pl.concat([odd, unended.cast(pl.UInt32)]).unique()
    return (tags.filter(~tags["body"].is_in(odd.implode())) if odd.len() else tags), odd


def _items(tags: pl.DataFrame, grammar: _Grammar) -> pl.DataFrame:
    """Each item: its ``body``, the ``number`` of its name and of the name that ``closes`` it, its ``table`` and ``row`` there, its ``item_index``."""
    opens = tags.filter(pl.col("kind") == _Kind.ITEM_OPEN.value)
    closes = tags["code"].filter(tags["kind"] == _Kind.ITEM_CLOSE.value) - grammar.names
    tables = pl.Series([event.table for item in grammar.items if (event := event_of_element(item))], dtype=pl.Categorical)
    return opens.select(
        "body",
        item_index=pl.int_range(pl.len()).over("body"),
        number="code",
        closes=closes,
        table=tables.gather(opens["code"] - 1),
    ).with_columns(row=pl.int_range(pl.len(), dtype=pl.UInt32).over("table"))


def _children(tags: pl.DataFrame, items: pl.DataFrame, grammar: _Grammar) -> pl.DataFrame:
    """Each child: the ordinal of its ``item``, the ``row`` of that in its table, the ``slot`` that it fills (null for none), its ``text``.

    Ordered by slot, those of none first, and within one by item.
    """
    item = (tags["kind"] == _Kind.ITEM_OPEN.value).cum_sum() - 1
    own = tags.with_columns(item=item).filter(pl.col("kind").is_in([_Kind.CHILD_OPEN.value, _Kind.CHILD_EMPTY.value]))
    child = own["code"] % grammar.names - len(grammar.items) - 1
    number = items["number"].gather(own["item"]) - 1
    slots = grammar.slot_of.gather(number * grammar.children + child)
    return own.select("item", "text", row=items["row"].gather(own["item"]), slot=slots).sort("slot", maintain_order=True, nulls_last=False)


class _Filled(NamedTuple):
    """The children of each slot: where they begin and end, and their texts: decoded, null where empty.

    ``strange`` (UInt32) are the positions of texts that only the strict reader understands, ``repeated`` those that fill a column again.
    """

    bounds: dict[_Slot, tuple[int, int]]
    rows: pl.Series
    texts: pl.Series
    strange: pl.Series
    repeated: pl.Series


def _filled(children: pl.DataFrame, special: tuple[str, ...]) -> _Filled:
    grammar = _grammar()
    slot, text = children["slot"], children["text"]
    starts = slot.search_sorted(pl.Series(range(len(grammar.slots) + 1), dtype=slot.dtype)).to_list()
    bounds = {each: bound for each, bound in zip(grammar.slots, pairwise(starts), strict=True) if bound[0] < bound[1]}
    marked = children.select(pl.any_horizontal(pl.lit(value=False), *(pl.col("text").str.contains(sign, literal=True) for sign in special)))
    positions = marked.to_series().arg_true()
    strange = positions.filter(~text.gather(positions).str.contains(_KNOWN_ENTITIES_ONLY))
    decoded = _decoded(text, positions).set(text.str.len_bytes() == 0, None)
    repeated = ((slot == slot.shift(1)) & (children["item"] == children["item"].shift(1))).arg_true()
    return _Filled(bounds, children["row"], decoded, strange, repeated)


def _decoded(text: pl.Series, positions: pl.Series) -> pl.Series:
    """The texts, those at some positions with XML's own entities replaced."""
    if positions.is_empty():
        return text
    # Put behind the others and gathered into their places: to write into a column of text copies all of it, piece by piece.
    place = pl.int_range(text.len(), dtype=pl.UInt32, eager=True).scatter(
        positions, pl.int_range(text.len(), text.len() + positions.len(), dtype=pl.UInt32, eager=True)
    )
    return pl.concat([text, text.gather(positions).str.replace_many(_ENTITIES)]).gather(place)


def _odd(children: pl.DataFrame, filled: _Filled) -> pl.Series:
    """Ordinals of the items with a child that keeps their bundle from being plain."""
    return pl.concat(
        [children["item"].head(children["slot"].null_count()), children["item"].gather(pl.concat([filled.strange, filled.repeated]))]
    )


def _cells(table: str, items: pl.DataFrame, filled: _Filled) -> pl.DataFrame:
    """Cells of a table, with the ordinal of the ``body`` in the place of the message."""
    frame = items.select(
        message="body",
        item_index="item_index",
        element=pl.Series(("", *_grammar().items)).gather(items["number"]),
        is_inferred=pl.lit(value=False),
    )
    columns = {
        column: _column(filled, bounds, items.height)
        for column in raw_schema(table)
        if (bounds := filled.bounds.get(_Slot(table, column))) is not None
    }
    return frame.with_columns(
        columns.get(name, pl.lit(None, dtype)).alias(name) for name, dtype in raw_schema(table).items() if name not in frame.columns
    )


def _column(filled: _Filled, bounds: tuple[int, int], height: int) -> pl.Series:
    """The texts of a slot in their rows, null in the others."""
    start, end = bounds
    if end - start == height and filled.repeated.is_empty():
        return filled.texts.slice(start, height)
    rows = filled.rows.slice(start, end - start)
    place = pl.repeat(None, height, dtype=pl.UInt32, eager=True).scatter(rows, pl.int_range(start, end, dtype=pl.UInt32, eager=True))
    return filled.texts.gather(place)


def _unfit(cells: pl.DataFrame, table: str) -> pl.Series:
    """Items that the strict reader must look at: those without an id, and those that may belong to another table."""
    unfit = cells["activity_id"].is_null()
    event = event_of_table(table)
    if event.reclassify is not None:
        telling = [column.name for column in event.columns if event.reclassify.without.intersection(column.elements)]
        unfit |= cells.select(pl.all_horizontal(pl.col(telling).is_null())).to_series()
    return unfit


def _without(odd: pl.Series, tokens: Tokens, items: pl.DataFrame, cells: dict[str, pl.DataFrame]) -> PlainReading:
    """The reading of the bodies that are plain, by their positions in the batch."""
    plain = pl.DataFrame({"body": pl.int_range(tokens.bodies.len(), dtype=pl.UInt32, eager=True)}).join(
        odd.to_frame("body"), on="body", how="anti", maintain_order="left"
    )["body"]
    counts = plain.to_frame().join(items.group_by("body").len(), on="body", how="left", maintain_order="left")["len"].fill_null(0)
    kept = {
        table: frame.with_columns(message=tokens.bodies.gather(frame["message"]))
        for table, found in cells.items()
        if (frame := found.filter(~pl.col("message").is_in(odd.implode())) if odd.len() else found).height
    }
    return PlainReading(tokens.bodies.gather(plain), counts, kept)
