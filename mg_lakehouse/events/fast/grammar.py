"""The grammar of the fast path, made from the catalogue: its items, their children, and the columns that those fill."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from mg_lakehouse.events.catalogue import COMMON_COLUMNS, EVENTS, ColumnType, Event, event_of_element
from mg_lakehouse.events.strict.extract import filled_columns

__all__ = ["Grammar", "Slot", "grammar"]


class Slot(NamedTuple):
    """A column that children fill: the number of its table, and its own number in that table."""

    table: int
    bit: int
    column: str
    type: ColumnType


class Grammar(NamedTuple):
    """Items, children, tables and slots have numbers: their positions here.

    ``table_of`` (by item) is the table of an item, ``slot_of`` (by item and child, item by item) the slot that a child fills, -1 for none.
    An item of the fast path has a value in every column of the mask ``needed`` and in one of the mask ``one_of`` (both by item; bits are the slots'), if
    that is not 0: id and time, and what distinguishes it from an item of another table with the same name.
    """

    items: tuple[str, ...]
    tables: tuple[str, ...]
    table_of: tuple[int, ...]
    children: tuple[str, ...]
    slots: tuple[Slot, ...]
    slot_of: tuple[int, ...]
    needed: tuple[int, ...]
    one_of: tuple[int, ...]


@cache
def grammar() -> Grammar:
    """Make the grammar of the catalogue's items, without their error lists, whose children have children."""
    tables = tuple(event.table for event in EVENTS)
    slots = tuple(
        Slot(table, bit, column.name, column.type)
        for table, event in enumerate(EVENTS)
        for bit, column in enumerate(column for column in filled_columns(event) if column.type != "errors")
    )
    number = {(tables[slot.table], slot.column): place for place, slot in enumerate(slots)}
    filled = {
        (element, child): number[event.table, column.name]
        for event in EVENTS
        for column in filled_columns(event)
        if column.type != "errors"
        for element in event.elements
        for child in column.elements
    }

    def mask(event: Event, columns: Iterable[str]) -> int:
        return sum(1 << slots[number[event.table, name]].bit for name in columns)

    items = tuple(dict.fromkeys(element for element, _ in filled))
    children = tuple(dict.fromkeys(child for _, child in filled))
    events = [event for item in items if (event := event_of_element(item)) is not None]
    return Grammar(
        items,
        tables,
        tuple(tables.index(event.table) for event in events),
        children,
        slots,
        tuple(filled.get((item, child), -1) for item in items for child in children),
        tuple(mask(event, [column.name for column in COMMON_COLUMNS if column.required and column.elements]) for event in events),
        tuple(mask(event, _telling(event)) for event in events),
    )


def _telling(event: Event) -> list[str]:
    """List the columns without which an item may belong to another table."""
    if event.reclassify is None:
        return []
    return [column.name for column in event.columns if event.reclassify.without.intersection(column.elements)]
