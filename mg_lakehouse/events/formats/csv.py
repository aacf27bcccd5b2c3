"""Reads the feed's CSV variant: turns rows into items of the feed's XML, so that the same readers serve both.

MessageGears documents that it is comma-delimited and that every activity has all headers, with or without data. So the header decides
everything, in any order and case; what it does not state is not guessed. A header unknown to the catalogue becomes an element
of that name, for silver to keep. A row whose cells do not fit the header becomes a marked item, for silver to reject.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final
from xml.sax.saxutils import escape

from mg_lakehouse.events.catalogue import COMMON_COLUMNS, EVENTS, Event, event_of_element

__all__ = ["TORN_ROW", "CsvHeader", "csv_items", "known_type", "read_header"]

TORN_ROW: Final = "CsvRowActivity"
"""Element of a row whose number of cells differs from the header's, or that names no activity."""

_TYPE_HEADERS: Final = ("activitytype", "activity", "eventtype", "event", "itemtype", "type")
"""Possible names of the column that names the activity: it is not documented."""

_ERRORS: Final = ("ErrorCode", "ErrorMessage")

_NULLS: Final = frozenset({"null", "NULL", "Null", r"\N"})
_NAMES_SOMETHING: Final = ("Id", "Address")
"""Endings of elements that identify something. Databases write their null as text there; elsewhere it may be what a person wrote."""


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """The header's content: the ``elements`` that the columns fill, and the column (``kind``) that names the activity, if any."""

    elements: tuple[str, ...]
    kind: int | None


def read_header(cells: Sequence[str]) -> CsvHeader | None:
    """Return a file's header; ``None`` if the line is not a header of the feed: none of its cells is a column that every activity has."""
    names = [cell.strip().lstrip("\ufeff") for cell in cells]
    common = {element.lower() for column in COMMON_COLUMNS for element in column.elements}
    if not common.intersection(name.lower() for name in names):
        return None
    elements = _elements()
    kind = next(
        (place for header in _TYPE_HEADERS for place, name in enumerate(names) if _plain(name) == header and name.lower() not in elements),
        None,
    )
    return CsvHeader(tuple(elements.get(name.lower()) or _element_name(name) for name in names), kind)


def known_type(name: str) -> str | None:
    """Return the activity's element for any of the catalogue's names: ``Open``, ``OPENS``, ``OpenActivity``, ``opens``."""
    plain = _plain(name).removesuffix("activity")
    return _types().get(plain) or _types().get(plain.removesuffix("s"))


def csv_items(header: CsvHeader, rows: Iterable[Sequence[str]], *, activity: str | None = None) -> Iterator[str]:
    """Yield an item for each row that is not empty, in order; ``activity`` is the element of rows that name none."""
    for cells in rows:
        if any(cell.strip() for cell in cells):
            yield _item(header, cells, activity)


def _item(header: CsvHeader, cells: Sequence[str], activity: str | None) -> str:
    named = "" if header.kind is None or header.kind >= len(cells) else cells[header.kind].strip()
    element = (known_type(named) or f"{_element_name(named).removesuffix('Activity')}Activity") if named else activity
    if element is None or len(cells) != len(header.elements):
        return _tag(TORN_ROW, "".join(_tag(f"Cell{place}", escape(cell)) for place, cell in enumerate(cells, start=1)))
    filled = [
        (name, cell)
        for place, (name, cell) in enumerate(zip(header.elements, cells, strict=True))
        if place != header.kind and _says(name, cell)
    ]
    return _tag(element, _children(event_of_element(element), filled))


def _says(name: str, cell: str) -> bool:
    """Whether a cell holds a value: a database's null as an id or an address is none."""
    return bool(cell.strip()) and not (cell.strip() in _NULLS and name.endswith(_NAMES_SOMETHING))


def _children(event: Event | None, filled: Sequence[tuple[str, str]]) -> str:
    """Make the children of an item; an error's code and message go where the event's errors are."""
    path = next((column.elements[0] for column in event.columns if column.type == "errors"), None) if event else None
    if path is None:
        return "".join(_tag(name, escape(cell)) for name, cell in filled)
    error = "".join(_tag(name, escape(cell)) for name, cell in filled if name in _ERRORS)
    for name in reversed(path.split("/")) if error else ():
        error = _tag(name, error)
    return "".join(_tag(name, escape(cell)) for name, cell in filled if name not in _ERRORS) + error


def _tag(name: str, content: str) -> str:
    return f"<{name}>{content}</{name}>"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _element_name(name: str) -> str:
    """Turn any text into an element's name: a valid one stays, in PascalCase as in the feed; ``_`` replaces what a name may not hold."""
    text = re.sub(r"[^A-Za-z0-9_.-]", "_", name) or "_"
    return text[0].upper() + text[1:] if text[0].isalpha() else f"_{text}"


@cache
def _elements() -> dict[str, str]:
    """Map the catalogue's child elements by their names in lower case."""
    columns = [*COMMON_COLUMNS, *(column for event in EVENTS for column in event.columns)]
    known = [element for column in columns for element in column.elements if "/" not in element]
    return {name.lower(): name for name in (*known, *_ERRORS)}


@cache
def _types() -> dict[str, str]:
    """Map all names of each event to its element, with and without the plural's s."""
    types: dict[str, str] = {}
    for event in EVENTS:
        names = [*event.elements, event.table, *([event.activity_type] if event.activity_type else [])]
        for name in names if event.elements else ():
            plain = _plain(name).removesuffix("activity")
            element = name if name in event.elements else event.elements[0]
            types.setdefault(plain, element)
            types.setdefault(f"{plain.removesuffix('ies')}y" if plain.endswith("ies") else plain.removesuffix("s"), element)
    return types
