"""The grammar of plain items, as look-up tables made from the catalogue: which tags there are, what follows what, what fills what."""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Final, NamedTuple

import polars as pl

from mg_lakehouse.events.catalogue import EVENTS, event_of_element
from mg_lakehouse.events.extract import filled_columns

__all__ = ["Grammar", "Kind", "Slot", "grammar"]


class Kind(IntEnum):
    """What a tag is. ``BOUNDARY`` is no tag but what stands before an item; a tag of no kind is null."""

    BOUNDARY = 0
    ROOT_OPEN = 1
    ROOT_CLOSE = 2
    ITEM_OPEN = 3
    ITEM_CLOSE = 4
    CHILD_OPEN = 5
    CHILD_CLOSE = 6
    CHILD_EMPTY = 7


_FOLLOWS: Final = {
    Kind.BOUNDARY: {Kind.ITEM_OPEN},
    Kind.ITEM_OPEN: {Kind.CHILD_OPEN, Kind.CHILD_EMPTY, Kind.ITEM_CLOSE},
    Kind.CHILD_OPEN: {Kind.CHILD_CLOSE},
    Kind.CHILD_CLOSE: {Kind.CHILD_OPEN, Kind.CHILD_EMPTY, Kind.ITEM_CLOSE},
    Kind.CHILD_EMPTY: {Kind.CHILD_OPEN, Kind.CHILD_EMPTY, Kind.ITEM_CLOSE},
}
"""Which kinds of tags may stand behind which in an item. Nothing stands behind its end."""

_DEEPER: Final = {Kind.ROOT_OPEN: 1, Kind.ROOT_CLOSE: -1, Kind.ITEM_OPEN: 1, Kind.ITEM_CLOSE: -1, Kind.CHILD_OPEN: 1, Kind.CHILD_CLOSE: -1}


class Slot(NamedTuple):
    """A column that children fill."""

    table: str
    column: str


class Grammar(NamedTuple):
    """The look-up tables. A name has a number: the root 0, items from 1, children behind them.

    ``vocabulary`` holds each name's start tag, then each name's end tag, then each name's empty tag: the code of a tag is its place.
    ``kind_of`` (UInt8), ``deeper_by`` (Int32) and ``table_of`` (null for all but the start tags of items) are by code, ``follows`` by two kinds;
    ``slot_of`` (item number - 1, times ``children``, plus child number) says which of the ``slots`` a child fills.
    """

    names: int
    items: tuple[str, ...]
    children: int
    vocabulary: pl.Enum
    kind_of: pl.Series
    deeper_by: pl.Series
    follows: pl.Series
    table_of: pl.Series
    slots: tuple[Slot, ...]
    slot_of: pl.Series


@cache
def grammar() -> Grammar:
    """The grammar of the catalogue's items without their error lists, whose children have children."""
    filled = {
        (element, child): Slot(event.table, column.name)
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
        *(Kind.ROOT_OPEN, *[Kind.ITEM_OPEN] * len(items), *[Kind.CHILD_OPEN] * len(children)),
        *(Kind.ROOT_CLOSE, *[Kind.ITEM_CLOSE] * len(items), *[Kind.CHILD_CLOSE] * len(children)),
        *(None, *[None] * len(items), *[Kind.CHILD_EMPTY] * len(children)),
    ]
    return Grammar(
        names=len(names),
        items=items,
        children=len(children),
        vocabulary=pl.Enum([*(f"<{name}" for name in names), *(f"</{name}" for name in names), *(f"<{name}/" for name in names)]),
        kind_of=pl.Series(kinds, dtype=pl.UInt8),
        deeper_by=pl.Series([0 if kind is None else _DEEPER.get(kind, 0) for kind in kinds], dtype=pl.Int32),
        follows=pl.Series([kind in _FOLLOWS.get(before, ()) for before in Kind for kind in Kind]),
        table_of=_tables_of(items, len(kinds)),
        slots=slots,
        slot_of=pl.Series(
            [slots.index(filled[pair]) if (pair := (item, child)) in filled else None for item in items for child in children],
            dtype=pl.UInt16,
        ),
    )


def _tables_of(items: tuple[str, ...], codes: int) -> pl.Series:
    """The table of each start tag of an item, null for every other code: any tag may stand where an item should."""
    tables = [event.table for item in items if (event := event_of_element(item))]
    return pl.Series([None, *tables, *[None] * (codes - len(tables) - 1)], dtype=pl.Categorical)
