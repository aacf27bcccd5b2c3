"""The grammar of the fast path, made from the catalogue: its items, their children, and the columns that those fill."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final, NamedTuple

from mg_lakehouse.events.catalogue import COMMON_COLUMNS, EVENTS, UNRECOGNIZED, Column, ColumnType, Event, event_of_element, event_of_table
from mg_lakehouse.events.formats.csv import TORN_ROW
from mg_lakehouse.events.strict.extract import ERROR_CODE, ERROR_MESSAGE, filled_columns

__all__ = ["ELEMENT", "FRAGMENT", "IDENTITY", "NONE", "RESCUED", "Entries", "Grammar", "Kind", "Slot", "grammar"]

NONE: Final = -1

RESCUED: Final = "_rescued_data"
IDENTITY: Final = "_identity"
ELEMENT: Final = "element"
FRAGMENT: Final = "fragment"
_EXTRAS: Final = (RESCUED, IDENTITY, ELEMENT, FRAGMENT)
"""Texts of an item that no child fills: what is left over, what the id of an item without one is made of, its name, and its own text."""


class Entries(NamedTuple):
    """Of a column of errors: the child of its element that is an entry (``NONE``: the element is one), the table of the entries, and its two columns."""

    child: int
    table: int
    code: int
    message: int


class Slot(NamedTuple):
    """A column: the number of its table, its own number in that table, and whether several elements may fill it."""

    table: int
    bit: int
    column: str
    type: ColumnType
    shared: bool = False
    entries: Entries = Entries(NONE, NONE, NONE, NONE)


class Kind(NamedTuple):
    """What an item of a name is: the number of its table (``NONE``: the fast path does not read it), and masks of the bits of its columns.

    ``needed`` must have a value, or the item is read as text; ``id`` is that of the id. One of ``one_of``, if that is not 0, must be present, or the item
    is of the kind ``other``.
    """

    table: int
    other: int = NONE
    needed: int = 0
    id: int = 0
    one_of: int = 0


class Grammar(NamedTuple):
    """Items, kinds, children, tables and slots have numbers: their positions here.

    The first kinds are those of the items; items of other names are of the kind ``unknown``; those ``inferred`` are named otherwise. ``slot_of`` (by kind and
    child, kind by kind) is the slot that a child fills, or ``NONE``. The first tables are those of events, which have ``extras``: the slots of ``_EXTRAS``.
    ``code`` and ``message`` are the children of an entry of an error list.
    """

    items: tuple[str, ...]
    kinds: tuple[Kind, ...]
    unknown: int
    inferred: frozenset[int]
    children: tuple[str, ...]
    tables: tuple[str, ...]
    slots: tuple[Slot, ...]
    slot_of: tuple[int, ...]
    extras: tuple[tuple[int, ...], ...]
    code: int
    message: int


@cache
def grammar() -> Grammar:
    """Make the grammar of the catalogue's items."""
    events = tuple(event.table for event in EVENTS)
    items = (*(element for event in EVENTS for element in event.elements), TORN_ROW)
    children = tuple(dict.fromkeys([*_children(), ERROR_CODE, ERROR_MESSAGE]))
    slots = [
        Slot(table, bit, column.name, column.type, shared=len(column.elements) > 1)
        for table, event in enumerate(EVENTS)
        for bit, column in enumerate(filled_columns(event))
    ]
    extras = [tuple(len(slots) + 4 * table + place for place in range(4)) for table in range(len(events))]
    slots += [Slot(table, 0, name, "string") for table in range(len(events)) for name in _EXTRAS]
    tables = list(events)
    for number, slot in enumerate(slots):
        if slot.type == "errors":
            path = _column(slot, events).elements[0].partition("/")[2]
            entries = Entries(children.index(path) if path else NONE, len(tables), len(slots), len(slots) + 1)
            slots[number] = slot._replace(entries=entries)
            slots += [Slot(entries.table, 0, name, "string") for name in ("error_code", "error_message")]
            tables.append(f"{events[slot.table]}/{slot.column}")
            extras.append((NONE,) * 4)
    kinds = [_kind(event_of_element(item), events) for item in items]
    inferred = {number: event for number, item in enumerate(items) if (event := event_of_element(item)) is not None and event.reclassify}
    for number, event in inferred.items():
        assert event.reclassify is not None
        kinds[number] = kinds[number]._replace(other=len(kinds), one_of=_mask(event, event.reclassify.without))
        kinds.append(_kind(event_of_table(event.reclassify.table), events))
    kinds.append(_kind(event_of_table(UNRECOGNIZED), events))
    filled = {
        (slot.table, element.partition("/")[0]): number
        for number, slot in enumerate(slots)
        if slot.table < len(events) and slot.column not in _EXTRAS
        for element in _column(slot, events).elements
    }
    return Grammar(
        items,
        tuple(kinds),
        len(kinds) - 1,
        frozenset(kinds[number].other for number in inferred),
        children,
        tuple(tables),
        tuple(slots),
        tuple(filled.get((kind.table, child), NONE) for kind in kinds for child in children),
        tuple(extras),
        children.index(ERROR_CODE),
        children.index(ERROR_MESSAGE),
    )


def _children() -> Iterator[str]:
    """Yield the names of children, and of entries within them."""
    for event in EVENTS:
        for column in filled_columns(event):
            for element in column.elements:
                yield from element.split("/")


def _column(slot: Slot, events: tuple[str, ...]) -> Column:
    return filled_columns(event_of_table(events[slot.table]))[slot.bit]


def _kind(event: Event | None, events: tuple[str, ...]) -> Kind:
    """Return the kind of an event's items; ``None`` stands for items that only the strict reader reads."""
    if event is None:
        return Kind(NONE)
    named = {column.name: element for column in COMMON_COLUMNS if column.required for element in column.elements}
    return Kind(events.index(event.table), needed=_mask(event, [named["event_at"]]), id=_mask(event, [named["activity_id"]]))


def _mask(event: Event, elements: Iterable[str]) -> int:
    """Return the bits of the columns that elements fill."""
    wanted = set(elements)
    return sum(1 << bit for bit, column in enumerate(filled_columns(event)) if wanted.intersection(column.elements))
