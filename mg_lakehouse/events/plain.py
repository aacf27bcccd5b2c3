"""The fast reading of plain bundles: a batch of bodies to text cells, column by column, with no Python per event.

A bundle is plain when its items are of the catalogue, each child fills a column of its item, no column is filled twice, and there
is nothing else: no attribute, prefix, comment, unknown child, error list, or item without an id. Whether it is so is proved tag by
tag; a bundle that fails any test is left to the strict reader (:mod:`mg_lakehouse.events.reader`) as a whole. Both give the
same cells, which a property test holds: they differ in speed only.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
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
    odd = [
        malformed,
        items["body"].filter(items["closes"] != items["number"]),
        items["body"].gather(children["item"].filter(children["slot"].is_null())),
    ]
    cells: dict[str, pl.DataFrame] = {}
    filled = children.drop_nulls("slot").partition_by("slot", as_dict=True, include_key=False)
    by_slot = {grammar.slots[slot]: part for (slot,), part in filled.items()}
    for (table,), own in items.partition_by("table", as_dict=True, include_key=False).items():
        assert isinstance(table, str)
        cells[table], odd_rows = _cells(table, own, by_slot, tokens.special)
        odd.append(odd_rows)
    return _without(pl.concat(odd).unique(), tokens, items, cells)


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
    """Each child: the ordinal of its ``item``, the ``row`` of that in its table, the ``slot`` that it fills (null for none), its ``text``."""
    item = (tags["kind"] == _Kind.ITEM_OPEN.value).cum_sum() - 1
    own = tags.with_columns(item=item).filter(pl.col("kind").is_in([_Kind.CHILD_OPEN.value, _Kind.CHILD_EMPTY.value]))
    child = own["code"] % grammar.names - len(grammar.items) - 1
    number = items["number"].gather(own["item"]) - 1
    return own.select("item", "text", row=items["row"].gather(own["item"]), slot=grammar.slot_of.gather(number * grammar.children + child))


def _cells(table: str, items: pl.DataFrame, by_slot: dict[_Slot, pl.DataFrame], special: tuple[str, ...]) -> tuple[pl.DataFrame, pl.Series]:
    """Cells of a table, with the ordinal of the ``body`` in the place of the message, and the bodies that are not plain for what they hold."""
    odd = [pl.Series(dtype=pl.UInt32)]
    columns: dict[str, pl.Series] = {}
    for column in raw_schema(table):
        if (part := by_slot.get(_Slot(table, column))) is None:
            continue
        rows = part["row"]
        text, strange = _decoded(part["text"], special)
        repeated = rows.filter(rows == rows.shift(1))
        odd += [items["body"].gather(rows.filter(strange)), items["body"].gather(repeated)]
        columns[column] = _in_rows(text, rows, items.height, repeated=repeated.len() > 0)
    elements = pl.Series(("", *_grammar().items))
    frame = items.select(message="body", item_index="item_index", element=elements.gather(items["number"]), is_inferred=pl.lit(value=False))
    cells = frame.with_columns(
        columns.get(name, pl.lit(None, dtype)).alias(name) for name, dtype in raw_schema(table).items() if name not in frame.columns
    )
    return cells, pl.concat([*odd, items["body"].filter(_unfit(cells, table))])


def _decoded(text: pl.Series, special: tuple[str, ...]) -> tuple[pl.Series, pl.Series]:
    """Texts with XML's own entities replaced, null where empty; and where something stands that only the strict reader understands."""
    strange = pl.repeat(value=False, n=text.len(), eager=True)
    for sign in special:
        strange |= text.str.contains(sign, literal=True)
    if strange.any():
        strange = ~text.str.contains(_KNOWN_ENTITIES_ONLY)
        text = text.str.replace_many(_ENTITIES)
    return text.set(text.str.len_bytes() == 0, None), strange


def _in_rows(text: pl.Series, rows: pl.Series, height: int, *, repeated: bool) -> pl.Series:
    """The texts in their rows, null in the others."""
    if text.len() == height and not repeated:
        return text
    place = pl.repeat(None, height, dtype=pl.UInt32, eager=True).scatter(rows, pl.int_range(text.len(), dtype=pl.UInt32, eager=True))
    return text.gather(place)


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
